"""A task in which a tracked pixel is to be moved to a goal pixel."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from hardware.robot import Observation
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.task import Array, Task

if TYPE_CHECKING:
    from models.learned import LearnedModel
    from robot_ctrl.dataset import Experience
    from robot_ctrl.episodes import Episode


class PixelTask(Task):
    """Base of tasks whose state holds where on the table a tracked pixel is.

    Attributes:
        places: the columns of a state that hold it: distance from the arm's axis, m, and bearing, rad.
    """

    places: ClassVar[slice]

    robot: PixelPushingArm

    @property
    def model(self) -> "LearnedModel[Any]":
        """What is planned with."""
        return self._model

    def place(self, pixel: Array) -> Array:
        """Where on the table a pixel (..., 2) shows something of the puck's height: x and y (..., 2), m."""
        return self.robot.camera.on_plane(pixel, PIXEL_HEIGHT)

    def goal(self, observation: Observation) -> Array:
        """Where the goal pixel is, in the plane."""
        return self.place(observation.values["goal_pixel"])

    def experience(self, episode: "Episode", number: int, device: torch.device) -> "Experience":
        """The transitions between observations in which the pixel was seen."""
        from robot_ctrl.dataset import transitions_of

        transitions = transitions_of(self, episode, number, device)
        seen = np.array([observation.values["pixel_confidence"] > 0 for observation in episode.observations])
        steps = len(transitions)
        return transitions[torch.as_tensor(np.flatnonzero(seen[:steps] & seen[1 : steps + 1]))]
