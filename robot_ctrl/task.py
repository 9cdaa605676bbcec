"""What a task is: a robot, what of it is the state, what is wanted, and for how long."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation, SimulatedRobot
from robot_ctrl.action_scale import ActionScale

if TYPE_CHECKING:
    from torch import Tensor

    from models.state import StateSpec
    from planners.cost import Cost

Array = NDArray[np.float64]


class Task(ABC):
    """Base class of every task; a user's own is a subclass in a file, named as ``path/to/file.py:MyTask``.

    Subclasses take their settings as keyword-only arguments with defaults, set the attributes below in
    ``__init__`` and implement the methods that have no default. The first line of the class's docstring is
    what ``robot-ctrl list`` shows.

    Attributes:
        defaults: configuration that suits the task, laid under the user's YAML and overrides.
        learns_reward: whether the reward is learned with the dynamics, because no cost is known.
        learns_termination: whether the ends of episodes are learned with the dynamics.
        robot: the simulated robot.
        state_spec: the layout of the state.
        action_scale: from the planner's [-1, 1] to the robot's commands.
        episode_steps: control periods in an episode.
        env_steps_per_action: environment steps in one control period (the action repeat).
    """

    defaults: ClassVar[dict[str, Any]] = {}
    learns_reward: ClassVar[bool] = False
    learns_termination: ClassVar[bool] = False

    robot: SimulatedRobot
    state_spec: "StateSpec"
    action_scale: ActionScale
    episode_steps: int
    env_steps_per_action: int = 1

    @property
    def period(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.robot.spec.control_rate

    @abstractmethod
    def state(self, observation: Observation) -> Array:
        """The state (nx,) that an observation shows."""

    @abstractmethod
    def cost(self, goal: "Tensor") -> "Cost":
        """What imagined trajectories cost; goal is what ``goal`` returned at the start of the episode."""

    def goal(self, observation: Observation) -> Array:
        """What this episode is about, for example a target position; empty where every episode is alike."""
        return np.zeros(0)

    def reward(self, observation: Observation) -> float:
        """The reward on arriving at an observation: what returns are summed from."""
        return float(observation.values["reward"])

    def terminated(self, observation: Observation) -> bool:
        """Whether the episode ended for a reason of its own."""
        return bool(observation.values.get("terminated", False))

    def success(self, observations: Sequence[Observation]) -> bool | None:
        """Whether an episode reached its goal; None where the task defines no success."""
        return None

    def previous_command(self, observation: Observation) -> Array:
        """The command in force (nu,): zeros before the first and for robots that do not report it."""
        return np.asarray(observation.values.get("command", np.zeros(self.robot.spec.action_size)))

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """Numbers of an episode that evaluations report beside return and success, for example a final distance."""
        return {}
