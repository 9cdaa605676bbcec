"""PDDM: reward-weighted refinement of the mean with noise that is filtered in time."""

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from planners.noise import filtered
from planners.planner import Horizon
from planners.sampling import Found, SamplingPlanner
from planners.search import Search
from planners.settings import require, require_positive


class PDDM(SamplingPlanner):
    """The planner of Deep Dynamics Models for Learning Dexterous Manipulation (Nagabandi et al., 2019).

    Noise n_t = β ε_t + (1 − β) n_{t−1} is added to the mean, candidates are weighted with
    exp(κ (R − max R)) for the return R = −J, and the mean becomes their weighted average. The filter acts on
    the noise, as in the paper; the paper's code filters mean and noise together, which biases the mean. The
    plan is the mean. The first population holds the mean that the search starts from.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 700,
        iterations: int = 1,
        kappa: float = 10.0,
        beta: float = 0.7,
        std: float = 0.9,
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            generator: source of randomness.
            now: the loop's clock, seconds.
            population: candidates per update.
            iterations: updates per plan; the paper does one.
            kappa: κ, per unit of cost; larger is greedier.
            beta: of the filter, from nearly 0, smooth, to 1, unfiltered.
            std: of ε.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        super().__init__(horizon, generator=generator, now=now)
        require(self, "population", population, at_least=1)
        require(self, "iterations", iterations, at_least=1)
        require_positive(self, "kappa", kappa)
        require_positive(self, "beta", beta)
        require(self, "beta", beta, at_least=0, at_most=1)
        require_positive(self, "std", std)
        self.population, self.iterations, self.kappa, self.std = population, iterations, kappa, std
        self._noise = filtered(beta)

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        for iteration in range(self.iterations):
            noise = self.std * self._noise((self.population, *mean.shape), self.generator)
            candidates = (mean + noise).clamp(-1, 1)
            if iteration == 0:
                candidates[0] = mean
            costs = search.evaluate(candidates)
            if costs.isfinite().any():
                weights = torch.softmax(-self.kappa * (costs - costs.min()), dim=0)
                search.record(float((weights * costs.nan_to_num(posinf=0)).sum()))
                mean = torch.tensordot(weights, candidates, dims=1)
            if search.out_of_time:
                break
        if not search.elite_costs:
            return None
        return Found(mean, search.elite_costs[-1])
