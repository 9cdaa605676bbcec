"""What tasks with a goal picture share: the cost is the distance that the image model learned."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hardware.robot import Observation
from models.image.familiarity import Familiarity
from planners.cost import Cost
from robot_ctrl.goals.goal_cost import goal_cost
from robot_ctrl.goals.image_task import ImageTask
from robot_ctrl.task import Array

Picture = NDArray[np.uint8]


class GoalImageTask(ImageTask):
    """Base of tasks whose goal is a picture. Subclasses draw goals, and pose their robot's twin for pictures.

    Attributes:
        picture: the goal; None takes the one that belongs to the episode.
    """

    picture: Picture | None = None
    _doubt: float = 0.5
    _last_step_only: bool = False
    _proposals: bool = True
    _encoded: tuple[Tensor, Tensor] | None = None

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

    def goal(self, observation: Observation) -> Array:
        """The goal picture (h, w, 3)."""
        picture = self.goal_picture(observation) if self.picture is None else self.picture
        return picture.astype(np.float64)

    @abstractmethod
    def goal_picture(self, observation: Observation) -> Picture:
        """The picture (h, w, 3) uint8 of the goal that belongs to the episode."""

    def cost(self, goal: Tensor) -> Cost:
        """The distance to the goal picture along the way, what members disagree about, a little effort."""
        self._encoded = None
        return goal_cost(
            self._image_model, self._goal_state(goal), doubt=self._doubt, last_step_only=self._last_step_only
        )

    def propose(self, state: Tensor, goal: Tensor, steps: int) -> Tensor | None:
        """What the model's policy would do from a state (nx,)."""
        return self._image_model.propose(state, self._goal_state(goal), steps) if self._proposals else None

    def _goal_state(self, goal: Tensor) -> Tensor:
        """The state of a goal, encoded once for as long as it stays the same."""
        if self._encoded is None or self._encoded[0] is not goal:
            self._encoded = goal, self.encoded(goal.cpu().numpy().astype(np.uint8))
        return self._encoded[1]
