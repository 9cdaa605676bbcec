"""Reach random points with the gripper's tip of a simulated six-joint arm."""

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
import torch
from torch import Tensor

from hardware.arms.so101 import so101
from hardware.robot import Observation, RobotSpec
from models.state import CommandColumns, StateSpec
from planners.cost import Cost, StepwiseCost, control_effort
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task

REACHED = 0.02
"""An episode succeeds if the tip ends within this distance of the target, m."""

_SPREAD = np.array([1.2, 0.5, 0.5, 0.5, 1.0, 0.3])
"""How far poses are drawn from "ready", rad: the part of the workspace in front of the arm."""

_LOWEST, _NEAREST, _FARTHEST = 0.04, 0.15, 0.40
_ALREADY_THERE = 0.06
_TIP = slice(12, 15)


class ArmReach(Task):
    """Reach random points with a simulated SO-101-class arm (position commands, success within 2 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 40,
        "model": {"refit_steps": 200},
        "planner": {"horizon": 8},
        "learning": {"base_policy": "uniform", "random_episodes": 10, "show_episodes": 4},
    }

    def __init__(self, *, episode_steps: int = 50, speed: float = 1.5, control_rate: float = 20.0) -> None:
        self.robot = so101(control_rate=control_rate, on_reset=draw_start)
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)
        self.state_spec = arm_state(self.robot.spec, self.action_scale)

    def state(self, observation: Observation) -> Array:
        """Joint positions and velocities, the tip's position, and the commands in force."""
        return arm_columns(observation)

    def goal(self, observation: Observation) -> Array:
        """The target's position."""
        return observation.values["target"]

    def cost(self, goal: Tensor) -> Cost:
        """The tip's distance to the target, and a little effort."""

        def distance(states: Tensor, actions: Tensor) -> Tensor:
            distances: Tensor = torch.linalg.vector_norm(states[..., 1:, _TIP] - goal, dim=-1)
            return distances

        return StepwiseCost(
            {"distance": distance, "control": control_effort}, weights={"distance": 10.0, "control": 0.003}
        )

    def reward(self, observation: Observation) -> float:
        """The negative distance to the target, m."""
        return -_distance(observation)

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the tip ended within 2 cm of the target."""
        return _distance(observations[-1]) < REACHED

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """Distances to the target at the start and at the end, m."""
        return {"start_distance": _distance(observations[0]), "final_distance": _distance(observations[-1])}


def arm_state(spec: RobotSpec, scale: ActionScale, more: tuple[str, ...] = ()) -> StateSpec:
    """Joint positions, rates, the tip's position, ``more``, and last the commands that delta targets move."""
    joints = tuple(joint.name for joint in spec.joints)
    count = len(joints)
    names = (*joints, *(f"{joint}_rate" for joint in joints), "tip_x", "tip_y", "tip_z", *more)
    command = CommandColumns(
        columns=tuple(range(len(names), len(names) + count)),
        step=tuple(scale.step.tolist()),
        low=tuple(scale.low.tolist()),
        high=tuple(scale.high.tolist()),
        positions=tuple(range(count)),
    )
    return StateSpec((*names, *(f"{joint}_command" for joint in joints)), action_size=count, command=command)


def arm_columns(observation: Observation, *more: Array) -> Array:
    """The state that ``arm_state`` describes."""
    values = observation.values
    return np.concatenate(
        [values["joint_position"], values["joint_velocity"], values["gripper_tip"], *more, values["command"]]
    )


def draw_start(model: Any, data: Any, rng: np.random.Generator) -> None:
    """A random pose of the arm, and a target that another pose reaches, at least 6 cm away."""
    _pose_above_table(model, data, rng)
    target = _tip(model, data)
    while True:
        _pose_above_table(model, data, rng)
        if np.linalg.norm(_tip(model, data) - target) > _ALREADY_THERE:
            break
    data.mocap_pos[model.body("target").mocapid[0]] = target


def _pose_above_table(model: Any, data: Any, rng: np.random.Generator) -> None:
    arm = slice(0, 6)
    ready = model.key("ready").qpos[arm]
    while True:
        data.qpos[arm] = np.clip(ready + rng.uniform(-_SPREAD, _SPREAD), *model.jnt_range[arm].T)
        tip = _tip(model, data)
        reach = float(np.hypot(tip[0], tip[1]))
        if tip[2] > _LOWEST and _NEAREST < reach < _FARTHEST and tip[0] > 0 and data.ncon == 0:
            return


def _tip(model: Any, data: Any) -> Array:
    mujoco.mj_forward(model, data)
    return np.array(data.site("gripper_tip").xpos)


def _distance(observation: Observation) -> float:
    return float(np.linalg.norm(observation.values["gripper_tip"] - observation.values["target"]))
