"""A robot of your own from its MJCF and a YAML file, without code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import mujoco
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Observation
from models.dynamics import Rollout
from planners.cost import StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import unknown
from robot_ctrl.mjcf_state import MjcfState
from robot_ctrl.task import Array, Task
from robot_ctrl.terms import Control, Term

Point = tuple[float, float, float]
_HINGE_OR_SLIDE = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Actions(_Section):
    """What the planner's actions mean.

    Attributes:
        mode: ``absolute`` actions span the command limits, ``delta`` actions move a position command by a
            bounded step; None takes delta where commands are positions and absolute otherwise.
        speed: of delta actions, rad/s or m/s.
    """

    mode: Literal["absolute", "delta"] | None = None
    speed: float = Field(default=1.5, gt=0)


class State(_Section):
    """What the state holds beside joints and commands, and beside what the cost needs."""

    sites: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()


class Goal(_Section):
    """A point in the world, m: the same in every episode (``at``), or drawn in a box (``low``, ``high``).

    The marker shows it: a mocap body, or a site of the world.
    """

    at: Point | None = None
    low: Point | None = None
    high: Point | None = None
    marker: str | None = None

    @model_validator(mode="after")
    def _point_or_box(self) -> Self:
        box = self.low is not None and self.high is not None
        half = (self.low is None) != (self.high is None)
        if half or box == (self.at is not None):
            raise ValueError("give either a point (at) or a box (low and high)")
        for axis, low, high in zip("xyz", self.low or (), self.high or (), strict=False):
            if low > high:
                raise ValueError(f"low exceeds high along {axis}: {low} > {high}; swap them")
        if box and self.marker is None:
            raise ValueError(
                "a goal that changes needs a marker: name a mocap body or a site of the world that shows it"
            )
        return self

    def draw(self, rng: np.random.Generator) -> Array:
        """(3,) the goal of an episode."""
        if self.low is None or self.high is None:
            return np.array(self.at)
        return rng.uniform(self.low, self.high)


class Success(_Section):
    """An episode succeeds if it ends with the size ‖r‖ of a term's residual below a limit, in r's unit."""

    term: str
    below: float = Field(gt=0)


class Reset(_Section):
    """Where episodes start.

    Attributes:
        keyframe: of the MJCF; None starts from its reference pose.
        noise: every hinge and slide starts up to this far from there, rad or m, within its limits.
    """

    keyframe: str | None = None
    noise: float = Field(default=0.0, ge=0)


_ACTIONS, _STATE, _RESET = Actions(), State(), Reset()
_NO_COST: Mapping[str, Term] = MappingProxyType({})


class MjcfTask(Task):
    """Your own robot: an MJCF and residual cost terms, in a YAML file (see docs/your-robot.md).

    The reward on arriving at a state is what the terms charge for it, negated; terms of control are left out.

    Args:
        mjcf: the robot's file.
        control_rate: commands per second, Hz.
        episode_steps: control periods in an episode.
        actuators: those that are commanded; None commands all.
        velocity_limit: of every commanded joint, rad/s or m/s.
        actions: what the planner's actions mean.
        state: what the state holds beside joints and commands.
        goal: where to go; None if the terms need no goal.
        cost: terms by name.
        success: when an episode succeeds; None if that is not defined.
        reset: where episodes start.

    Raises:
        ValueError: if the file is missing or does not compile, a name does not exist, or settings contradict
            each other.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 20,
        "planner": {"horizon": 10},
        "learning": {"base_policy": "coloured", "random_episodes": 3, "show_episodes": 4},
    }

    robot: MujocoRobot

    def __init__(
        self,
        *,
        mjcf: Path | None = None,
        control_rate: float = 20.0,
        episode_steps: int = 60,
        actuators: tuple[str, ...] | None = None,
        velocity_limit: float | None = None,
        actions: Actions = _ACTIONS,
        state: State = _STATE,
        goal: Goal | None = None,
        cost: Mapping[str, Term] = _NO_COST,
        success: Success | None = None,
        reset: Reset = _RESET,
    ) -> None:
        model = _compile(mjcf)
        _require(bool(cost), "cost has no terms; say what is wanted, for example cost: {rest: {kind: velocity}}")
        _require(control_rate > 0, f"control_rate = {control_rate}: it must be above 0")
        _require(episode_steps >= 1, f"episode_steps = {episode_steps}: it must be at least 1")
        if velocity_limit is not None:
            _require(velocity_limit > 0, f"velocity_limit = {velocity_limit}: it must be above 0")
        self.episode_steps = episode_steps
        self._goal, self._terms, self._success, self._noise = goal, dict(cost), success, reset.noise
        sites = _merged(state.sites, *(term.sites() for term in cost.values()))
        sensors = _merged(state.sensors, *(term.sensors() for term in cost.values()))
        points = {f"site:{site}": f"site:{site}" for site in sites}
        if goal is not None and goal.marker is not None:
            points["goal"] = _marker(model, goal.marker)
        self.robot = MujocoRobot(
            model,
            control_rate=control_rate,
            actuators=actuators,
            velocity_limit=velocity_limit,
            points=points,
            keyframe=reset.keyframe,
            on_reset=self._draw_start,
        )
        self.action_scale = self._scale(actions)
        self._layout = MjcfState(self.robot, sites, sensors, self.action_scale)
        self.state_spec = self._layout.spec
        self._check_terms()

    def state(self, observation: Observation) -> Array:
        """Positions and velocities of all joints, then sites, sensors and commands."""
        return self._layout.read(observation)

    def goal(self, observation: Observation) -> Array:
        """Where to go, (3,) in the world, m; empty where the task has no goal."""
        if self._goal is None:
            return np.zeros(0)
        if self._goal.marker is None:
            return np.array(self._goal.at)
        return observation.values["goal"]

    def cost(self, goal: Tensor) -> StepwiseCost:
        """The weighted terms, by name."""
        steps = {name: term.step_cost(self._layout, goal) for name, term in self._terms.items()}
        return StepwiseCost(steps, weights={name: term.weight for name, term in self._terms.items()})

    def reward(self, observation: Observation) -> float:
        """What the terms charge for the state, negated; actions are not charged here."""
        state, goal = self._tensors(observation)
        at_rest = torch.zeros(1, 1, self.state_spec.action_size, dtype=torch.float64)
        charged: Tensor = self.cost(goal)(Rollout(state.expand(1, 1, 2, -1)), at_rest)
        return -float(charged)

    def success(self, observations: Sequence[Observation]) -> bool | None:
        """Whether the episode ended with the term's residual below the limit."""
        if self._success is None:
            return None
        return self._size(self._success.term, observations[-1]) < self._success.below

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """The size of every term's residual at the start and at the end, in its own unit."""
        when = {"start": observations[0], "final": observations[-1]}
        return {
            f"{moment}_{name}": self._size(name, observation)
            for name in self._observed_terms()
            for moment, observation in when.items()
        }

    def _scale(self, actions: Actions) -> ActionScale:
        spec = self.robot.spec
        moves_positions = spec.command_mode == "position"
        mode = actions.mode or ("delta" if moves_positions else "absolute")
        if mode == "absolute":
            return ActionScale.absolute(spec)
        _require(
            moves_positions,
            f"actions.mode = 'delta' moves position commands, and this robot takes {spec.command_mode} "
            f"commands; use absolute, or position actuators",
        )
        return ActionScale.delta(spec, actions.speed, self.period)

    def _draw_start(self, model: Any, data: Any, rng: np.random.Generator) -> None:
        for joint in range(model.njnt):
            if model.jnt_type[joint] in _HINGE_OR_SLIDE:
                low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-np.inf, np.inf)
                where = model.jnt_qposadr[joint]
                moved = data.qpos[where] + rng.uniform(-self._noise, self._noise)
                data.qpos[where] = np.clip(moved, low, high)
        if self._goal is not None and self._goal.marker is not None:
            self.robot.set_target(self._goal.marker, self._goal.draw(rng))

    def _check_terms(self) -> None:
        goal = torch.zeros(3 if self._goal else 0)
        for name, term in self._terms.items():
            try:
                term.residual(self._layout, goal)
            except ValueError as error:
                raise ValueError(f"cost.{name}: {error}") from None
        self.cost(goal)
        observed = self._observed_terms()
        if self._success is not None and self._success.term not in observed:
            raise ValueError(f"success.term: {unknown('term of the state', self._success.term, observed)}")

    def _observed_terms(self) -> list[str]:
        return [name for name, term in self._terms.items() if not isinstance(term, Control)]

    def _size(self, name: str, observation: Observation) -> float:
        state, goal = self._tensors(observation)
        residual = self._terms[name].residual(self._layout, goal)
        return float(residual(state, torch.zeros(self.state_spec.action_size)).norm())

    def _tensors(self, observation: Observation) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.state(observation)), torch.from_numpy(self.goal(observation))


def _compile(mjcf: Path | None) -> Any:
    if mjcf is None:
        raise ValueError("mjcf is missing; name the robot's MJCF file, for example mjcf: my_robot.xml")
    if not mjcf.is_file():
        raise ValueError(
            f"mjcf: there is no file {mjcf.absolute()}. A run keeps the path of its MJCF, not a copy: put "
            f"the file back, or correct the path."
        )
    try:
        return mujoco.MjModel.from_xml_path(str(mjcf))
    except ValueError as error:
        raise ValueError(f"mjcf: {mjcf} does not compile: {' '.join(str(error).split())}. Correct it.") from None


def _marker(model: Any, name: str) -> str:
    """The point that a marker is, as MujocoRobot observes it."""
    bodies = [model.body(i).name for i in range(model.nbody) if model.body_mocapid[i] >= 0]
    sites = [model.site(i).name for i in range(model.nsite) if model.site_bodyid[i] == 0]
    if name in bodies:
        return f"body:{name}"
    if name in sites:
        return f"site:{name}"
    raise ValueError(f"goal.marker: {unknown('mocap body or site of the world', name, [*bodies, *sites])}")


def _merged(*names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in names for name in part))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
