"""The plans in force: what is followed at any moment, the same for control and for prediction."""

from itertools import pairwise

import numpy as np

from planners.plan import Array, Plan

_GAUSS = (0.5 - np.sqrt(3) / 6, 0.5 + np.sqrt(3) / 6)
"""Nodes of two-point Gauss-Legendre quadrature on [0, 1]: exact for cubics, and never on a knot."""

_KEPT = 4


class PlanSchedule:
    """The last few plans by when they start; a plan applies from its start on, until the next one's start.

    A plan that starts no later than one before it replaces that one.
    """

    def __init__(self) -> None:
        self._plans: list[Plan] = []

    @property
    def newest(self) -> Plan | None:
        """The plan that was added last."""
        return self._plans[-1] if self._plans else None

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()

    def add(self, plan: Plan) -> None:
        """Put a new plan into force from its start on."""
        earlier = [kept for kept in self._plans if kept.start_time < plan.start_time]
        self._plans = [*earlier[-_KEPT:], plan]

    def current(self, time: float) -> Plan | None:
        """The plan that applies at a moment, seconds on the loop's clock; None before the first one starts."""
        return next((plan for plan in reversed(self._plans) if plan.start_time <= time), None)

    def at(self, time: float) -> Array | None:
        """The action (nu,) for a moment, in [-1, 1]; None where no plan applies yet."""
        plan = self.current(time)
        return None if plan is None else plan.at(time)

    def mean(self, start: float, end: float) -> Array | None:
        """The mean action (nu,) from ``start`` to ``end``, exact for every interpolation.

        Before the first plan's start the robot holds. This is what a delta action integrates to, and what a
        model that thinks in longer periods is told about a part of one.

        Returns:
            None where no plan has been added.
        """
        if not self._plans:
            return None
        breaks = [start, *(time for time in self._breaks() if start < time < end), end]
        total = np.zeros_like(self._plans[-1].hold_action)
        for begin, finish in pairwise(breaks):
            length = finish - begin
            for node in _GAUSS:
                plan = self.current(begin + node * length)
                action = self._plans[0].hold_action if plan is None else plan.at(begin + node * length)
                total = total + action * (0.5 * length / (end - start))
        return total

    def _breaks(self) -> list[float]:
        """Every moment at which the action may jump or bend."""
        return sorted(
            {plan.start_time + step * plan.dt for plan in self._plans for step in range(len(plan.actions) + 1)}
        )
