"""Push a puck to a random place on the table with a simulated arm."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import mujoco
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

_POINTS = (
    "tip_radius", "tip_bearing", "tip_z",
    "puck_radius", "puck_bearing", "puck_rate_outwards", "puck_rate_sideways",
)  # fmt: skip
_JOINTS, _TIP, _TIP_Z, _PUCK, _COMMANDS = slice(0, 4), slice(8, 10), 10, slice(11, 13), slice(15, 19)
_BEARINGS = (0, 9, 12)

_CLEAR, _PRESSED = 0.05, 0.03
"""How far from the puck's centre the tip goes around it, and where it would be if it pressed into it from behind, m."""

_TIP_HEIGHT = 0.02
_PUCK_RING, _TARGET_RING, _SECTOR = (0.19, 0.27), (0.16, 0.33), 0.7
_SPREAD = np.array([0.5, 0.6, 0.6, 0.5])
_NEAREST_TIP, _FARTHEST_TIP, _LOWEST_TIP, _HIGHEST_TIP = 0.04, 0.07, 0.010, 0.025


class ArmPush(Task):
    """Push a puck 8 to 15 cm to a random place with a simulated SO-101-class arm (success within 4 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 50,
        "model": {"refit_steps": 300},
        "planner": {"horizon": 12},
        "learning": {"base_policy": "coloured", "base_policy_colour": 0.5, "random_episodes": 30, "show_episodes": 3},
    }

    def __init__(self, *, episode_steps: int = 100, speed: float = 1.0, control_rate: float = 20.0) -> None:
        self.robot = so101_push(control_rate=control_rate, on_reset=draw_start)
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)
        self.state_spec = replace(
            arm_state(self.robot.spec, self.action_scale, _POINTS), unseen=_BEARINGS, derived=_puck_from_tip
        )

    def state(self, observation: Observation) -> Array:
        """Joint positions and velocities, tip and puck in cylindrical coordinates, the commands in force.

        About the axis of the shoulder's pan the dynamics do not depend on any bearing, only on their differences:
        what is learned of contact in one direction holds in all.
        """
        values = observation.values
        tip, puck = values["gripper_tip"], values["puck"]
        bearing = np.arctan2(puck[1], puck[0])
        outwards = np.array([np.cos(bearing), np.sin(bearing)])
        rates = [values["qvel"][-3:-1] @ outwards, values["qvel"][-3:-1] @ [-outwards[1], outwards[0]]]
        seen_tip = [np.hypot(tip[0], tip[1]), np.arctan2(tip[1], tip[0]), tip[2]]
        return arm_columns(observation, np.array([*seen_tip, np.hypot(puck[0], puck[1]), bearing, *rates]))

    def goal(self, observation: Observation) -> Array:
        """Where the puck should go, in the plane."""
        return observation.values["target"][:2]

    def cost(self, goal: Tensor) -> Cost:
        """The puck's distance to the target, and how far the tip is from pushing it there.

        The way behind the puck is measured around the puck. It ends a little inside it, so that a model that knows
        nothing of contact yet finds out. Commands that run ahead of the joints cost: a servo that is blocked by the
        table presses on it with all of its strength and does not move.
        """

        def distance(states: Tensor, actions: Tensor) -> Tensor:
            gap: Tensor = torch.linalg.vector_norm(_in_plane(states[..., 1:, _PUCK]) - goal, dim=-1)
            return gap

        def approach(states: Tensor, actions: Tensor) -> Tensor:
            return way_behind(_in_plane(states[..., 1:, _TIP]), _in_plane(states[..., 1:, _PUCK]), goal)

        def height(states: Tensor, actions: Tensor) -> Tensor:
            return (states[..., 1:, _TIP_Z] - _TIP_HEIGHT).abs()

        def strain(states: Tensor, actions: Tensor) -> Tensor:
            return (states[..., 1:, _COMMANDS] - states[..., 1:, _JOINTS]).square().sum(-1)

        return StepwiseCost(
            {"distance": distance, "approach": approach, "height": height, "strain": strain, "control": control_effort},
            weights={"distance": 10.0, "approach": 3.0, "height": 5.0, "strain": 10.0, "control": 0.003},
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


def way_behind(tip: Tensor, puck: Tensor, goal: Tensor) -> Tensor:
    """How far (...) a tip (..., 2) is, around the puck (..., 2), from where it pushes that to a goal (2,), m.

    The way ends a little inside the puck, and counts for nothing once the puck is at the goal.
    """
    away, offset = puck - goal, tip - puck
    gap = torch.linalg.vector_norm(away, dim=-1)
    turn = torch.atan2(away[..., 0] * offset[..., 1] - away[..., 1] * offset[..., 0], (away * offset).sum(-1))
    ring = _CLEAR - (_CLEAR - _PRESSED) * turn.cos().clamp(min=0)
    way = torch.hypot(torch.linalg.vector_norm(offset, dim=-1) - ring, _CLEAR * turn)
    left: Tensor = way * (gap / 0.02).clamp(max=1)
    return left


def draw_start(model: Any, data: Any, rng: np.random.Generator) -> None:
    """A puck before the arm, the fingertip low beside it, and a target 8 to 15 cm from the puck that can be reached."""
    while True:
        puck = _place(rng, _PUCK_RING)
        target = _place(rng, _TARGET_RING)
        if CLOSEST_START < np.linalg.norm(target - puck) < FARTHEST_START:
            break
    data.joint("puck_x").qpos, data.joint("puck_y").qpos = puck
    data.mocap_pos[model.body("target").mocapid[0], :2] = target
    arm, ready = slice(0, 4), model.key("ready").qpos[:4]
    while True:
        data.qpos[arm] = np.clip(ready + rng.uniform(-_SPREAD, _SPREAD), *model.jnt_range[arm].T)
        data.qpos[0] += np.arctan2(puck[1], puck[0])
        mujoco.mj_kinematics(model, data)
        tip = data.site("gripper_tip").xpos
        near = _NEAREST_TIP < np.linalg.norm(tip[:2] - puck) < _FARTHEST_TIP
        if near and _LOWEST_TIP < tip[2] < _HIGHEST_TIP:
            mujoco.mj_forward(model, data)
            if data.ncon == 0:
                return


def _place(rng: np.random.Generator, ring: tuple[float, float]) -> Array:
    radius, angle = rng.uniform(*ring), rng.uniform(-_SECTOR, _SECTOR)
    return radius * np.array([np.cos(angle), np.sin(angle)])


def _puck_from_tip(states: Tensor) -> Tensor:
    """Where the puck is as seen from the tip: outwards, sideways, and how far (..., 3), m."""
    tip_radius, tip_bearing = states[..., _TIP].unbind(-1)
    radius, bearing = states[..., _PUCK].unbind(-1)
    offset = torch.stack([radius - tip_radius, radius * torch.sin(bearing - tip_bearing)], -1)
    return torch.cat([offset, torch.linalg.vector_norm(offset, dim=-1, keepdim=True)], -1)


def _in_plane(polar: Tensor) -> Tensor:
    """Radius and bearing (..., 2) to x and y (..., 2)."""
    radius, bearing = polar.unbind(-1)
    return torch.stack([radius * bearing.cos(), radius * bearing.sin()], -1)


def _distance(observation: Observation) -> float:
    values = observation.values
    return float(np.linalg.norm(values["puck"][:2] - values["target"][:2]))
