"""Drive a simulated robot to its goal by keys: its twin takes every pose, and a browser shows it."""

from contextlib import ExitStack

import cv2
import numpy as np

from hardware.clock import MonotonicClock
from hardware.stream import MjpegServer
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.goals.goal_result import PictureGoal
from robot_ctrl.keyboard import Keys, pressed_keys
from robot_ctrl.task import Array
from robot_ctrl.teleoperation import DONE, keys_help, moves

STEP = 0.04
"""rad per key press."""

_PERIOD = 0.05
_SHOWN = 512


def pose_by_keys(task: GoalImageTask, seed: int, keys: Keys | None = None) -> PictureGoal:
    """Pose the task's twin by keys from where an episode starts, until Enter.

    Args:
        task: its robot connected.
        seed: of the start.
        keys: what was typed since the last call; None reads the terminal.

    Raises:
        UserError: if standard input is no terminal.
    """
    spec = task.robot.spec
    pose = _joints(task, seed)
    with ExitStack() as stack:
        typed = keys or stack.enter_context(pressed_keys())
        shown = [task.picture_of(pose)]
        server = stack.enter_context(MjpegServer(lambda: _large(shown[0]), rate=1 / _PERIOD))
        print(f"Look at {server.url} in a browser. {keys_help(spec)}  Enter takes the goal picture.", flush=True)
        clock, joint_of = MonotonicClock(), moves(spec)
        while True:
            for key in typed():
                if key == DONE:
                    return PictureGoal(f"Goal: driven to {_text(pose)} rad", shown[0], pose)
                if key in joint_of:
                    joint, sign = joint_of[key]
                    pose, shown[0] = _moved(task, pose, joint, sign * STEP, shown[0])
            clock.sleep_until(clock.now() + _PERIOD)


def _moved(task: GoalImageTask, pose: Array, joint: int, by: float, before: Picture) -> tuple[Array, Picture]:
    """The pose with one joint further, and its picture; the pose before where a joint has its end."""
    there = pose.copy()
    there[joint] += by
    low, high = task.robot.spec.joints[joint].position or (-np.inf, np.inf)
    if not low <= there[joint] <= high:
        return pose, before
    try:
        return there, task.picture_of(there)
    except ValueError:
        return pose, before


def _joints(task: GoalImageTask, seed: int) -> Array:
    values = task.robot.reset(seed).values
    return np.array(values["joint_position"], dtype=np.float64)


def _large(picture: Picture) -> Picture:
    scale = max(1, _SHOWN // picture.shape[1])
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _text(pose: Array) -> str:
    return ", ".join(f"{joint:.2f}" for joint in pose)
