"""The seam of planners that need derivatives, and so see the model: LQR, iLQR."""

from typing import Protocol

from torch import Tensor

from models.dynamics import Dynamics
from planners.cost import Cost
from planners.plan import Plan


class TrajectoryOptimizer(Protocol):
    """Finds a cheap trajectory through a differentiable model, and gains that hold the robot on it."""

    def plan(
        self,
        dynamics: Dynamics,
        cost: Cost,
        state: Tensor,
        warm_start: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Minimise the cost of the trajectory from a state.

        Args:
            dynamics: differentiable in states and actions.
            cost: twice differentiable; a sum over time of terms of one state and one action each.
            state: (nx,) where the trajectory starts.
            warm_start: an earlier plan, already shifted to start now.
            deadline: when the plan must be had, seconds on the planner's clock; None plans to the end.

        Returns:
            a plan with ``states`` and ``gains``: the action for a measured state x at step t is
            ``actions[t] + gains[t] @ (x - states[t])``, clipped to [-1, 1].
        """
        ...
