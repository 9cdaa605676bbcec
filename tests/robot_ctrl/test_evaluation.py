import json
from pathlib import Path

import pytest
from tiny_runs import POINT_MASS, TINY

from robot_ctrl.cli import main
from robot_ctrl.episodes import read_episode
from robot_ctrl.evaluation import evaluate, wilson_interval
from robot_ctrl.seeds import derive_seed


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_agree_with_published_ones(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    assert main(["run", POINT_MASS, *TINY, "episodes=2", f"run_dir={folder}"]) == 0
    return folder


def evaluated(run: Path, episodes: int, seed: int = 0) -> dict[str, object]:
    line = evaluate(run, episodes, seed)
    report: dict[str, object] = json.loads((run / "evaluation.json").read_text())
    assert f"of {episodes} trials" in line
    return report


def test_an_evaluation_repeats_itself_and_changes_nothing_else(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "evaluation" not in path.name}
    first, again, other = evaluated(run, 3), evaluated(run, 3), evaluated(run, 3, seed=1)
    assert first == again
    assert first["each"] != other["each"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_an_evaluation_counts_its_trials(run: Path) -> None:
    report = evaluated(run, 5)
    trials = report["each"]
    assert isinstance(trials, list)
    returns = sorted(trial["return"] for trial in trials)
    assert report["trials"] == 5
    assert (report["return_worst"], report["return_median"], report["return_best"]) == (
        returns[0],
        returns[2],
        returns[4],
    )
    successes = sum(trial["success"] for trial in trials)
    assert report["successes"] == successes
    assert report["success_interval_95"] == list(wilson_interval(successes, 5))
    assert report["env_steps"] == 24


def test_an_evaluation_needs_no_table(run: Path) -> None:
    table = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").unlink()  # as after a kill between a checkpoint and the table
    assert evaluated(run, 1)["env_steps"] == 24
    (run / "metrics.csv").write_bytes(table)


def test_starts_are_held_out_from_learning(run: Path) -> None:
    learned = {derive_seed(3, "reset", episode) for episode in range(1000)}
    assert not learned & {derive_seed(3, "evaluation 0", trial) for trial in range(1000)}
    started = [read_episode(path).observations[0].values["joint_position"][0] for path in (run / "episodes").iterdir()]
    assert len(set(started)) == 2
