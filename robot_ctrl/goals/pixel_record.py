"""What happened on the way to a goal pixel, and what the model's members expected of every plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hardware.robot import Array, Observation
from planners.plan import Plan
from robot_ctrl.goals.pixel_task import PixelTask


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


def record_pixels(
    task: PixelTask, states: Array, observations: Sequence[Observation], plans: Sequence[Plan]
) -> PixelRecord:
    """Look back on an episode.

    Args:
        task: what was planned for.
        states: (T, nx) of the observations.
        observations: T of them.
        plans: one for each but the last.
    """
    goal = observations[-1].values["goal_pixel"]
    actions = torch.tensor(np.stack([plan.actions for plan in plans]))
    starts = torch.as_tensor(states[: len(plans)], dtype=torch.float32)
    gaps = np.linalg.norm(task.expected_pixels(starts, actions) - goal, axis=-1)
    return PixelRecord(
        track=np.stack([observation.values["pixel"] for observation in observations]),
        goal=goal,
        confidence=np.array([float(observation.values["pixel_confidence"]) for observation in observations]),
        planned=gaps.mean(0),
        doubts=gaps.std(0),
    )
