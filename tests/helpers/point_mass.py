"""A task without a simulator: a mass on a rail, driven by a force or by the position that a servo follows."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hardware.errors import RenderingUnavailableError
from hardware.robot import JointSpec, Observation, RobotSpec
from hardware.safety import SafetyFilter
from hardware.simulated import Simulation
from models.state import StateSpec
from planners.cost import StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.task import Array, Task

PERIOD = 0.1


class Rail(Simulation):
    def __init__(self, driven_by: Literal["force", "position"]) -> None:
        joint = (
            JointSpec("slide", effort=2.0) if driven_by == "force" else JointSpec("slide", (-2.0, 2.0), velocity=5.0)
        )
        mode: Any = "effort" if driven_by == "force" else "position"
        super().__init__(RobotSpec("rail", (joint,), mode, 1 / PERIOD), None)

    def _restart(self, seed: int) -> None:
        self.position = np.random.default_rng(seed).uniform(-1, 1, 1)
        self.velocity = np.zeros(1)
        if self.spec.command_mode == "position":
            self._command = self.position.copy()

    def _advance(self, command: Array) -> None:
        if self.spec.command_mode == "position":
            self.velocity = 0.5 * (command - self.position) / PERIOD
        else:
            self.velocity = self.velocity + command * PERIOD
        self.position = self.position + self.velocity * PERIOD
        self.env_steps += 1

    def _values(self) -> dict[str, Array]:
        return {
            "joint_position": self.position.copy(),
            "joint_velocity": self.velocity.copy(),
            "command": self._command.copy(),
        }

    def get_state(self) -> Array:
        return np.concatenate([self.position, self.velocity])

    def set_state(self, state: Array) -> None:
        self.position, self.velocity = state[:1].copy(), state[1:].copy()

    def _model_and_data(self) -> tuple[Any, Any]:
        raise RenderingUnavailableError("the rail cannot be drawn: install an OpenGL")


class PointMass(Task):
    """Bring the mass to the middle of the rail."""

    robot: Rail

    def __init__(self, *, episode_steps: int = 12, driven_by: Literal["force", "position"] = "force") -> None:
        self.robot = Rail(driven_by)
        self.episode_steps = episode_steps
        self.state_spec = StateSpec(("position", "velocity"), action_size=1)
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        return np.concatenate([observation.values["joint_position"], observation.values["joint_velocity"]])

    def cost(self, goal: Tensor) -> StepwiseCost:
        return StepwiseCost({"away": away, "moving": moving}, weights={"moving": 0.1})

    def reward(self, observation: Observation) -> float:
        return -abs(float(observation.values["joint_position"][0]))

    def success(self, observations: Sequence[Observation]) -> bool:
        return abs(float(observations[-1].values["joint_position"][0])) < 0.1


def away(states: Tensor, actions: Tensor) -> Tensor:
    return states[..., 1:, 0].square()


def moving(states: Tensor, actions: Tensor) -> Tensor:
    return states[..., 1:, 1].square()


def connected(**settings: Any) -> PointMass:
    """The task, ready to be driven."""
    task = PointMass(**settings)
    task.robot.connect()
    return task


def drive(task: PointMass, policy: Any, safety: SafetyFilter | None = None, **more: Any) -> EpisodeResult:
    """One episode."""
    safety = safety or SafetyFilter(task.robot.spec)
    return run_episode(task, policy, safety, **({"reset_seed": 2, "policy_seed": 2} | more))
