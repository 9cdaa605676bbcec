"""What happened on the way to a goal pixel, and what the model's members expected of every plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.robot import Array, Observation
from models.dynamics import Dynamics
from planners.plan import Plan
from robot_ctrl.goals.pixel_camera import PixelCamera
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT


@dataclass(frozen=True)
class PixelRecord:
    """An episode that planned at every control period, in pixels.

    Attributes:
        track: (T, 2) the tracked pixel.
        goal: (2,) the goal pixel.
        confidence: (T,) of the tracker, 0 while the pixel was hidden.
        planned: (T - 1,) the distance to the goal in which each plan expected to end, mean over the members.
        doubts: (T - 1,) its standard deviation over the members.
    """

    track: Array
    goal: Array
    confidence: Array
    planned: Array
    doubts: Array

    @property
    def distances(self) -> Array:
        """(T,) of the tracked pixel to the goal pixel."""
        return np.asarray(np.linalg.norm(self.track - self.goal, axis=-1))


@torch.no_grad()
def record_pixels(
    model: Dynamics,
    camera: PixelCamera,
    places: slice,
    states: Array,
    observations: Sequence[Observation],
    plans: Sequence[Plan],
) -> PixelRecord:
    """Look back on an episode.

    Args:
        model: what was planned with.
        camera: what the pixel was seen with.
        places: the columns of a state that hold the pixel's place on the table: its radius and bearing.
        states: (T, nx) of the observations.
        observations: T of them.
        plans: one for each but the last.
    """
    goal = observations[-1].values["goal_pixel"]
    actions = torch.tensor(np.stack([plan.actions for plan in plans]))
    starts = torch.as_tensor(states[: len(plans)], dtype=torch.float32)
    ends = model.rollout(starts, actions).states[:, :, -1, places].cpu().numpy().astype(np.float64)
    gaps = np.linalg.norm(_pixels(camera, ends) - goal, axis=-1)
    return PixelRecord(
        track=np.stack([observation.values["pixel"] for observation in observations]),
        goal=goal,
        confidence=np.array([float(observation.values["pixel_confidence"]) for observation in observations]),
        planned=gaps.mean(0),
        doubts=gaps.std(0),
    )


def _pixels(camera: PixelCamera, polar: NDArray[np.float64]) -> Array:
    radius, bearing = polar[..., 0], polar[..., 1]
    height = np.full_like(radius, PIXEL_HEIGHT)
    return camera.project(np.stack([radius * np.cos(bearing), radius * np.sin(bearing), height], axis=-1))
