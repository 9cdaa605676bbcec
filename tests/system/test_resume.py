"""A run survives whatever ends it: it goes on as if nothing had happened."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import actions_of, command, kill, metrics_but_timing, start, strike

from robot_ctrl.episodes import read_episode
from robot_ctrl.recorder import EpisodeWriter
from robot_ctrl.run_folder import RunFolder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = start(folder)
    assert ended.status == 0, ended.text
    return folder


def assert_as_if_nothing_had_happened(run: Path, undisturbed: Path) -> None:
    assert metrics_but_timing(run) == metrics_but_timing(undisturbed)
    for episode in range(4):
        assert actions_of(run, episode) == actions_of(undisturbed, episode)
    weights, expected = (
        torch.load(folder / "checkpoints" / "episode_00003.pt", weights_only=True)["model"]["network"]
        for folder in (run, undisturbed)
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


MOMENTS = {
    "before the first episode": kill(EpisodeWriter, "write_observation", 1),
    "in the random episode": kill(EpisodeWriter, "write_action", 5),
    "in the first fit": kill(torch.optim.Adam, "step", 7),
    "before the first checkpoint": kill(RunFolder, "save_checkpoint", 1),
    "in a planned episode": kill(EpisodeWriter, "write_action", 30),
    "while an episode is closed": kill(EpisodeWriter, "close", 3),
    "in a later fit": kill(torch.optim.Adam, "step", 33),
    "while a checkpoint is written": kill(os, "fsync", 6),
    "between checkpoint and metrics": kill(RunFolder, "write_metrics", 3),
    "before the summary": kill(RunFolder, "write_json", 2),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_after_kill_9_a_run_goes_on_as_if_nothing_had_happened(
    moment: Callable[[], None], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert start(run, before=moment).status == -signal.SIGKILL
    ended = command("resume", str(run))
    assert ended.status == 0, ended.text
    assert_as_if_nothing_had_happened(run, undisturbed)


def test_a_run_may_be_killed_again_and_again(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(run, before=kill(EpisodeWriter, "write_action", 18))
    for _ in range(2):
        killed = command("resume", str(run), before=kill(EpisodeWriter, "write_action", 7))
        assert killed.status == -signal.SIGKILL
    assert command("resume", str(run)).status == 0
    assert_as_if_nothing_had_happened(run, undisturbed)
    attempts = sorted(path.name for path in (run / "episodes").glob("*unfinished*"))
    assert attempts == [f"episode_00001.unfinished-{number}.mcap" for number in (1, 2, 3)]


@pytest.mark.parametrize("moment", ["in a planned episode", "in a later fit"])
def test_after_kill_9_a_policy_and_its_value_go_on_as_if_nothing_had_happened(moment: str, tmp_path: Path) -> None:
    settings = ("value.hidden=[8]", "value.critics=2", "value.updates=0.5", "learning.refit_every=5")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert start(whole, *settings).status == 0
    assert start(run, *settings, before=MOMENTS[moment]).status == -signal.SIGKILL
    ended = command("resume", str(run))
    assert ended.status == 0, ended.text
    assert_as_if_nothing_had_happened(run, whole)
    learned, expected = (
        torch.load(folder / "checkpoints" / "episode_00003.pt", weights_only=True)["value"]["parts"]["critics"]
        for folder in (run, whole)
    )
    assert all(torch.equal(learned[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_the_episode_and_says_how_to_go_on(
    number: int, status: int, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = start(run, before=strike(number, EpisodeWriter, "write_action", 30))
    assert ended.status == status, ended.text
    assert f"interrupted by {signal.Signals(number).name}" in ended.text
    assert f"robot-ctrl resume {run}" in ended.text
    assert "Traceback" not in ended.text
    episode = read_episode(run / "episodes" / "episode_00002.mcap")
    assert (episode.outcome, episode.truncated) == ("interrupted", False)
    assert len(episode.actions) == 6
    assert len(episode.observations) == 7
    assert command("resume", str(run)).status == 0
    assert_as_if_nothing_had_happened(run, undisturbed)


SIGTERM_MOMENTS = {
    "in a fit": strike(signal.SIGTERM, torch.optim.Adam, "step", 33),
    "while a checkpoint is written": strike(signal.SIGTERM, os, "fsync", 6),
    "after a checkpoint": strike(signal.SIGTERM, RunFolder, "save_checkpoint", 2, after=True),
    "in a flush of the recorder": strike(signal.SIGTERM, os, "write", 5),
    "after a flush of the recorder": strike(signal.SIGTERM, os, "write", 5, after=True),
    "while an episode is closed": strike(signal.SIGTERM, EpisodeWriter, "flush", 6),
}


@pytest.mark.parametrize("moment", SIGTERM_MOMENTS.values(), ids=SIGTERM_MOMENTS.keys())
def test_sigterm_loses_nothing_at_any_moment(moment: Callable[[], None], undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = start(run, before=moment)
    assert ended.status == 143, ended.text
    for path in (run / "episodes").iterdir():
        assert not read_episode(path).truncated
    assert not list(run.rglob("*.tmp"))
    assert command("resume", str(run)).status == 0
    assert_as_if_nothing_had_happened(run, undisturbed)


def test_a_second_signal_ends_a_program_that_does_not_listen(tmp_path: Path) -> None:
    def deaf() -> None:
        strike(signal.SIGINT, EpisodeWriter, "write_action", 5)()
        strike(signal.SIGINT, EpisodeWriter, "close", 1)()

    assert start(tmp_path / "run", before=deaf).status == -signal.SIGINT
    assert command("resume", str(tmp_path / "run")).status == 0


def copy_of(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_the_checkpoint_before_a_damaged_one_is_used(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    newest = run / "checkpoints" / "episode_00003.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    ended = command("resume", str(run), before=kill(EpisodeWriter, "write_action", 3))
    assert f"{newest} is damaged" in ended.text
    assert len(metrics_but_timing(run)) == 3
    assert (run / "episodes" / "episode_00003.unfinished-1.mcap").exists()
    assert command("resume", str(run)).status == 0
    assert_as_if_nothing_had_happened(run, undisturbed)


def test_without_any_readable_checkpoint_the_run_is_repeated(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(b"")
    ended = command("resume", str(run))
    assert ended.status == 0, ended.text
    assert len(list((run / "episodes").glob("*.unfinished-1.mcap"))) == 4
    assert_as_if_nothing_had_happened(run, undisturbed)


def test_a_checkpoint_of_another_version_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    newest = run / "checkpoints" / "episode_00003.pt"
    torch.save({**torch.load(newest, weights_only=True), "version": 99}, newest)
    ended = command("resume", str(run), "episodes=5")
    assert ended.status == 2
    assert "version 99" in ended.text


@pytest.mark.parametrize("clean_cut", [False, True], ids=["within a chunk", "between chunks"])
def test_the_rest_of_a_truncated_episode_is_used_and_the_user_told(clean_cut: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert start(run, "episodes=2", "task.episode_steps=40").status == 0
    path = run / "episodes" / "episode_00001.mcap"
    path.write_bytes(path.read_bytes()[:6000])
    if clean_cut:
        path.write_bytes(path.read_bytes()[: -read_episode(path).bytes_lost])
    left = len(read_episode(path).observations) - 1
    assert 0 < left < 40
    ended = command("resume", str(run), "episodes=3")
    assert ended.status == 0, ended.text
    told = f"its first {left} steps are used" if clean_cut else f"could not be read. Kept: {left + 1} observations"
    assert [line for line in ended.text.splitlines() if line.startswith(f"WARNING: {path}") and told in line]
    assert len(metrics_but_timing(run)) == 3


@pytest.mark.parametrize("content", [None, b"a picture"])
def test_an_episode_that_is_gone_is_named(content: bytes | None, undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    path = run / "episodes" / "episode_00001.mcap"
    path.unlink() if content is None else path.write_bytes(content)
    ended = command("resume", str(run), "episodes=5")
    assert ended.status == 2
    assert str(path) in ended.text
    assert "or start a new run" in ended.text
    assert "Traceback" not in ended.text


def test_an_attempt_that_saw_nothing_is_no_obstacle(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    (run / "episodes" / "episode_00002.unfinished-1.mcap").write_bytes(b"")
    ended = command("resume", str(run), "episodes=5")
    assert ended.status == 0, ended.text


def test_a_finished_run_says_how_to_go_further(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    before = (run / "metrics.csv").read_bytes()
    ended = command("resume", str(run))
    assert ended.status == 2
    assert f"robot-ctrl resume {run} episodes=8" in ended.text
    assert (run / "metrics.csv").read_bytes() == before
    assert command("resume", str(run), "episodes=6").status == 0
    assert len(metrics_but_timing(run)) == 6


def test_a_run_that_was_ended_before_its_report_gets_it(undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    (run / "report.html").unlink()
    assert command("resume", str(run)).status == 0
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [("planner.horizon=3", "can change only episodes"), ("episodes=-1", "episodes = -1"), ("threads=0", "threads")],
)
def test_what_a_resumed_run_cannot_change(override: str, message: str, undisturbed: Path, tmp_path: Path) -> None:
    run = copy_of(undisturbed, tmp_path)
    before = (run / "config.yaml").read_bytes()
    ended = command("resume", str(run), override)
    assert ended.status == 2
    assert message in ended.text
    assert "Traceback" not in ended.text
    assert (run / "config.yaml").read_bytes() == before
