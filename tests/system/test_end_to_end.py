"""From nothing to a robot that does better, with every file that a run promises."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hardware.errors import RenderingUnavailableError
from robot_ctrl.build import make_parts, open_run
from robot_ctrl.cli import main
from robot_ctrl.loop import run_episode
from robot_ctrl.policies import BasePolicy
from robot_ctrl.seeds import derive_seed

TRIALS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arm") / "run"
    settings = ["seed=1", "threads=1", "episodes=9", "task.episode_steps=30", "learning.random_episodes=6"]
    settings += ["model.hidden=[64, 64]", "model.members=3", "model.particles=3", "model.first_steps=400"]
    settings += ["model.refit_steps=150", "learning.show_episodes=1", "planner.horizon=6"]
    settings += ["planner.iterations=2", "planner.population=40", "planner.elites=8"]
    assert main(["run", "arm-reach", *settings, f"run_dir={folder}"]) == 0
    return folder


def test_a_run_leaves_every_file_it_promises(run: Path) -> None:
    for name in ("config.yaml", "metrics.csv", "summary.json", "report.html", "diagnostics.npz"):
        assert (run / name).stat().st_size > 0, name
    assert len(list((run / "episodes").glob("*.mcap"))) == 9
    assert list((run / "checkpoints").glob("*.pt"))
    assert not list(run.rglob("*.tmp"))
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["env_steps"]) for row in rows] == [30 * count for count in range(1, 10)]
    assert json.loads((run / "summary.json").read_text())["episodes"] == 9


def test_there_is_a_video_where_there_is_opengl(run: Path) -> None:
    robot = make_parts(open_run(run)[1])[0].robot
    try:
        robot.render()
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    assert (run / "episode.mp4").stat().st_size > 1000
    assert "episode.mp4" in (run / "report.html").read_text()


def test_an_arm_that_nobody_modelled_learns_to_reach(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", str(TRIALS)]) == 0
    assert f"of {TRIALS} trials" in capsys.readouterr().out
    report = json.loads((run / "evaluation.json").read_text())
    learned = [trial["final_distance"] for trial in report["each"]]
    _, config = open_run(run)
    task, _, _, safety = make_parts(config)
    unlearned, started = [], []
    for trial in range(TRIALS):
        seed = derive_seed(config.seed, "evaluation 0", trial)
        result = run_episode(task, BasePolicy(task, "uniform"), safety, reset_seed=seed, policy_seed=trial)
        measures = task.measures(result.observations)
        unlearned.append(measures["final_distance"])
        started.append(measures["start_distance"])
    assert started == pytest.approx([trial["start_distance"] for trial in report["each"]])
    assert np.median(learned) < 0.5 * np.median(unlearned)
    assert np.median(learned) < 0.5 * np.median(started)
