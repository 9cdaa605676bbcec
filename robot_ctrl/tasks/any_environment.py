"""Any dm_control or Gymnasium environment as a task, with a reward that is learned with the dynamics."""

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hardware.robot import Observation
from hardware.simulated import Simulation
from models.state import StateSpec
from planners.cost import Cost, RewardCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import ConfigError
from robot_ctrl.task import Array, Task

_RESERVED = ("reward", "terminated", "truncated", "command", "qpos", "qvel", "time")

_STARTS = 3
"""Starts, one command after each of which a state and the joints are compared."""

DEATH_COST = 100.0
"""Per step; rewards of dm_control are within [0, 1], of Gymnasium's MuJoCo environments within about ±20."""


class _AnyEnvironment(Task):
    """The state is the environment's flattened observation; reward and ends are learned.

    Entries that are angles of hinges without limits are known to the model as such, or a joint that has turned once
    would be in a place where it has never been.

    How far ahead one has to see is not known here, so plans are short and a learned value says what follows them.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 50_000,
        "episodes": 200,
        "model": {"refit_steps": 200},
        "planner": {"horizon": 10},
        "value": {},
        "learning": {"refit_every": 100, "base_policy": "coloured", "base_policy_colour": 1.0, "random_episodes": 3},
    }
    learns_reward = True
    learns_termination = True

    def _adopt(self, robot: Simulation, action_repeat: int, env_steps: int) -> None:
        self.robot = robot
        self.env_steps_per_action = action_repeat
        self.episode_steps = env_steps // action_repeat
        self.action_scale = ActionScale.absolute(robot.spec)
        robot.connect()
        first = robot.reset(0)
        self._keys = [key for key in first.values if key not in _RESERVED]
        names = [
            key if first.values[key].size == 1 else f"{key}[{index}]"
            for key in self._keys
            for index in range(first.values[key].size)
        ]
        angles = self._angles(robot)
        self.state_spec = StateSpec(tuple(names), action_size=robot.spec.action_size, angles=angles)

    def _angles(self, robot: Simulation) -> tuple[int, ...]:
        """Which entries of the state always equal the angle of a hinge that turns without end."""
        if not robot.turning:
            return ()
        always: NDArray[np.bool_] = np.array(True)
        for seed in range(_STARTS):
            robot.reset(seed)
            robot.send_action(self.action_scale.high)
            seen = robot.get_observation()
            turned = seen.values["qpos"][list(robot.turning)]
            always = always & np.isclose(self.state(seen)[:, None], turned, rtol=0, atol=1e-6)
        return tuple(np.flatnonzero(always.any(1)).tolist())

    def state(self, observation: Observation) -> Array:
        """The environment's observation, flattened."""
        return np.concatenate([np.ravel(observation.values[key]) for key in self._keys])

    def cost(self, goal: Tensor) -> Cost:
        """The negative learned reward, and for every step after a predicted end more than rewards make good."""
        return RewardCost(DEATH_COST)


def task_class(name: str) -> type[Task]:
    """The task class of ``dmc:domain-task`` or ``gym:Id``.

    Raises:
        ConfigError: if a dm_control name is not of the form domain-task.
    """
    kind, _, environment = name.partition(":")
    if kind == "gym":
        return _gymnasium(environment)
    domain, separator, task = environment.partition("-")
    if not separator:
        raise ConfigError(
            f"task {name!r}: name a dm_control task as dmc:domain-task, for example dmc:cartpole-swingup."
        )
    return _dm_control(domain, task)


def _dm_control(domain: str, task: str) -> type[Task]:
    class DmControlTask(_AnyEnvironment):
        def __init__(self, *, action_repeat: int = 2, env_steps_per_episode: int = 1000) -> None:
            from hardware.dm_control_robot import DmControlRobot

            self._adopt(
                DmControlRobot(domain, task, action_repeat=action_repeat),
                action_repeat,
                env_steps_per_episode,
            )

    DmControlTask.__doc__ = f"dm_control {domain}-{task}, reward learned."
    return DmControlTask


def _gymnasium(environment: str) -> type[Task]:
    class GymnasiumTask(_AnyEnvironment):
        def __init__(self, *, action_repeat: int = 1, env_steps_per_episode: int = 0) -> None:
            from hardware.gymnasium_robot import GymnasiumRobot

            robot = GymnasiumRobot(environment, action_repeat=action_repeat)
            full = int(robot.episode_steps) * action_repeat if math.isfinite(robot.episode_steps) else 1000
            self._adopt(robot, action_repeat, env_steps_per_episode or full)

    GymnasiumTask.__doc__ = f"Gymnasium {environment}, reward learned."
    return GymnasiumTask
