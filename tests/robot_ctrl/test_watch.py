import logging
import sys

import pytest

from robot_ctrl.loop import EpisodeResult
from robot_ctrl.watch import TerminalWatcher, episode_line

ROW = {
    "episode": 7,
    "env_steps": 400,
    "return": -1.234,
    "success": 1,
    "one_step_error": 0.1234,
    "plan_ms_p50": 31.4,
}


def test_a_line_says_how_an_episode_went() -> None:
    spaced = "episode   7  env steps    400  return     -1.23"
    assert episode_line(ROW) == f"{spaced}  reached  model error 0.123  plan 31 ms"
    assert episode_line(ROW | {"success": None, "one_step_error": None, "plan_ms_p50": None}) == spaced
    assert "missed" in episode_line(ROW | {"success": 0})


def test_without_a_terminal_every_episode_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO), TerminalWatcher(3, 10) as watcher:
        watcher.step(7, EpisodeResult(steps=4))
        watcher.fitting(7)
        watcher.episode(ROW)
    assert caplog.messages == [episode_line(ROW)]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_and_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with caplog.at_level(logging.INFO), TerminalWatcher(20, 10) as watcher:
        watcher.step(7, EpisodeResult(steps=4))
        watcher.fitting(7)
        watcher.episode(ROW)
    said = capsys.readouterr().err
    assert "episode   7  env steps    400" in said
    assert "8/20" in said
    assert not caplog.messages
