"""Pushing by pixels: nothing of the simulator's puck in the state, a calibrated camera, and a stop when it is lost."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

import robot_ctrl.tasks.push_goal_pixel
from hardware.errors import RenderingUnavailableError, StoppedError
from robot_ctrl.cli import main
from robot_ctrl.errors import RunError
from robot_ctrl.goal_pixel import goal_pixel
from robot_ctrl.goals.pixel_robot import CAMERA, PIXEL_HEIGHT
from robot_ctrl.seeds import derive_seed
from robot_ctrl.tasks.push_goal_pixel import PushGoalPixel

TINY = (
    "seed=1", "threads=1", "episodes=2", "learning.random_episodes=2", "learning.show_episodes=0",
    "task.episode_steps=6", "model.hidden=[16]", "model.members=2", "model.particles=2", "model.first_steps=10",
    "planner.population=16", "planner.elites=4", "planner.iterations=1", "planner.horizon=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def pushing() -> PushGoalPixel:
    task = PushGoalPixel()
    try:
        task.robot.connect()
        task.robot.reset(0)
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    return task


def test_the_camera_is_calibrated(pushing: PushGoalPixel) -> None:
    camera = pushing.robot.camera
    places = np.array([[0.2, 0.1], [0.3, -0.15], [0.24, 0.0]])
    pixels = camera.project(np.column_stack([places, np.full(3, PIXEL_HEIGHT)]))
    np.testing.assert_allclose(camera.on_plane(pixels, PIXEL_HEIGHT), places, atol=1e-9)
    np.testing.assert_allclose(pushing.robot.data.cam(CAMERA).xpos, camera.position)
    np.testing.assert_allclose(pushing.robot.data.cam(CAMERA).xmat.reshape(3, 3), camera.rotation, atol=1e-6)


def test_the_tracker_sees_the_puck_move(pushing: PushGoalPixel) -> None:
    robot = pushing.robot
    first = robot.reset(2)
    hold = first.values["command"]
    for _ in range(15):
        robot.data.joint("puck_y").qpos += 0.005
        robot.send_action(hold)
        last = robot.get_observation()
    top = np.append(last.values["puck"][:2], PIXEL_HEIGHT)
    assert np.linalg.norm(last.values["pixel"] - first.values["pixel"]) > 10
    assert np.linalg.norm(last.values["pixel"] - robot.camera.project(top)) < 0.8
    assert np.linalg.norm(pushing.place(last.values["pixel"]) - top[:2]) < 0.004


def test_the_state_knows_the_pixel_and_not_the_puck(pushing: PushGoalPixel) -> None:
    observation = pushing.robot.reset(3)
    state, goal = pushing.state(observation), pushing.goal(observation)
    values = dict(observation.values)
    radius, bearing = state[pushing.places]
    shown = radius * np.array([np.cos(bearing), np.sin(bearing)])
    np.testing.assert_allclose(shown, pushing.place(values["pixel"]))
    for name in ("puck", "target", "qpos", "qvel"):
        values[name] = np.full_like(values[name], np.nan)
    blind = type(observation)(0, values)
    np.testing.assert_array_equal(pushing.state(blind), state)
    np.testing.assert_array_equal(pushing.goal(blind), goal)


def test_the_marker_of_the_target_is_hidden(pushing: PushGoalPixel) -> None:
    robot = pushing.robot
    robot.reset(4)
    before = robot.see()
    robot.set_target("target", np.array([0.25, 0.1, 0.0]))
    mujoco.mj_forward(robot.model, robot.data)
    np.testing.assert_array_equal(robot.see(), before)


def test_a_lost_pixel_stops_the_robot(pushing: PushGoalPixel) -> None:
    robot = pushing.robot
    observation = robot.reset(5)
    hold = observation.values["command"]
    robot.data.joint("puck_x").qpos, robot.data.joint("puck_y").qpos = -0.2, 0.4
    for _ in range(40):
        robot.send_action(hold)
        observation = robot.get_observation()
        if pushing.terminated(observation):
            break
    assert robot.lost is not None
    assert observation.values["pixel_confidence"] == 0
    assert not pushing.success([observation])
    with pytest.raises(StoppedError, match="lost"):
        robot.send_action(hold)
    assert not pushing.terminated(robot.reset(5))


def test_a_pixel_is_planned_to_and_leaves_a_page(pushing: PushGoalPixel, tmp_path: Path) -> None:
    run = tmp_path / "run"
    task = f"{robot_ctrl.tasks.push_goal_pixel.__file__}:PushGoalPixel"
    assert main(["run", task, *TINY, f"run_dir={run}"]) == 0
    values = pushing.robot.reset(derive_seed(3, "goal", 0)).values
    u, v = values["pixel"]
    to = tuple(values["goal_pixel"])
    said = goal_pixel(run, pixel=(u, v), to=to, seed=3)
    folder = run / "goals" / "000"
    assert str(folder / "report.html") in said
    numbers = json.loads((folder / "goal.json").read_text())
    assert numbers["reached"] == said.startswith("Reached")
    assert numbers["distance_start"] == pytest.approx(np.linalg.norm(values["goal_pixel"] - values["pixel"]))
    assert len(numbers["track"]) == 7
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") == 2
    assert (folder / "goal.mp4").stat().st_size > 1000
    for pixel, there, why in (
        ((500, 2), to, "outside"),
        ((10, 100), to, "texture"),
        ((u, v), (300, 3), "outside"),
        ((u, v), (64, 2), "out of reach"),
    ):
        with pytest.raises(RunError, match=why):
            goal_pixel(run, pixel=pixel, to=there, seed=3)
    assert not (run / "goals" / "001").exists()
