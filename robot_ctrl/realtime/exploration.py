"""Bounds on what an arm tries while its model is unsure."""

from dataclasses import dataclass, replace

import numpy as np

from planners.plan import Plan


@dataclass(frozen=True)
class Caution:
    """Slow where the model is unsure, as fast as the task allows where it is not.

    Actions of a task with delta targets are speeds, so bounding them bounds the size of every step. The doubt is
    the state's novelty (``ProbabilisticEnsemble.novelty``): about 1 for states like those learned from.

    Attributes:
        trusted: up to this doubt nothing is bounded.
        lost: from this doubt on actions are bounded by ``slowest``.
        slowest: the bound where the model knows nothing, as a part of the task's own speed.

    Raises:
        ValueError: if a number is out of its range.
    """

    trusted: float = 3.0
    lost: float = 10.0
    slowest: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.slowest <= 1:
            raise ValueError(f"caution: slowest is {self.slowest}; it must be above 0 and at most 1.")
        if not 0 < self.trusted < self.lost:
            raise ValueError(
                f"caution: trusted is {self.trusted} and lost is {self.lost}; both must be above 0, in this order."
            )

    def bound(self, doubt: float) -> float:
        """The largest action for a doubt, in [slowest, 1]."""
        if np.isnan(doubt):
            return self.slowest
        unsure = float(np.clip((doubt - self.trusted) / (self.lost - self.trusted), 0.0, 1.0))
        return 1.0 - unsure * (1.0 - self.slowest)

    def bounded(self, plan: Plan, doubt: float) -> Plan:
        """The plan with its actions within the bound; of one action too large, all joints are slowed alike."""
        bound = self.bound(doubt)
        largest = np.abs(plan.actions).max(axis=1, keepdims=True)
        if largest.max() <= bound:
            return plan
        return replace(plan, actions=plan.actions * np.minimum(1.0, bound / np.maximum(largest, 1e-6)))
