"""Attitudes to risk: how the costs of a sequence under P particles become one number.

Each takes costs (P, N), already summed over time, to (N,): a particle's future is judged as a whole, which is
what makes the tail of CVaR the tail of futures and not of single steps.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Risk = Callable[[Tensor], Tensor]
"""Costs (P, N) → (N,)."""


def mean(costs: Tensor) -> Tensor:
    """The expected cost: neither pessimistic nor optimistic."""
    return costs.mean(dim=0)


def worst(costs: Tensor) -> Tensor:
    """The cost under the unluckiest particle."""
    return costs.amax(dim=0)


def mean_std(k: float) -> Risk:
    """The mean plus k standard deviations over the particles, 0 for P = 1; a negative k seeks uncertainty."""

    def risk(costs: Tensor) -> Tensor:
        return costs.mean(dim=0) + k * costs.std(dim=0, correction=0)

    return risk


def cvar(alpha: float) -> Risk:
    """The mean cost of the worst share alpha of the particles (Rockafellar and Uryasev 2000); 1 is the mean.

    Exact for any share: where alpha·P is not whole, the last particle counts in part.

    Args:
        alpha: in (0, 1].

    Raises:
        ValueError: if alpha is outside (0, 1].
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"cvar: alpha is {alpha}; it is the worst share of particles, above 0 and at most 1.")

    def risk(costs: Tensor) -> Tensor:
        tail = alpha * len(costs)
        count = math.ceil(tail)
        weights = (tail - torch.arange(count, device=costs.device, dtype=costs.dtype)).clamp(max=1)
        return weights @ costs.topk(count, dim=0).values / tail

    return risk


def entropic(theta: float) -> Risk:
    """(1/θ) log mean exp(θ c): the mean for small θ, the worst particle for large (Howard and Matheson 1972).

    Args:
        theta: > 0, per unit of cost.

    Raises:
        ValueError: if theta is not positive.
    """
    if not theta > 0:
        raise ValueError(f"entropic: theta is {theta}; it must be positive. Use mean for theta = 0.")

    def risk(costs: Tensor) -> Tensor:
        return (torch.logsumexp(theta * costs, dim=0) - math.log(len(costs))) / theta

    return risk
