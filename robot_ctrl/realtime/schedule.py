"""The plans in force: what is followed at any moment, the same for control and for prediction."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from planners.plan import Array, Plan

_GAUSS = (0.5 - np.sqrt(3) / 6, 0.5 + np.sqrt(3) / 6)
"""Nodes of two-point Gauss-Legendre quadrature on [0, 1]: exact for cubics, and never on a knot."""

_KEPT = 4


@dataclass(frozen=True, eq=False)
class PlanFrom:
    """A plan, and the command that it was optimised from.

    Attributes:
        plan: the plan.
        command: (nu,) the command that the planner expects to be in force at the plan's start.
    """

    plan: Plan
    command: np.ndarray


class PlanSchedule:
    """The last few plans by when they start; a plan applies from its start on, until the next one's start.

    A plan that starts no later than one before it replaces that one.
    """

    def __init__(self) -> None:
        self._plans: list[PlanFrom] = []

    @property
    def newest(self) -> Plan | None:
        """The plan that was added last."""
        return self._plans[-1].plan if self._plans else None

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()

    def add(self, new: PlanFrom) -> None:
        """Put a new plan into force from its start on."""
        earlier = [kept for kept in self._plans if kept.plan.start_time < new.plan.start_time]
        self._plans = [*earlier[-_KEPT:], new]

    def current(self, time: float) -> PlanFrom | None:
        """The plan that applies at a moment, seconds on the loop's clock; None before the first one starts."""
        return next((kept for kept in reversed(self._plans) if kept.plan.start_time <= time), None)

    def at(self, time: float) -> Array | None:
        """The action (nu,) for a moment, in [-1, 1]; None where no plan applies yet."""
        current = self.current(time)
        return None if current is None else current.plan.at(time)

    def sum(self, start: float, end: float) -> Array:
        """The actions (nu,) from ``start`` to ``end``, added up in units of the plans' dt; zeros while none applies.

        Exact for every interpolation. This is what a delta action integrates to, and what a model that thinks in
        longer periods is told about a part of one.

        Raises:
            ValueError: if no plan was added yet.
        """
        if not self._plans:
            raise ValueError("there is no plan to add up; ask when there is one")
        moments = [start, *(kept.plan.start_time for kept in self._plans if start < kept.plan.start_time < end), end]
        parts = [
            integral(kept.plan, begin, finish)
            for begin, finish in pairwise(moments)
            if (kept := self.current(begin)) is not None
        ]
        return np.sum(parts, axis=0, dtype=np.float32) if parts else np.zeros_like(self._plans[0].plan.hold_action)


def integral(plan: Plan, start: float, end: float) -> Array:
    """A plan's actions (nu,) from ``start`` to ``end``, added up in units of its dt; exact for every interpolation."""
    knots = plan.start_time + plan.dt * np.arange(len(plan.actions) + 1)
    moments = [start, *knots[(knots > start) & (knots < end)].tolist(), end]
    total = np.zeros_like(plan.hold_action, dtype=np.float64)
    for begin, finish in pairwise(moments):
        length = finish - begin
        for node in _GAUSS:
            total += plan.at(begin + node * length) * (0.5 * length / plan.dt)
    return total.astype(np.float32)
