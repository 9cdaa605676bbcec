"""What happens when plans are late.

    1. A plan is late: the one before it is followed, exactly as it was optimised.
    2. Past the end of that plan: hold the last command.
    3. No new plan for ``stop_after`` seconds: a decelerating stop, and a fault that stays latched until an explicit
       reset.

Two tiers, as in ros2_control's and libfranka's watchdogs: one or two missed plans are ordinary, a planner that
is gone is a fault.
"""

from dataclasses import dataclass
from enum import Enum

from planners.plan import Plan


class Standing(Enum):
    """What the control tick does about the plan that it has."""

    FOLLOW = "follow"
    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True)
class LatePlanRules:
    """When a plan counts as late.

    Attributes:
        stop_after: seconds without a new plan until the arm stops and the fault is latched.

    Raises:
        ValueError: if it is not positive.
    """

    stop_after: float = 1.0

    def __post_init__(self) -> None:
        if not self.stop_after > 0:
            raise ValueError(f"late plans: stop_after is {self.stop_after} s; it must be above 0.")

    def judge(self, now: float, plan: Plan | None, waiting_since: float) -> Standing:
        """What to do now.

        Args:
            now: seconds on the loop's clock.
            plan: the newest plan; None before the first.
            waiting_since: since when plans are wanted: no age counts from before.
        """
        made = waiting_since if plan is None else max(plan.computed_at, waiting_since)
        if now - made >= self.stop_after:
            return Standing.STOP
        if plan is None or now >= plan.end_time:
            return Standing.HOLD
        return Standing.FOLLOW
