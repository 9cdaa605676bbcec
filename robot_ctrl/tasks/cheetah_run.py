"""Run forwards with dm_control's planar cheetah."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task

RUN_SPEED = 10.0
"""The reward grows linearly with the torso's forward speed up to this one, m/s."""


class CheetahRun(Task):
    """Run as fast as possible with a planar cheetah (dm_control cheetah-run, reward known)."""

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 50_000,
        "episodes": 50,
        "model": {"hidden": [200, 200], "refit_steps": 200},
        "planner": {"horizon": 3, "population": 48, "beta": 1.0, "initial_std": 1.0},
        "value": {},
        "learning": {"refit_every": 100, "base_policy": "coloured", "base_policy_colour": 1.0},
    }

    def __init__(self, *, action_repeat: int = 4, lean_weight: float = 1.0) -> None:
        self.robot = DmControlRobot(
            "cheetah", "run", action_repeat=action_repeat, points={"velocity_of_torso": "sensor:torso_subtreelinvel"}
        )
        self.env_steps_per_action = action_repeat
        self.episode_steps = 1000 // action_repeat
        self._lean_weight = lean_weight
        joints = ("height", "pitch", "bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
        names = (*joints, "x_rate", *(f"{joint}_rate" for joint in joints), "speed")
        self.state_spec = StateSpec(names, action_size=6, angles=(1,))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Joint positions without the horizontal one, rates, and the torso's speed."""
        values = observation.values
        return np.concatenate([values["qpos"][1:], values["qvel"], values["velocity_of_torso"][:1]])

    def cost(self, goal: Tensor) -> Cost:
        """1 − the suite's reward, without its lower bound at standing still, and ``lean_weight`` · (1 − cos pitch).

        The second keeps the cheetah off its nose, where it would lie for the rest of an episode: paid for speed alone,
        even a planner with a perfect model rolled from there onto its back. Returns are the suite's reward alone.
        """
        return StepwiseCost({"speed": _missed_speed, "lean": _lean}, weights={"lean": self._lean_weight})


def _missed_speed(states: Tensor, actions: Tensor) -> Tensor:
    return 1 - (states[..., 1:, -1] / RUN_SPEED).clamp(max=1)


def _lean(states: Tensor, actions: Tensor) -> Tensor:
    return 1 - states[..., 1:, 1].cos()
