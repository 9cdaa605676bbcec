"""A visual goal as a cost: the distance to it along the way, the doubt about that, and a little effort."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.dynamics import Rollout
from models.image.image_dynamics import ImageDynamics


def goal_cost(
    model: ImageDynamics[Any], goal: Tensor, *, doubt: float = 0.5, effort: float = 0.01, last_step_only: bool = False
) -> "GoalCost":
    """What imagined latents cost on the way to a goal.

    Args:
        model: measures the distance.
        goal: (nx,) the state of the goal.
        doubt: weight of the members' standard deviation of the distance, summed over time: plans that leave the
            data are those which the members disagree about.
        effort: weight of squared actions.
        last_step_only: charge only the distance at the end; planning is then blind on the way.
    """

    def away(rollout: Rollout) -> Tensor:
        distances = model.distance(rollout.states[..., 1:, :], goal)
        return distances[..., -1:] if last_step_only else distances

    return GoalCost(away, doubt, effort)


class GoalCost:
    """The distance to a goal, doubt about it and effort, by name."""

    def __init__(self, away: Callable[[Rollout], Tensor], doubt: float, effort: float) -> None:
        self._away, self._doubt, self._effort = away, doubt, effort

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), see ``Cost``."""
        return torch.stack(list(self.terms(rollout, actions).values())).sum(dim=0)

    def terms(self, rollout: Rollout, actions: Tensor) -> dict[str, Tensor]:
        """(P, N) by name, weighted; they sum to the cost."""
        distances = self._away(rollout)
        spread = distances.std(dim=0, correction=0).sum(dim=-1) if len(distances) > 1 else distances.new_zeros(())
        effort = actions.square().sum(dim=(1, 2))
        shape = rollout.states.shape[:2]
        return {
            "distance": distances.sum(dim=-1),
            "doubt": self._doubt * spread.expand(shape),
            "control": self._effort * effort.expand(shape),
        }
