"""A task in which a tracked pixel is to be moved to a goal pixel."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.task import Array, Task

if TYPE_CHECKING:
    import torch

    from models.learned import LearnedModel
    from planners.plan import Plan

ARRIVED = 0.03
"""An episode succeeds if the puck ends within this distance of where the goal pixel shows, m."""


class PixelTask(Task):
    """Base of tasks in which a tracked pixel is to be moved to a goal pixel."""

    robot: PixelPushingArm

    @property
    def model(self) -> "LearnedModel[Any]":
        """What is planned with."""
        return self._model

    def place(self, pixel: Array) -> Array:
        """Where on the table a pixel (..., 2) shows something of the puck's height: x and y (..., 2), m."""
        return self.robot.camera.on_plane(pixel, PIXEL_HEIGHT)

    @abstractmethod
    def expected_pixels(self, states: "torch.Tensor", actions: "torch.Tensor") -> Array:
        """Where the tracked pixel ends, (P, N, 2), if actions (N, H, nu) follow states (N, nx), for each particle."""

    def imagined(self, states: Array, plans: "Sequence[Plan]") -> list[NDArray[np.uint8]]:
        """What some of the plans, made from states (T, nx), looked like beforehand: pictures, for the page."""
        return []

    def goal(self, observation: Observation) -> Array:
        """Where the goal pixel is, in the plane."""
        return self.place(observation.values["goal_pixel"])

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the pixel was not lost and the puck ended within 3 cm of the goal."""
        return not self.terminated(observations[-1]) and _gap(observations[-1]) < ARRIVED

    def reward(self, observation: Observation) -> float:
        """The puck's negative distance to the goal, m."""
        return -_gap(observation)

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """True distances at the start and the end, m; how far off the tracker was, pixels; how often it saw nothing."""
        tops = np.stack([np.append(o.values["puck"][:2], PIXEL_HEIGHT) for o in observations])
        pixels = np.stack([observation.values["pixel"] for observation in observations])
        errors = np.linalg.norm(self.robot.camera.project(tops) - pixels, axis=-1)
        return {
            "start_distance": _gap(observations[0]),
            "final_distance": _gap(observations[-1]),
            "tracking_error": float(np.median(errors)),
            "worst_tracking_error": float(errors.max()),
            "hidden": float(np.mean([observation.values["pixel_confidence"] == 0 for observation in observations])),
            "lost": float(self.terminated(observations[-1])),
        }


def _gap(observation: Observation) -> float:
    values = observation.values
    return float(np.linalg.norm(values["puck"][:2] - values["target"][:2]))
