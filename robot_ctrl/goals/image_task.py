"""What tasks seen through a camera share: an image model makes their states."""

from typing import Any, ClassVar, cast

import numpy as np
import torch

from hardware.robot import Observation
from models.image.frame_file import on_disk
from models.image.frames import FrameSequences, ImageSpec
from models.image.image_dynamics import ImageDynamics
from models.learned import LearnedModel
from models.state import StateSpec
from models.transitions import Transitions
from robot_ctrl.episodes import Episode
from robot_ctrl.goals.perception import Perception, everything
from robot_ctrl.task import Array, Task


class ImageTask(Task):
    """Base of tasks whose states are made from pictures.

    Subclasses set ``image_spec`` beside the attributes of ``Task``. The image model is handed over by
    ``see_with`` once it is there; before that there are no states.

    Attributes:
        image_spec: what the image model sees.
    """

    models: ClassVar[tuple[str, ...]] = ("joint-embedding", "latent-state-space", "e2c")
    remembers: ClassVar[bool] = True

    image_spec: ImageSpec

    def see_with(self, model: LearnedModel[Any]) -> None:
        """Take states from an image model; ``models`` admits no others."""
        self._image_model = cast("ImageDynamics[Any]", model)
        self._perception = Perception(self._image_model, self.action_scale, self.period)
        names = tuple(f"latent_{index}" for index in range(model.state_size))
        self.state_spec = StateSpec(names, action_size=model.action_size)

    def forget(self) -> None:
        """The next observation is the first of its episode."""
        self._perception.forget()

    @property
    def model_spec(self) -> ImageSpec:
        """What the image model is told about the task."""
        return self.image_spec

    @property
    def image_model(self) -> ImageDynamics[Any]:
        """What makes the states."""
        return self._image_model

    def experience(self, episode: Episode, number: int, device: torch.device) -> FrameSequences:
        """The frames of an episode, on disk, and the actions between them."""
        steps = max(0, min(len(episode.actions), len(episode.observations) - 1))
        observations = episode.observations[: steps + 1]
        seen = [self.image_spec.see(everything(observation)) for observation in observations]
        actions = [action.scaled for action in episode.actions[:steps]]
        actions.append(np.zeros(self.image_spec.action_size))
        rewards = [0.0, *(self.reward(observation) for observation in observations[1:])]
        return FrameSequences(
            frames=on_disk([torch.stack([frame for frame, _ in seen])]),
            proprioception=torch.stack([values for _, values in seen]),
            actions=torch.as_tensor(np.stack(actions), dtype=torch.float32),
            rewards=torch.tensor(rewards, dtype=torch.float32) if self.learns_reward else None,
            episodes=torch.full((steps + 1,), number, dtype=torch.int64),
        )

    def transitions(self, experience: FrameSequences) -> Transitions:
        """The transitions between the states that the model makes of recorded frames by now."""
        return experience.transitions(self._image_model.encode(experience))

    def state(self, observation: Observation) -> Array:
        """The latent state (nx,)."""
        return self._perception.state(observation)
