"""The seam that every sampling planner implements, and the shape of what it plans."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from planners.plan import Plan

Objective = Callable[[Tensor], Tensor]
"""What action sequences cost: actions (N, H, nu) in [-1, 1] → costs (N,)."""


@dataclass(frozen=True)
class Horizon:
    """The shape of the plans that a planner makes.

    Attributes:
        steps: actions in a plan, H.
        action_size: action variables, nu.
        dt: seconds between actions.
        hold_action: (nu,) what plans are padded with when they are shifted: the action that keeps the robot
            where it is. Where that changes with the robot's position, the warm start's own comes first.

    Raises:
        ValueError: if a size is not positive, or ``hold_action`` is no action within [-1, 1].
    """

    steps: int
    action_size: int
    dt: float
    hold_action: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("steps", "action_size", "dt"):
            if not getattr(self, name) > 0:
                raise ValueError(f"horizon: {name} is {getattr(self, name)}; it must be positive.")
        held = np.asarray(self.hold_action)
        if held.shape != (self.action_size,) or not (np.abs(held) <= 1).all():
            raise ValueError(
                f"horizon: hold_action is {held}; it must be {self.action_size} numbers within [-1, 1], the "
                f"scaled action that keeps the robot where it is."
            )


class Planner(Protocol):
    """Finds a cheap action sequence; sees costs, never a model, a robot or a task."""

    def plan(self, objective: Objective, warm_start: Plan | None = None, deadline: float | None = None) -> Plan:
        """Minimise the objective over action sequences.

        Args:
            objective: costs of candidate sequences; NaN and infinite costs are the worst.
            warm_start: an earlier plan, already shifted to start now.
            deadline: when the plan must be had, seconds on the planner's clock; None plans to the end.
        """
        ...
