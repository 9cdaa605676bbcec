from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import POINT_MASS, TINY, metrics_but_timing

from robot_ctrl.build import load_controller, make_parts, open_run, resolve
from robot_ctrl.config import RunConfig
from robot_ctrl.controller import Controller
from robot_ctrl.episodes import Episode, read_episode
from robot_ctrl.errors import RunError
from robot_ctrl.learning import Learner
from robot_ctrl.loop import EpisodeResult
from robot_ctrl.run_folder import RunFolder


class Diary:
    """Notes what a run tells its watcher."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def step(self, episode: int, result: EpisodeResult) -> None:
        self.events.append("step")

    def fitting(self, episode: int) -> None:
        self.events.append(f"fit {episode}")

    def episode(self, row: dict[str, Any]) -> None:
        self.events.append(f"end {row['episode']}")

    def without_steps(self) -> list[str]:
        return [event for event in self.events if event != "step"]


def learn(folder: Path, *overrides: str) -> tuple[Diary, dict[str, Any], RunConfig]:
    config = resolve(POINT_MASS, [*TINY, f"run_dir={folder}", *overrides])
    parts = make_parts(config)
    diary = Diary()
    summary = Learner(config, RunFolder.create(config), *parts, diary).learn()
    return diary, summary, config


def episode(folder: Path, number: int) -> Episode:
    return read_episode(folder / "episodes" / f"episode_{number:05d}.mcap")


def test_version_0_5_fits_once_and_plans(tmp_path: Path) -> None:
    diary, _, _ = learn(tmp_path, "learning.version=0.5")
    assert diary.without_steps() == ["fit 0", "end 0", "end 1", "end 2", "end 3"]
    assert [len(episode(tmp_path, number).plans) for number in range(4)] == [0, 12, 12, 12]


def test_version_1_0_follows_each_plan_to_its_end_and_refits_after_every_episode(tmp_path: Path) -> None:
    diary, _, _ = learn(tmp_path, "learning.version=1.0", "planner.horizon=5", "episodes=3")
    assert diary.without_steps() == ["fit 0", "end 0", "fit 1", "end 1", "fit 2", "end 2"]
    plans = episode(tmp_path, 2).plans
    assert len(plans) == 3
    assert np.diff([plan.computed_from for plan in plans]).tolist() == [5, 5]


def test_version_1_5_replans_at_every_step(tmp_path: Path) -> None:
    diary, _, _ = learn(tmp_path, "episodes=2")
    assert diary.without_steps() == ["fit 0", "end 0", "fit 1", "end 1"]
    assert len(episode(tmp_path, 1).plans) == 12


def test_refits_come_every_so_many_steps_of_planned_episodes(tmp_path: Path) -> None:
    diary, _, _ = learn(tmp_path, "episodes=2", "learning.refit_every=5")
    second = diary.events[diary.events.index("end 0") + 1 :]
    expected = [*["step"] * 5, "fit 1", *["step"] * 5, "fit 1", *["step"] * 2, "fit 1", "end 1"]
    assert second == expected


def test_the_model_is_fitted_only_after_all_random_episodes(tmp_path: Path) -> None:
    diary, _, _ = learn(tmp_path, "learning.random_episodes=3")
    assert diary.without_steps() == ["end 0", "end 1", "fit 2", "end 2", "fit 3", "end 3"]
    rows = metrics_but_timing(tmp_path)
    assert [row["one_step_error"] != "" for row in rows] == [False, False, False, True]
    assert [row["model_loss"] != "" for row in rows] == [False, False, True, True]


def test_the_same_seed_makes_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        learn(tmp_path / name, f"seed={seed}", "learning.refit_every=6")
    one, same, other = (metrics_but_timing(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert all(row["return"] != different["return"] for row, different in zip(one, other, strict=True))


def test_a_run_ends_with_the_episode_that_reaches_its_steps(tmp_path: Path) -> None:
    _, summary, _ = learn(tmp_path, "env_steps=25", "episodes=100")
    assert [int(row["env_steps"]) for row in metrics_but_timing(tmp_path)] == [12, 24, 36]
    assert (summary["episodes"], summary["env_steps"]) == (3, 36)


def test_the_files_say_what_the_run_did(tmp_path: Path) -> None:
    _, summary, config = learn(tmp_path)
    rows = metrics_but_timing(tmp_path)
    assert [row["episode"] for row in rows] == ["0", "1", "2", "3"]
    returns = [float(row["return"]) for row in rows]
    assert summary["return_last"] == pytest.approx(returns[-1], rel=1e-5)
    assert summary["return_best"] == pytest.approx(max(returns), rel=1e-5)
    assert summary["return_mean_last3"] == pytest.approx(np.mean(returns[-3:]), rel=1e-5)
    assert returns[1] == pytest.approx(
        -sum(abs(seen.values["joint_position"][0]) for seen in episode(tmp_path, 1).observations[1:]), rel=1e-5
    )
    assert open_run(tmp_path)[1] == config
    assert episode(tmp_path, 1).metadata["seed"] == "3"
    assert episode(tmp_path, 1).outcome == "finished"


def test_a_learner_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    learn(tmp_path / "long")
    _, _, config = learn(tmp_path / "short", "episodes=2")
    config = config.model_copy(update={"episodes": 4})
    diary = Diary()
    Learner(config, RunFolder(tmp_path / "short"), *make_parts(config), diary).learn()
    assert diary.without_steps() == ["fit 2", "end 2", "fit 3", "end 3"]
    assert metrics_but_timing(tmp_path / "short") == metrics_but_timing(tmp_path / "long")


def test_a_run_with_a_policy_and_its_value_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings = ("value.hidden=[8]", "value.critics=2", "value.updates=0.5", "learning.refit_every=5")
    learn(tmp_path / "long", *settings)
    learn(tmp_path / "without", "learning.refit_every=5")
    _, _, config = learn(tmp_path / "short", "episodes=2", *settings)
    config = config.model_copy(update={"episodes": 4})
    Learner(config, RunFolder(tmp_path / "short"), *make_parts(config), Diary()).learn()
    assert metrics_but_timing(tmp_path / "short") == metrics_but_timing(tmp_path / "long")
    assert metrics_but_timing(tmp_path / "without") != metrics_but_timing(tmp_path / "long")


def test_demonstrations_are_copied_into_the_run_and_learned_from(tmp_path: Path) -> None:
    learn(tmp_path / "shown", "episodes=2")
    folder = tmp_path / "run"
    episodes = tmp_path / "shown" / "episodes"
    config = resolve(POINT_MASS, [*TINY, f"run_dir={folder}", f"learning.demonstrations=[{episodes}]"])
    parts = make_parts(config)
    run = RunFolder.create(config)
    episodes.rename(tmp_path / "gone")
    assert len(Learner(config, run, *parts, Diary())._dataset) == 24


def test_demonstrations_that_are_not_there_are_named_before_a_run_is_replaced(tmp_path: Path) -> None:
    learn(tmp_path / "run", "episodes=1")
    again = ["overwrite=true", f"learning.demonstrations=[{tmp_path / 'none'}]", "episodes=1"]
    with pytest.raises(RunError, match=r"none is no episode \(\.mcap\)"):
        learn(tmp_path / "run", *again)
    assert episode(tmp_path / "run", 0).outcome == "finished"


def test_a_run_explores_as_it_is_told_and_its_evaluation_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(Controller, "explore", lambda self, optimism: told.append(optimism))
    learn(tmp_path, "learning.optimism=0.5", "episodes=2")
    assert told == [0.5]
    load_controller(tmp_path)
    assert told == [0.5]
