"""An immutable, time-stamped plan, and how it is followed."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planners.interpolation import TOLERANCE, Interpolation, resample, shift

Finished = Literal["converged", "iterations", "deadline", "fallback"]

Array = NDArray[np.float32]


@runtime_checkable
class Shiftable(Protocol):
    """A proposal that moves in time with its plan."""

    def shifted(self, steps: float, hold_action: Array) -> "Shiftable":
        """The proposal for a plan that starts ``steps`` steps later, padded with ``hold_action`` (nu,)."""
        ...


@dataclass(frozen=True, eq=False)
class Plan:
    """Actions over a horizon and where they came from. Arrays are read-only float32.

    Attributes:
        start_time: when the first action applies, seconds on the loop's clock.
        dt: seconds between actions.
        actions: (H, nu), scaled to [-1, 1]; the k-th applies at ``start_time + k * dt``.
        hold_action: (nu,) the action that keeps the robot where it is: what follows the end of the plan.
        interpolation: how actions between knots were optimised, and so how they are played back.
        states: (H + 1, nx) the predicted states, where the planner knows them.
        gains: (H, nu, nx) feedback gains, where the planner has them.
        cost: the plan's own cost; of a mean that was never costed, the mean cost of what it averages;
            infinite for a fallback.
        iterations: refinements done.
        evaluated: candidate sequences costed.
        finished: why planning ended.
        computed_from: sequence number of the observation planned from.
        computed_at: when planning ended, seconds on the loop's clock.
        proposal: what its planner wants to keep for the next plan (a mean, elites).
        elite_costs: (iterations,) the mean cost of the elites after each refinement, for diagnostics.

    Raises:
        ValueError: if shapes do not agree, dt is not positive, or an action is not finite.
    """

    start_time: float
    dt: float
    actions: Array
    hold_action: Array
    interpolation: Interpolation = "hold"
    states: Array | None = None
    gains: Array | None = None
    cost: float = float("inf")
    iterations: int = 0
    evaluated: int = 0
    finished: Finished = "fallback"
    computed_from: int = -1
    computed_at: float = float("nan")
    proposal: Any = None
    elite_costs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("actions", "hold_action", "states", "gains"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, read_only(value))
        if self.actions.ndim != 2 or 0 in self.actions.shape:
            raise ValueError(f"plan: actions have shape {self.actions.shape}; they must be (H, nu), both ≥ 1.")
        steps, size = self.actions.shape
        if self.hold_action.shape != (size,):
            raise ValueError(f"plan: hold_action has shape {self.hold_action.shape}; it must be one action, ({size},).")
        if self.states is not None and (self.states.ndim != 2 or len(self.states) != steps + 1):
            raise ValueError(
                f"plan: states have shape {self.states.shape}; they must be (H + 1, nx), ({steps + 1}, nx): "
                f"the state planned from and one per action."
            )
        if self.gains is not None and (self.gains.ndim != 3 or self.gains.shape[:2] != (steps, size)):
            raise ValueError(
                f"plan: gains have shape {self.gains.shape}; they must be (H, nu, nx), ({steps}, {size}, nx)."
            )
        if not (np.isfinite(self.actions).all() and np.isfinite(self.hold_action).all()):
            raise ValueError("plan: an action is NaN or infinite; fall back to holding instead of planning it.")
        if not self.dt > 0:
            raise ValueError(f"plan: dt is {self.dt} s; it must be positive.")
        if self.interpolation not in ("hold", "linear", "cubic"):
            raise ValueError(f"plan: interpolation is {self.interpolation!r}; it must be 'hold', 'linear' or 'cubic'.")

    @property
    def end_time(self) -> float:
        """When the last action has lasted its dt and holding begins, seconds on the loop's clock."""
        return self.start_time + len(self.actions) * self.dt

    def at(self, time: float) -> Array:
        """The action for a moment, exactly as it was optimised.

        Between knots actions are held or interpolated, and a spline's overshoot is cut at the bounds; the
        last action lasts one dt; then the robot holds still. Before the start it is the first action.

        Args:
            time: seconds on the loop's clock.

        Returns:
            (nu,), scaled to [-1, 1].

        Raises:
            ValueError: if the time is NaN.
        """
        if np.isnan(time):
            raise ValueError("plan: the time asked for is NaN; ask with a time of the loop's clock.")
        position = (time - self.start_time) / self.dt
        if position >= len(self.actions) - TOLERANCE:
            return self.hold_action
        return _within_bounds(resample(self.actions, [position], self.interpolation)[0], self.interpolation)

    def shifted(self, elapsed: float) -> "Plan":
        """The same plan, started later: a warm start for the next one.

        Actions are what ``at`` gives at the new plan's times; states are interpolated and end in the last
        state; gains are padded with zeros; a proposal that can shift is shifted too.

        Args:
            elapsed: seconds, any fraction of dt.
        """
        steps = elapsed / self.dt
        actions = _within_bounds(shift(self.actions, steps, self.hold_action, self.interpolation), self.interpolation)
        states, gains, proposal = self.states, self.gains, self.proposal
        if states is not None:
            states = read_only(resample(states, steps + np.arange(len(states)), "linear"))
        if gains is not None:
            flat = gains.reshape(len(gains), -1)
            gains = read_only(shift(flat, steps, np.zeros(flat.shape[1]), "hold").reshape(gains.shape))
        if isinstance(proposal, Shiftable):
            proposal = proposal.shifted(steps, self.hold_action)
        return replace(
            self,
            start_time=self.start_time + elapsed,
            actions=actions,
            states=states,
            gains=gains,
            proposal=proposal,
        )


def read_only(values: ArrayLike) -> Array:
    """The values as a float32 array that nobody can write to; copied unless it already is one."""
    array = np.asarray(values, dtype=np.float32)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _within_bounds(actions: NDArray[np.floating], interpolation: Interpolation) -> Array:
    """Read-only actions; only splines leave the bounds between knots that keep them."""
    return read_only(np.clip(actions, -1.0, 1.0) if interpolation == "cubic" else actions)
