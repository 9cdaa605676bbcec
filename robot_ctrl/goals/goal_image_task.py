"""What tasks with a goal picture share: states come from an image model, the cost from the distance it learned."""

from abc import abstractmethod
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.robot import Observation
from models.image.familiarity import Familiarity
from models.image.frames import FrameSequences, ImageSpec
from models.image.image_dynamics import ImageDynamics
from models.learned import LearnedModel
from models.state import StateSpec
from planners.cost import Cost
from robot_ctrl.episodes import Episode
from robot_ctrl.goals.goal_cost import goal_cost
from robot_ctrl.goals.perception import Perception, everything
from robot_ctrl.task import Array, Task

Picture = NDArray[np.uint8]


class GoalImageTask(Task):
    """Base of tasks whose goal is a picture.

    Subclasses set ``image_spec`` beside the attributes of ``Task``, and draw goals. The image model is handed
    over by ``see_with`` once it is there; before that there are no states and no costs.

    Attributes:
        image_spec: what the image model sees.
        picture: the goal; None takes the one that belongs to the episode.
    """

    models: ClassVar[tuple[str, ...]] = ("joint-embedding",)

    image_spec: ImageSpec
    picture: Picture | None = None
    _doubt: float = 0.5
    _last_step_only: bool = False

    def see_with(self, model: LearnedModel[Any]) -> None:
        """Take states and distances from an image model; ``models`` admits no others."""
        self._image_model = cast("ImageDynamics[Any]", model)
        self._perception = Perception(self._image_model, self.action_scale, self.period)
        names = tuple(f"latent_{index}" for index in range(model.state_size))
        self.state_spec = StateSpec(names, action_size=model.action_size)

    @property
    def model_spec(self) -> ImageSpec:
        """What the image model is told about the task."""
        return self.image_spec

    def experience(self, episode: Episode, number: int, device: torch.device) -> FrameSequences:
        """The frames of an episode, in the computer's memory whatever the device, and the actions between them."""
        steps = max(0, min(len(episode.actions), len(episode.observations) - 1))
        observations = episode.observations[: steps + 1]
        seen = [self.image_spec.see(everything(observation)) for observation in observations]
        actions = [action.scaled for action in episode.actions[:steps]]
        actions.append(np.zeros(self.image_spec.action_size))
        return FrameSequences(
            frames=torch.stack([frame for frame, _ in seen]),
            proprioception=torch.stack([values for _, values in seen]),
            actions=torch.as_tensor(np.stack(actions), dtype=torch.float32),
            rewards=None,
            episodes=torch.full((steps + 1,), number, dtype=torch.int64),
        )

    def state(self, observation: Observation) -> Array:
        """The latent state (nx,)."""
        return self._perception.state(observation)

    def goal(self, observation: Observation) -> Array:
        """The goal picture (h, w, 3)."""
        picture = self.goal_picture(observation) if self.picture is None else self.picture
        return picture.astype(np.float64)

    @property
    def image_model(self) -> ImageDynamics[Any]:
        """What makes the states."""
        return self._image_model

    def encoded(self, picture: Picture) -> Tensor:
        """The state (nx,) of being at rest where a picture (h, w, 3) was taken."""
        return self._image_model.encode_goal({self.image_spec.camera: picture})

    def familiarity(self, picture: Picture) -> Familiarity:
        """Whether a picture (h, w, 3) looks like what the model was trained on."""
        return self._image_model.familiarity({self.image_spec.camera: picture})

    @abstractmethod
    def picture_of(self, joints: Array) -> Picture:
        """The picture (h, w, 3) uint8 of the robot at rest in a pose (nu,), rad.

        Raises:
            ValueError: if there is no such pose.
        """

    @abstractmethod
    def distance_to(self, observation: Observation, joints: Array) -> float:
        """How far the robot truly is from a pose (nu,), m: for reports; neither model nor planner sees it."""

    @abstractmethod
    def goal_picture(self, observation: Observation) -> Picture:
        """The picture (h, w, 3) uint8 of the goal that belongs to the episode."""

    def cost(self, goal: Tensor) -> Cost:
        """The temporal distance to the goal picture along the way, what members disagree about, a little effort."""
        state = self.encoded(goal.cpu().numpy().astype(np.uint8))
        return goal_cost(self._image_model, state, doubt=self._doubt, last_step_only=self._last_step_only)
