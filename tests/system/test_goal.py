"""A visual goal from the command line to its page; what can be learned in seconds is little, so nothing is claimed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.errors import RenderingUnavailableError
from robot_ctrl.cli import main
from robot_ctrl.errors import RunError
from robot_ctrl.goal import goal
from robot_ctrl.tasks.reacher_goal_image import ReacherGoalImage

TINY = (
    "seed=1", "threads=1", "episodes=9", "learning.random_episodes=8", "learning.show_episodes=0",
    "task.episode_steps=8",
    "task.picture_size=16", "model.widths=[4, 8]", "model.latent_size=4", "model.heads=2", "model.hidden=[16]",
    "model.first_steps=10", "model.far_steps=5", "model.distance_steps=5", "model.batch_size=16", "model.unroll=2",
    "planner.population=16", "planner.elites=4", "planner.horizon=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = ReacherGoalImage(picture_size=16)
    task.robot.connect()
    try:
        task.robot.get_observation()
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    folder = tmp_path_factory.mktemp("visual") / "run"
    assert main(["run", "reacher-goal-image", *TINY, f"run_dir={folder}"]) == 0
    return folder


def test_a_pose_is_planned_to_and_leaves_a_page(run: Path) -> None:
    said = goal(run, joints=[0.5, 1.0], seed=3)
    folder = run / "goals" / "000"
    assert str(folder / "report.html") in said
    numbers = json.loads((folder / "goal.json").read_text())
    assert numbers["reached"] == said.startswith("Reached")
    assert numbers["metres_end"] >= 0
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") > 20
    assert "True distance" in page
    assert (folder / "goal.mp4").stat().st_size > 1000
    assert not list(folder.glob("*.tmp"))
    again = goal(run, image=folder / "goal.png", seed=3)
    assert "True distance" not in again
    other = json.loads((run / "goals" / "001" / "goal.json").read_text())
    assert other["distance_end"] == pytest.approx(numbers["distance_end"])


def test_a_picture_from_another_scene_is_refused_before_anything_moves(run: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    before = sorted((run / "goals").glob("*"))
    with pytest.raises(RunError, match="does not look like anything"):
        goal(run, image=tmp_path / "noise.png")
    assert sorted((run / "goals").glob("*")) == before


def test_impossible_requests_are_explained(run: Path) -> None:
    with pytest.raises(RunError, match="give one of --image"):
        goal(run)
    with pytest.raises(RunError, match="is no pose of the reacher"):
        goal(run, joints=[0.0, 9.0])


def test_it_is_evaluated_like_any_other_task(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert "of 2" in capsys.readouterr().out
    each = json.loads((run / "evaluation.json").read_text())["each"]
    assert {"final_distance", "closely", "nearest_distance"} <= each[0].keys()


def test_learning_goes_on_where_it_stopped(run: Path) -> None:
    assert main(["resume", str(run), "episodes=10"]) == 0
    assert json.loads((run / "summary.json").read_text())["episodes"] == 10


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("reacher-goal-image", ("model.name=e2c", "planner.name=ilqr")),
        (
            "pixels:pendulum-swingup",
            (
                "model.encoding=deterministic",
                "model.far_steps=5",
                "task.action_repeat=100",
                "planner.population=16",
                "value={}",
            ),
        ),
    ],
    ids=["e2c", "reward"],
)
def test_other_image_models_go_through_the_same_loop(run: Path, tmp_path: Path, task: str, model: tuple[str]) -> None:
    small = ["threads=1", "episodes=4", "learning.random_episodes=3", "learning.show_episodes=0", "planner.horizon=3"]
    small += ["task.picture_size=16", "model.widths=[4, 8]", "model.latent_size=4", "model.first_steps=5"]
    small += ["model.batch_size=8", "model.refit_steps=2"]
    small += ["task.episode_steps=6"] if task == "reacher-goal-image" else []
    if "planner.name=ilqr" not in model:
        small += ["planner.elites=4"]
    assert main(["run", task, *small, *model, f"run_dir={tmp_path / 'run'}"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["episodes"] == 4
    assert summary["plan_ms_p50"] > 0
