"""Spin a hinged body with a two-joint finger, dm_control's finger-spin."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task
from robot_ctrl.tolerance import linear_tolerance

SPIN_RATE = 15.0
"""The reward is 1 where the body turns faster than this, backwards, rad/s."""


class FingerSpin(Task):
    """Keep a hinged body spinning by flicking it (dm_control finger-spin, reward known)."""

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 25_000,
        "episodes": 50,
        "planner": {"horizon": 15, "beta": 0.25},
        "learning": {"random_episodes": 5},
    }

    def __init__(self, *, action_repeat: int = 2) -> None:
        self.robot = DmControlRobot("finger", "spin", action_repeat=action_repeat)
        self.env_steps_per_action = action_repeat
        self.episode_steps = 1000 // action_repeat
        joints = ("proximal", "distal", "body")
        names = (*joints, *(f"{joint}_rate" for joint in joints))
        self.state_spec = StateSpec(names, action_size=2, angles=(2,))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Joint angles and rates."""
        return np.concatenate([observation.values["qpos"], observation.values["qvel"]])

    def cost(self, goal: Tensor) -> Cost:
        """1 where the body turns forwards or stands, falling linearly to 0 at the rewarded rate."""
        return StepwiseCost({"rate": _missed_rate})


def _missed_rate(states: Tensor, actions: Tensor) -> Tensor:
    return 1 - linear_tolerance(-states[..., 1:, 5], low=SPIN_RATE + 1, margin=2 * SPIN_RATE)
