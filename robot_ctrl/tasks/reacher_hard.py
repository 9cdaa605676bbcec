"""Put the finger of dm_control's two-link reacher onto a small target."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task

UPPER_LINK, LOWER_LINK = 0.12, 0.12
TOUCHING = 0.015 + 0.01
"""Target radius + finger radius: the reward is 1 within this distance, m."""


class ReacherHard(Task):
    """Touch a small target with a two-link arm and stay there (dm_control reacher-hard, reward known)."""

    defaults: ClassVar[dict[str, Any]] = {"env_steps": 25_000, "episodes": 50, "planner": {"horizon": 12}}

    def __init__(self, *, action_repeat: int = 4) -> None:
        self.robot = DmControlRobot("reacher", "hard", action_repeat=action_repeat, points={"target": "geom:target"})
        self.env_steps_per_action = action_repeat
        self.episode_steps = 1000 // action_repeat
        names = ("shoulder", "wrist", "shoulder_rate", "wrist_rate")
        self.state_spec = StateSpec(names, action_size=2, angles=(0, 1))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Joint angles and rates."""
        return np.concatenate([observation.values["qpos"], observation.values["qvel"]])

    def goal(self, observation: Observation) -> Array:
        """The target's position in the plane."""
        return observation.values["target"][:2]

    def cost(self, goal: Tensor) -> Cost:
        """0 on the target, and the distance to it with a steep last centimetre; fast motion near it costs."""

        def miss(states: Tensor, actions: Tensor) -> Tensor:
            distance: Tensor = torch.linalg.vector_norm(finger(states[..., 1:, :]) - goal, dim=-1)
            return distance / 0.24 + 0.5 * (1 - torch.exp(-((distance / TOUCHING) ** 2)))

        return StepwiseCost({"miss": miss})


def finger(states: Tensor) -> Tensor:
    """The finger's position (..., 2), m, from states (..., 4)."""
    shoulder = states[..., 0]
    elbow = shoulder + states[..., 1]
    x = UPPER_LINK * shoulder.cos() + LOWER_LINK * elbow.cos()
    y = UPPER_LINK * shoulder.sin() + LOWER_LINK * elbow.sin()
    return torch.stack([x, y], dim=-1)
