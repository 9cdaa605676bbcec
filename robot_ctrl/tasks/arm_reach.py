"""Reach random points with the gripper's tip of a simulated six-joint arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import mujoco
import numpy as np
import torch
from torch import Tensor

from hardware.arms.reaching import reaching_arm
from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Observation, RobotSpec
from models.state import CommandColumns, StateSpec
from planners.cost import Cost, StepwiseCost, control_effort
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task

REACHED = 0.02
"""An episode succeeds if the tip ends within this distance of the target, m."""

ROUNDED = 0.01
"""m; nearer to the target than about this, the distance costs its square rather than itself."""

EFFORT_SPEED = 1.5
"""rad/s; where joints may be this fast, a full step of one costs a tenth; where less, less by the square."""


@dataclass(frozen=True)
class Workspace:
    """Where starts and targets are drawn: the part of the space in front of an arm.

    Attributes:
        spread: (nu,) how far poses are drawn from "ready", rad.
        lowest: of the tip, m.
        reach: (nearest, farthest) of the tip from the arm's axis, m.
        apart: how far the start is from the target at least, m.
        speed: of the joints, rad/s; about what the arm's limit of acceleration lets them gain within one and a half
            periods. Plans that turn round more quickly than the arm may leave it hunting around its target.
        steps: of an episode.
    """

    spread: tuple[float, ...]
    lowest: float
    reach: tuple[float, float]
    apart: float
    speed: float = 1.5
    steps: int = 50


WORKSPACES = {
    "so101": Workspace((1.2, 0.5, 0.5, 0.5, 1.0, 0.3), 0.04, (0.15, 0.40), 0.06),
    "koch": Workspace((1.2, 0.5, 0.5, 0.5, 1.0, 0.2), 0.03, (0.10, 0.25), 0.05),
    "fr3": Workspace((1.0, 0.5, 0.5, 0.5, 0.6, 0.6, 0.8), 0.10, (0.30, 0.70), 0.12, 0.5, 80),
    "viperx": Workspace((1.2, 0.5, 0.5, 0.5, 0.5, 1.0, 0.3), 0.08, (0.25, 0.60), 0.10, 0.45, 120),
}


class ArmReach(Task):
    """Reach random points with a simulated SO-101, Koch, ViperX or FR3 class arm (success within 2 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 40,
        "model": {"refit_steps": 200},
        "planner": {"horizon": 8},
        "learning": {"base_policy": "uniform", "random_episodes": 10, "show_episodes": 4},
    }

    robot: MujocoRobot

    def __init__(
        self,
        *,
        arm: Literal["so101", "koch", "viperx", "fr3"] = "so101",
        episode_steps: int | None = None,
        speed: float | None = None,
        control_rate: float = 20.0,
    ) -> None:
        self._workspace = WORKSPACES[arm]
        start = partial(draw_start, workspace=self._workspace)
        self.robot = reaching_arm(arm, control_rate=control_rate, on_reset=start)
        self.episode_steps = episode_steps or self._workspace.steps
        self._speed = speed or self._workspace.speed
        self.action_scale = ActionScale.delta(self.robot.spec, self._speed, self.period)
        self.state_spec = arm_state(self.robot.spec, self.action_scale)

    def state(self, observation: Observation) -> Array:
        """Joint positions and velocities, the tip's position, and the commands in force."""
        return arm_columns(observation, observation.values["gripper_tip"])

    def goal(self, observation: Observation) -> Array:
        """The target's position."""
        return observation.values["target"]

    def cost(self, goal: Tensor) -> Cost:
        """The tip's distance to the target, joints outside the workspace, and effort.

        The distance is rounded off at the target, so that the arm settles there: a cost with a kink has it chase
        every millimetre of the encoders' noise. Poses are drawn near "ready", so nothing is lost by staying there, and
        an arm that may fold up ends pressed against itself. Effort costs the square of how far the joints are sent, so
        that an arm of small steps does not save them while it is far away.
        """
        joints = self.robot.spec.action_size
        tip = slice(2 * joints, 2 * joints + 3)
        ready = torch.tensor(self.robot.model.key("ready").qpos[:joints], dtype=torch.float32)
        spread = torch.tensor(self._workspace.spread)

        def distance(states: Tensor, actions: Tensor) -> Tensor:
            squared = (states[..., 1:, tip] - goal).square().sum(dim=-1)
            return (squared + ROUNDED**2).sqrt() - ROUNDED

        def posture(states: Tensor, actions: Tensor) -> Tensor:
            outside = (states[..., 1:, :joints] - ready).abs() - spread
            return outside.clamp(min=0.0).square().sum(dim=-1)

        return StepwiseCost(
            {"distance": distance, "posture": posture, "control": control_effort},
            weights={"distance": 10.0, "posture": 0.1, "control": 0.1 * (self._speed / EFFORT_SPEED) ** 2},
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


def arm_state(spec: RobotSpec, scale: ActionScale, points: tuple[str, ...] = ("tip_x", "tip_y", "tip_z")) -> StateSpec:
    """Joint positions, their rates, ``points``, and last the commands that delta targets move."""
    joints = tuple(joint.name for joint in spec.joints)
    count = len(joints)
    names = (*joints, *(f"{joint}_rate" for joint in joints), *points)
    command = CommandColumns(
        columns=tuple(range(len(names), len(names) + count)),
        step=tuple(scale.step.tolist()),
        low=tuple(scale.low.tolist()),
        high=tuple(scale.high.tolist()),
        positions=tuple(range(count)),
    )
    return StateSpec((*names, *(f"{joint}_command" for joint in joints)), action_size=count, command=command)


def arm_columns(observation: Observation, points: Array) -> Array:
    """The state that ``arm_state`` describes."""
    values = observation.values
    return np.concatenate([values["joint_position"], values["joint_velocity"], points, values["command"]])


def draw_start(model: Any, data: Any, rng: np.random.Generator, *, workspace: Workspace) -> None:
    """A random pose of the arm, and a target that another pose reaches, some way off."""
    pose_above_table(model, data, rng, workspace)
    target = _tip(model, data)
    while True:
        pose_above_table(model, data, rng, workspace)
        if np.linalg.norm(_tip(model, data) - target) > workspace.apart:
            break
    data.mocap_pos[model.body("target").mocapid[0]] = target


def pose_above_table(model: Any, data: Any, rng: np.random.Generator, workspace: Workspace) -> None:
    """Put an arm into a random pose whose tip is in its workspace, clear of everything."""
    spread = np.array(workspace.spread)
    arm = slice(0, len(spread))
    ready = model.key("ready").qpos[arm]
    nearest, farthest = workspace.reach
    while True:
        data.qpos[arm] = np.clip(ready + rng.uniform(-spread, spread), *model.jnt_range[arm].T)
        tip = _tip(model, data)
        reach = float(np.hypot(tip[0], tip[1]))
        if tip[2] > workspace.lowest and nearest < reach < farthest and tip[0] > 0 and data.ncon == 0:
            return


def _tip(model: Any, data: Any) -> Array:
    mujoco.mj_forward(model, data)
    return np.array(data.site("gripper_tip").xpos)


def _distance(observation: Observation) -> float:
    return float(np.linalg.norm(observation.values["gripper_tip"] - observation.values["target"]))
