"""A simulated robot's goal picture by keys."""

import os
import pty
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware.robot import JointSpec, RobotSpec
from robot_ctrl.errors import UserError
from robot_ctrl.goals.posing import STEP, pose_by_keys
from robot_ctrl.keyboard import pressed_keys

SPEC = RobotSpec("two", (JointSpec("shoulder"), JointSpec("wrist", position=(-0.1, 0.1))), "normalized", 20.0)


class Task:
    def __init__(self) -> None:
        start = SimpleNamespace(values={"joint_position": np.zeros(2)})
        self.robot = SimpleNamespace(spec=SPEC, reset=lambda seed: start)

    def picture_of(self, joints: np.ndarray) -> np.ndarray:
        if joints[0] < -0.1:
            raise ValueError("below the table")
        return np.full((4, 4, 3), round(100 + 1000 * joints[0]), np.uint8)


def test_keys_pose_the_twin_within_its_limits() -> None:
    typed = iter(["", "qqq", "wwwwww?", "aaaaaaaaaa", "\n"])
    task: Any = Task()
    goal = pose_by_keys(task, 0, lambda: next(typed))
    assert goal.joints == pytest.approx([-2 * STEP, 2 * STEP])
    assert np.array_equal(goal.picture, task.picture_of(goal.joints))


def test_keys_come_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pressed_keys() as keys:
            os.write(ours, b"qq\n")
            task: Any = Task()
            assert pose_by_keys(task, 0, keys).joints == pytest.approx([2 * STEP, 0])
    os.close(ours)


def test_without_a_terminal_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UserError, match="not a terminal"):
            pose_by_keys(Task(), 0)  # type: ignore[arg-type]
