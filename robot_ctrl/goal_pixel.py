"""`robot-ctrl goal RUN --pixel U,V --to U,V`: move what is at one pixel to another."""

import re
from pathlib import Path

import cv2
import numpy as np

from hardware.pixel_tracking import PixelTracker
from hardware.robot import Array
from robot_ctrl.build import load_controller
from robot_ctrl.errors import RunError
from robot_ctrl.goals.pixel_camera import PixelCamera
from robot_ctrl.goals.pixel_page import Picture, PixelPage, drawn
from robot_ctrl.goals.pixel_record import PixelRecord, record_pixels
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.goals.pixel_task import PixelTask
from robot_ctrl.loop import run_episode
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.video import VideoWriter

REACHED = 0.03
"""A goal pixel counts as reached if the tracked pixel's place ends within this distance of the goal's, m."""

REACH = (0.12, 0.38)
"""How far from the arm's axis things can be pushed, m."""


def goal_pixel(run: Path, *, pixel: tuple[float, float], to: tuple[float, float], seed: int = 0) -> str:
    """Move what is at ``pixel`` to ``to`` from a random start; leaves RUN/goals/NUMBER/ and says how it went.

    The folder holds ``report.html``, ``goal.mp4`` and ``goal.json``. If the pixel is lost the robot stops, and the
    answer says so. RUN/goals/start.png is the first picture of the last call, for choosing pixels.

    Args:
        run: a run of push-goal-pixel.
        pixel: the designated pixel, u to the right and v down, in the camera's first picture.
        to: where it should go.
        seed: of the start.

    Raises:
        RunError: if the run is of another kind, a pixel is outside the picture, the goal is out of reach, or there is
            no texture to track.
    """
    task, controller, safety = load_controller(run)
    if not isinstance(task, PixelTask):
        raise RunError(
            f"{run} is a run of a task without tracked pixels; make one with `robot-ctrl run push-goal-pixel`."
        )
    robot = task.robot
    reset_seed = derive_seed(seed, "goal", 0)
    robot.reset(reset_seed)
    start = robot.pictures[0]
    (run / "goals").mkdir(exist_ok=True)
    cv2.imwrite(str(run / "goals" / "start.png"), cv2.cvtColor(start, cv2.COLOR_RGB2BGR))
    robot.pixel, robot.goal_pixel = np.array(pixel, dtype=np.float64), np.array(to, dtype=np.float64)
    try:
        PixelTracker(start, robot.pixel)
        check_goal(robot.camera, robot.goal_pixel)
    except ValueError as error:
        raise RunError(f"goal: {error} The start's picture is {run / 'goals' / 'start.png'}.") from None
    result = run_episode(
        task, controller, safety, reset_seed=reset_seed, policy_seed=derive_seed(seed, "goal policy", 0)
    )
    states = np.stack([task.state(observation) for observation in result.observations])
    record = record_pixels(task, states, result.observations, controller.plans)
    verdict, reached = _verdict(record, robot, task.period)
    folder = RunFolder(_next_folder(run / "goals"))
    folder.path.mkdir()
    _write_video(folder.path / "goal.mp4", record, robot.pictures, task.period)
    title = f"Goal: pixel {_text(robot.pixel)} to {_text(robot.goal_pixel)}"
    name = Path(RunFolder.open(run)[1].task["name"]).name
    imagined = task.imagined(states, controller.plans)
    page = PixelPage(name, title, verdict, task.period, record, start, robot.pictures[-1], "goal.mp4", imagined)
    page.write(folder.report)
    folder.write_json(
        "goal.json",
        {
            "pixel": list(pixel),
            "to": list(to),
            "seed": seed,
            "reached": reached,
            "lost": robot.lost,
            "distance_start": float(record.distances[0]),
            "distance_end": float(record.distances[-1]),
            "track": record.track.tolist(),
            "plan_ms_p50": float(np.median(controller.plan_seconds)) * 1e3,
        },
    )
    return f"{verdict}\n{folder.report}"


def check_goal(camera: PixelCamera, pixel: Array) -> None:
    """Refuse a goal pixel (2,) where nothing can be pushed to.

    Raises:
        ValueError: if it is outside the picture, above the horizon or out of the arm's reach.
    """
    size = np.array([camera.width, camera.height])
    if not (np.isfinite(pixel).all() and (pixel >= 0).all() and (pixel <= size - 1).all()):
        raise ValueError(f"goal pixel {_text(pixel)} is outside the picture of {size[0]}x{size[1]} pixels.")
    place = camera.on_plane(pixel, PIXEL_HEIGHT)
    radius = float(np.hypot(*place))
    ahead = np.allclose(camera.project(np.append(place, PIXEL_HEIGHT)), pixel, atol=1e-3)
    if not ahead or not REACH[0] <= radius <= REACH[1] or place[0] < 0:
        raise ValueError(
            f"goal pixel {_text(pixel)} shows a place out of reach: the arm pushes things in front of it, "
            f"{REACH[0]:.2f} to {REACH[1]:.2f} m from its axis."
        )


def _verdict(record: PixelRecord, robot: PixelPushingArm, period: float) -> tuple[str, bool]:
    first, last = (robot.camera.on_plane(record.track[index], PIXEL_HEIGHT) for index in (0, -1))
    goal = robot.camera.on_plane(record.goal, PIXEL_HEIGHT)
    before, after = (100 * float(np.linalg.norm(place - goal)) for place in (first, last))
    seconds = (len(record.track) - 1) * period
    gaps = (
        f"{record.distances[0]:.1f} pixels ({before:.1f} cm on the table) at the start, {record.distances[-1]:.1f} "
        f"({after:.1f} cm) at the end."
    )
    if robot.lost is not None:
        return f"Stopped after {seconds:.1f} s: {robot.lost} Distance to the goal: {gaps}", False
    reached = after < 100 * REACHED
    return f"{'Reached' if reached else 'Not reached'} after {seconds:.1f} s. Distance to the goal: {gaps}", reached


def _write_video(path: Path, record: PixelRecord, pictures: list[Picture], period: float) -> None:
    frames = [
        drawn(picture, record.track[: index + 1], record.goal, hidden=record.confidence[index] == 0)
        for index, picture in enumerate(pictures)
    ]
    height, width, _ = frames[0].shape
    with VideoWriter(path, 1.0 / period, (width, height)) as video:
        for frame in frames:
            video.write(frame)


def _next_folder(goals: Path) -> Path:
    numbers = [int(path.name) for path in goals.glob("*") if re.fullmatch(r"\d+", path.name)]
    return goals / f"{max(numbers, default=-1) + 1:03d}"


def _text(pixel: Array) -> str:
    return ", ".join(f"{value:g}" for value in pixel)
