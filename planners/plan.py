"""An immutable, time-stamped plan, and how it is followed."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["hold", "linear", "cubic"]
Finished = Literal["converged", "iterations", "deadline", "fallback"]


@dataclass(frozen=True)
class Plan:
    """Actions over a horizon and where they came from.

    Attributes:
        start_time: when the first action applies, seconds on the loop's clock.
        dt: seconds between actions.
        actions: (H, nu), scaled to [-1, 1]; the k-th applies at ``start_time + k * dt``.
        hold_action: (nu,) the action that keeps the robot where it is: what follows the end of the plan.
        interpolation: how actions between knots were optimised, and so how they are played back.
        states: (H + 1, nx) the predicted states, where the planner knows them.
        gains: (H, nu, nx) feedback gains, where the planner has them.
        cost: the plan's own cost; infinite for a fallback.
        iterations: refinements done.
        evaluated: candidate sequences costed.
        finished: why planning ended.
        computed_from: sequence number of the observation planned from.
        computed_at: when planning ended, seconds on the loop's clock.
        proposal: what its planner wants to keep for the next plan (a mean, a spread, elites).
        elite_costs: (iterations,) the mean cost of the elites after each refinement, for diagnostics.
    """

    start_time: float
    dt: float
    actions: NDArray[np.float32]
    hold_action: NDArray[np.float32]
    interpolation: Interpolation = "hold"
    states: NDArray[np.float32] | None = None
    gains: NDArray[np.float32] | None = None
    cost: float = float("inf")
    iterations: int = 0
    evaluated: int = 0
    finished: Finished = "fallback"
    computed_from: int = -1
    computed_at: float = float("nan")
    proposal: Any = None
    elite_costs: tuple[float, ...] = ()
