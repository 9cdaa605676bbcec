"""Swing up and balance the pole of dm_control's cart-pole."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task
from robot_ctrl.tolerance import gaussian_tolerance


class CartpoleSwingup(Task):
    """Swing up a pole on a cart and balance it (dm_control cartpole-swingup, reward known)."""

    defaults: ClassVar[dict[str, Any]] = {"env_steps": 10_000, "episodes": 12, "planner": {"horizon": 25}}

    def __init__(self, *, action_repeat: int = 4) -> None:
        self.robot = DmControlRobot("cartpole", "swingup", action_repeat=action_repeat)
        self.env_steps_per_action = action_repeat
        self.episode_steps = 1000 // action_repeat
        self.state_spec = StateSpec(("x", "angle", "speed", "turn_rate"), action_size=1, angles=(1,))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Cart position and pole angle, and their rates."""
        return np.concatenate([observation.values["qpos"], observation.values["qvel"]])

    def cost(self, goal: Tensor) -> Cost:
        """1 − the suite's reward: upright, centred, gentle and slow."""
        return StepwiseCost({"reward": _missed_reward})


def _missed_reward(states: Tensor, actions: Tensor) -> Tensor:
    x, angle, _, turn_rate = states[..., 1:, :].unbind(-1)
    upright = (angle.cos() + 1) / 2
    centred = (1 + gaussian_tolerance(x, margin=2.0)) / 2
    small_control = (4 + (1 - actions[..., 0] ** 2).clamp(min=0)) / 5
    slow = (1 + gaussian_tolerance(turn_rate, margin=5.0)) / 2
    return 1 - upright * centred * small_control * slow
