"""What a task is: a robot, what of it is the state, what is wanted, and for how long."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation, SimulatedRobot
from robot_ctrl.action_scale import ActionScale

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from models.learned import LearnedModel
    from models.state import StateSpec
    from models.transitions import Transitions
    from planners.cost import Cost
    from robot_ctrl.dataset import Experience
    from robot_ctrl.episodes import Episode

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
        models: names of the models that can learn the task; the first is the default.
        variants: names of the tasks that stand in for this one where another model is chosen, by that model's name.
        remembers: whether a state depends on earlier observations: ``state`` must then see every one, in order.
        robot: the simulated robot.
        state_spec: the layout of the state.
        action_scale: from the planner's [-1, 1] to the robot's commands.
        episode_steps: control periods in an episode.
        env_steps_per_action: environment steps in one control period (the action repeat).
    """

    defaults: ClassVar[dict[str, Any]] = {}
    learns_reward: ClassVar[bool] = False
    learns_termination: ClassVar[bool] = False
    models: ClassVar[tuple[str, ...]] = ("ensemble",)
    variants: ClassVar[dict[str, str]] = {}
    remembers: ClassVar[bool] = False

    robot: SimulatedRobot
    state_spec: "StateSpec"
    action_scale: ActionScale
    episode_steps: int
    env_steps_per_action: int = 1

    @property
    def period(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.robot.spec.control_rate

    @property
    def model_spec(self) -> Any:
        """What a model is told about the task when it is made."""
        return self.state_spec

    def see_with(self, model: "LearnedModel[Any]") -> None:
        """Take note of the model, once it is made: some tasks let it make the states."""
        self._model = model

    def experience(self, episode: "Episode", number: int, device: "torch.device") -> "Experience":
        """What a model learns from an episode; number is the episode's place in the data set."""
        from robot_ctrl.dataset import transitions_of

        return transitions_of(self, episode, number, device)

    def transitions(self, experience: Any) -> "Transitions":
        """The transitions between states in experience: experience itself, unless a model makes the states."""
        return cast("Transitions", experience)

    def forget(self) -> None:  # noqa: B027
        """A new episode begins: states no longer depend on what was observed before."""

    @abstractmethod
    def state(self, observation: Observation) -> Array:
        """The state (nx,) that an observation shows."""

    @abstractmethod
    def cost(self, goal: "Tensor") -> "Cost":
        """What imagined trajectories cost; goal is what ``goal`` returned at the start of the episode."""

    def propose(self, state: "Tensor", goal: "Tensor", steps: int) -> "Tensor | None":
        """Actions (H, nu) that planning should try first from a state (nx,); None where the task knows none."""
        return None

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
