"""Push a puck to a random place on the table with a simulated arm."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardware.arms.so101 import so101_push
from hardware.robot import Observation
from planners.cost import Cost, StepwiseCost, control_effort
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task
from robot_ctrl.tasks.arm_reach import arm_columns, arm_state

PUSHED = 0.04
"""An episode succeeds if the puck ends within this distance of the target, m."""

CLOSEST_START, FARTHEST_START = 0.08, 0.15
"""How far from the target the puck starts, m."""

_TIP, _PUCK = slice(8, 11), slice(11, 13)
_BEHIND, _TIP_HEIGHT = 0.045, 0.02
_PUCK_RING, _TARGET_RING, _SECTOR = (0.19, 0.27), (0.16, 0.33), 0.7


class ArmPush(Task):
    """Push a puck 8 to 15 cm to a random place with a simulated SO-101-class arm (success within 4 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 60,
        "model": {"refit_steps": 300},
        "planner": {"horizon": 12},
        "learning": {"base_policy": "coloured", "random_episodes": 10, "show_episodes": 3},
    }

    def __init__(self, *, episode_steps: int = 100, speed: float = 1.0, control_rate: float = 20.0) -> None:
        self.robot = so101_push(control_rate=control_rate, on_reset=draw_start)
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)
        puck = ("puck_x", "puck_y", "puck_x_rate", "puck_y_rate")
        self.state_spec = replace(
            arm_state(self.robot.spec, self.action_scale, puck), unseen=(11, 12), differences=((11, 8), (12, 9))
        )

    def state(self, observation: Observation) -> Array:
        """Joint positions and velocities, the tip, the puck's position and velocity, the commands in force."""
        values = observation.values
        return arm_columns(observation, values["puck"][:2], values["qvel"][-3:-1])

    def goal(self, observation: Observation) -> Array:
        """Where the puck should go, in the plane."""
        return observation.values["target"][:2]

    def cost(self, goal: Tensor) -> Cost:
        """The puck's distance to the target, and the tip's to the place behind the puck from where to push."""

        def distance(states: Tensor, actions: Tensor) -> Tensor:
            gap: Tensor = torch.linalg.vector_norm(states[..., 1:, _PUCK] - goal, dim=-1)
            return gap

        def approach(states: Tensor, actions: Tensor) -> Tensor:
            puck = states[..., 1:, _PUCK]
            away = puck - goal
            gap = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
            place = puck + away / gap.clamp(min=0.01) * _BEHIND
            offset: Tensor = torch.linalg.vector_norm(states[..., 1:, _TIP][..., :2] - place, dim=-1)
            reached: Tensor = (gap[..., 0] / 0.02).clamp(max=1)
            return offset * reached

        def height(states: Tensor, actions: Tensor) -> Tensor:
            return (states[..., 1:, _TIP][..., 2] - _TIP_HEIGHT).abs()

        return StepwiseCost(
            {"distance": distance, "approach": approach, "height": height, "control": control_effort},
            weights={"distance": 10.0, "approach": 2.0, "height": 5.0, "control": 0.003},
        )

    def reward(self, observation: Observation) -> float:
        """The puck's negative distance to the target, m."""
        return -_distance(observation)

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the puck ended within 4 cm of the target."""
        return _distance(observations[-1]) < PUSHED

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """The puck's distance to the target at the start and at the end, m."""
        return {"start_distance": _distance(observations[0]), "final_distance": _distance(observations[-1])}


def draw_start(model: Any, data: Any, rng: np.random.Generator) -> None:
    """A puck before the arm, the fingertip near it, and a target 8 to 15 cm from the puck that can be reached."""
    while True:
        puck = _place(rng, _PUCK_RING)
        target = _place(rng, _TARGET_RING)
        if CLOSEST_START < np.linalg.norm(target - puck) < FARTHEST_START:
            break
    data.joint("puck_x").qpos, data.joint("puck_y").qpos = puck
    data.joint("shoulder_pan").qpos += np.arctan2(puck[1], puck[0]) + rng.uniform(-0.1, 0.1)
    body = model.body("target").mocapid[0]
    data.mocap_pos[body, :2] = target


def _place(rng: np.random.Generator, ring: tuple[float, float]) -> Array:
    radius, angle = rng.uniform(*ring), rng.uniform(-_SECTOR, _SECTOR)
    return radius * np.array([np.cos(angle), np.sin(angle)])


def _distance(observation: Observation) -> float:
    values = observation.values
    return float(np.linalg.norm(values["puck"][:2] - values["target"][:2]))
