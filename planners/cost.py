"""What imagined futures cost: named terms per step, learned rewards, disagreement between members."""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from models.dynamics import Rollout

Cost = Callable[[Rollout, Tensor], Tensor]
"""Rollout and actions (N, H, nu) → (P, N), summed over time."""

StepCost = Callable[[Tensor, Tensor], Tensor]
"""States (P, N, H + 1, nx) and actions (N, H, nu) → (P, N, H)."""

FinalCost = Callable[[Tensor], Tensor]
"""Last states (P, N, nx) → (P, N)."""


class TerminalValue(Protocol):
    """What the future beyond a state will cost."""

    @property
    def worst(self) -> float:
        """The largest value known."""
        ...

    def __call__(self, states: Tensor, /) -> Tensor:
        """Last states (P, N, nx) → (P, N)."""
        ...


class StepwiseCost:
    """A sum over time of named, weighted step costs, plus a cost of the last state.

    A step is alive if the state that it leads to is. Every step that is not, and the final cost after an end,
    is charged ``death_cost`` instead of what its state would cost, so that no trajectory gets cheap by ending
    early, whether living costs (then ending would save it) or pays (negative costs).
    """

    def __init__(
        self,
        steps: Mapping[str, StepCost],
        *,
        weights: Mapping[str, float] | None = None,
        final: FinalCost | None = None,
        death_cost: float = 1000.0,
    ) -> None:
        """Combine step costs.

        Args:
            steps: by name.
            weights: of the steps named; 1 for the others.
            final: cost of the last state, reported as "final".
            death_cost: of each remaining step; choose it above what any living step costs.

        Raises:
            ValueError: if a weight names no step, or a step is named "final" or "death".
        """
        self.weights = dict.fromkeys(steps, 1.0) | dict(weights or {})
        if unknown := self.weights.keys() - steps.keys():
            raise ValueError(f"cost: weights for {sorted(unknown)}, which are no terms; there are {sorted(steps)}.")
        if taken := steps.keys() & {"final", "death"}:
            raise ValueError(f"cost: a step is named {sorted(taken)}, which the cost itself reports; rename it.")
        self.steps, self.final, self.death_cost = dict(steps), final, death_cost

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), see ``Cost``."""
        return torch.stack(list(self.terms(rollout, actions).values())).sum(dim=0)

    def terms(self, rollout: Rollout, actions: Tensor) -> dict[str, Tensor]:
        """(P, N) by name, weighted; they sum to the cost. "death" is there where anything can end."""
        states, alive = rollout.states, rollout.alive
        living = None if alive is None else alive[..., 1:]
        terms = {
            name: self.weights[name] * _masked(step(states, actions), living).sum(dim=-1)
            for name, step in self.steps.items()
        }
        if self.final is not None:
            terms["final"] = _masked(self.final(states[..., -1, :]), None if alive is None else alive[..., -1])
        if living is not None:
            dead = (~living).sum(dim=-1)
            if self.final is not None:
                dead = dead + ~living[..., -1]
            terms["death"] = self.death_cost * dead
        return terms


class RewardCost:
    """The learned rewards, negated: −Σ r over the living steps, and ``death_cost`` for each remaining one."""

    def __init__(self, death_cost: float) -> None:
        """Choose what being dead costs per step: more than the worst negated reward of a living step."""
        self.death_cost = death_cost

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), see ``Cost``.

        Raises:
            ValueError: if the model has learned no rewards.
        """
        return torch.stack(list(self.terms(rollout, actions).values())).sum(dim=0)

    def terms(self, rollout: Rollout, actions: Tensor) -> dict[str, Tensor]:
        """(P, N) by name: "reward", negated, and "death" where anything can end."""
        if rollout.rewards is None:
            raise ValueError("cost: the model predicts no rewards; fit one that learns them, or give the task a cost.")
        living = None if rollout.alive is None else rollout.alive[..., 1:]
        terms = {"reward": -_masked(rollout.rewards, living).sum(dim=-1)}
        if living is not None:
            terms["death"] = self.death_cost * (~living).sum(dim=-1)
        return terms


class WithTerminalValue:
    """A cost plus what is still to come after the last state, so that a plan sees beyond its horizon.

    Costs within the horizon are not discounted; the value's own discount counts from the end of the horizon. A future
    that has ended is charged the worst value known.
    """

    def __init__(self, cost: Cost, value: TerminalValue) -> None:
        """Add ``value`` of the last state to ``cost``."""
        self.cost, self.value = cost, value

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), see ``Cost``."""
        ahead = self.value(rollout.states[..., -1, :])
        if rollout.alive is not None:
            ahead = torch.where(rollout.alive[..., -1], ahead, self.value.worst)
        return self.cost(rollout, actions) + ahead


class DisagreementCost:
    """How far members are apart along the way: their standard deviation, summed over time.

    It is averaged over the state variables.

    Particles of one member are averaged first, so the data's own noise does not count as disagreement. Steps
    on which any particle is dead count nothing here.
    """

    def __init__(self, scale: Tensor | None = None) -> None:
        """Compare states in units of ``scale`` (nx,), such as their spread in the data; None: SI units."""
        self.scale = scale

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), the same for every particle.

        Raises:
            ValueError: if several particles do not say which member moved them.
        """
        states = rollout.states[..., 1:, :]
        if self.scale is not None:
            states = states / self.scale
        if rollout.members is None and len(states) > 1:
            raise ValueError(
                f"cost: {len(states)} particles name no members, so disagreement cannot be told from noise; "
                f"let particles keep their member for the whole rollout."
            )
        if rollout.members is not None:
            members = rollout.members
            states = torch.stack([states[members == member].mean(dim=0) for member in torch.unique(members)])
        apart = states.std(dim=0, correction=0).mean(dim=-1)
        if rollout.alive is not None:
            apart = _masked(apart, rollout.alive[..., 1:].all(dim=0))
        return apart.sum(dim=-1).expand(rollout.states.shape[:2])


class WeightedCosts:
    """A sum of named, weighted costs."""

    def __init__(self, costs: Mapping[str, tuple[float, Cost]]) -> None:
        """Combine costs, given as name → (weight, cost)."""
        self.costs = dict(costs)

    def __call__(self, rollout: Rollout, actions: Tensor) -> Tensor:
        """(P, N), see ``Cost``."""
        return torch.stack(list(self.terms(rollout, actions).values())).sum(dim=0)

    def terms(self, rollout: Rollout, actions: Tensor) -> dict[str, Tensor]:
        """(P, N) by name, weighted; they sum to the cost."""
        return {name: weight * cost(rollout, actions) for name, (weight, cost) in self.costs.items()}


def control_effort(states: Tensor, actions: Tensor) -> Tensor:
    """The squared size of actions: Σ_i a_i², a ``StepCost``."""
    return actions.square().sum(dim=-1).expand(states.shape[0], -1, -1)


def smoothness(previous: Tensor | None = None) -> StepCost:
    """The squared change between successive actions, Σ_i (a_{t,i} − a_{t−1,i})².

    Args:
        previous: (nu,) the action before the first; None leaves the first action free.
    """

    def step(states: Tensor, actions: Tensor) -> Tensor:
        before = actions[:, :1] if previous is None else previous.expand(len(actions), 1, -1)
        change = torch.diff(actions, dim=1, prepend=before)
        return change.square().sum(dim=-1).expand(states.shape[0], -1, -1)

    return step


def _masked(costs: Tensor, alive: Tensor | None) -> Tensor:
    """Zero where not alive, even where the costs there are NaN."""
    return costs if alive is None else torch.where(alive, costs, 0.0)
