"""Pushing by pixels: nothing of the simulator's puck in the state, a calibrated camera, and a stop when it is lost."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

import robot_ctrl.tasks.push_goal_pixel
from hardware.errors import RenderingUnavailableError, StoppedError
from robot_ctrl.build import load_controller
from robot_ctrl.cli import main
from robot_ctrl.errors import RunError
from robot_ctrl.goal_pixel import goal_pixel
from robot_ctrl.goal_pixel_robot import _pushing
from robot_ctrl.goals.pixel_robot import CAMERA, PIXEL_HEIGHT
from robot_ctrl.goals.pixel_tip import TIP_HEIGHT, VIEW
from robot_ctrl.realtime.sources import described
from robot_ctrl.seeds import derive_seed
from robot_ctrl.tasks.push_goal_pixel import PushGoalPixel
from robot_ctrl.tasks.push_goal_pixel_foresight import PushGoalPixelForesight

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
    radius, bearing = state[11:13]
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


@pytest.fixture(scope="module")
def foreseeing() -> PushGoalPixelForesight:
    task = PushGoalPixelForesight()
    try:
        task.robot.connect()
        task.robot.reset(0)
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    return task


def test_the_fingertip_goes_where_it_is_sent(foreseeing: PushGoalPixelForesight) -> None:
    robot = foreseeing.robot
    command = robot.reset(1).values["command"]
    for aim in ([0.20, -0.12], [0.32, -0.12], [0.32, 0.12]):
        while np.linalg.norm(np.array(aim) - command) > 1e-9:
            command = command + np.clip(np.array(aim) - command, -0.024, 0.024)
            robot.send_action(command)
        robot.send_action(command)
        tip = robot.get_observation().values["gripper_tip"]
        np.testing.assert_allclose(tip, [*aim, TIP_HEIGHT], atol=0.008)


def test_the_view_shows_the_puck_from_above_at_its_pixel(foreseeing: PushGoalPixelForesight) -> None:
    robot, view = foreseeing.robot, foreseeing.robot.view
    values = robot.reset(6).values
    picture = robot.get_observation().images[VIEW].astype(int)
    np.testing.assert_allclose(view.places(view.pixels(values["puck"][:2])), values["puck"][:2])
    column, row = np.rint(view.pixels(values["puck"][:2])).astype(int)
    assert np.abs(values["designated_pixel"] - [column, row]).max() < 1
    assert picture[row, column].min() > 150
    red = picture[..., 0] - picture[..., 2]
    assert red[row - 1 : row + 2, column - 1 : column + 2].max() > 60


def test_a_state_of_foresight_survives_being_saved(foreseeing: PushGoalPixelForesight) -> None:
    robot = foreseeing.robot
    start = robot.reset(2).values["command"]
    state = robot.get_state()
    ends = []
    for _ in range(2):
        robot.set_state(state)
        for step in range(1, 4):
            robot.send_action(start + 0.02 * step)
        ends.append(robot.get_observation().values["qpos"])
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-9)


def test_a_pixel_is_planned_to_through_predicted_pictures(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (
        "model.name=foresight", "seed=1", "threads=1", "episodes=2", "learning.random_episodes=2",
        "learning.show_episodes=0", "task.episode_steps=8", "model.first_steps=4", "model.batch_size=4",
        "planner.population=8", "planner.elites=4", "planner.iterations=1", "planner.horizon=3", f"run_dir={run}",
    )  # fmt: skip
    assert main(["run", "push-goal-pixel", *settings]) == 0
    task, _, _ = load_controller(run)
    assert isinstance(task, PushGoalPixelForesight)
    values = task.robot.reset(derive_seed(3, "goal", 0)).values
    goal_pixel(run, pixel=tuple(values["pixel"]), to=tuple(values["goal_pixel"]), seed=3)
    page = (run / "goals" / "000" / "report.html").read_text()
    assert "What it imagined" in page
    assert page.count("data:image/png") == 2 + 6


def test_a_run_that_commands_the_fingertip_is_refused_on_an_arm_that_has_only_joints(
    foreseeing: PushGoalPixelForesight, pushing: PushGoalPixel
) -> None:
    arm = described("so101", None)
    assert len(_pushing(arm, pushing).description.joints) == 4
    with pytest.raises(RunError, match="commands tip_x, tip_y"):
        _pushing(arm, foreseeing)
