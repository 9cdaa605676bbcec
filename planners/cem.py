"""CEM: refit a Gaussian to the elites of its samples, as PETS does."""

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from planners.noise import truncated_normal
from planners.planner import Horizon
from planners.sampling import Found, SamplingPlanner
from planners.search import Search
from planners.settings import require, require_positive

STD_AT_BOUND = 0.1
"""A mean that starts on a bound, such as a held joint, must still be able to leave it."""


class CEM(SamplingPlanner):
    """The cross-entropy method as in PETS (Chua et al., Deep RL in a Handful of Trials, 2018).

    Samples are normal, truncated at two standard deviations, which are limited to half the distance to the
    nearer bound. The plan is the mean. It differs from PETS where the mean is on a bound: the deviation keeps
    a floor, and samples are clipped; and the first population holds the mean that the search starts from.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 400,
        elites: int = 40,
        iterations: int = 5,
        alpha: float = 0.1,
        initial_std: float = 0.5,
        variance_threshold: float = 0.001,
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            generator: source of randomness.
            now: the loop's clock, seconds.
            population: candidates per iteration.
            elites: candidates that the Gaussian is refitted to.
            iterations: at most.
            alpha: share of the old mean and variance that is kept at each refit.
            initial_std: of the first samples; 0.5 is PETS's (upper − lower bound) / 4.
            variance_threshold: the search has converged when no variance is larger.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        super().__init__(horizon, generator=generator, now=now)
        require(self, "population", population, at_least=2)
        require(self, "elites", elites, at_least=1, at_most=population)
        require(self, "iterations", iterations, at_least=1)
        require(self, "alpha", alpha, at_least=0, at_most=1)
        require_positive(self, "initial_std", initial_std)
        require(self, "variance_threshold", variance_threshold, at_least=0)
        self.population, self.elites, self.iterations = population, elites, iterations
        self.alpha, self.initial_std, self.variance_threshold = alpha, initial_std, variance_threshold

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        variance = torch.full_like(mean, self.initial_std**2)
        converged = False
        for iteration in range(self.iterations):
            reach = ((1 - mean.abs()) / 2).clamp(min=STD_AT_BOUND)
            noise = truncated_normal((self.population, *mean.shape), self.generator)
            candidates = (mean + torch.minimum(variance.sqrt(), reach) * noise).clamp(-1, 1)
            if iteration == 0:
                candidates[0] = mean
            costs = search.evaluate(candidates)
            if search.out_of_time:
                break
            best, costs = search.elites(candidates, costs, self.elites)
            if len(best):
                search.record(float(costs.mean()))
                mean = self.alpha * mean + (1 - self.alpha) * best.mean(dim=0)
                variance = self.alpha * variance + (1 - self.alpha) * best.var(dim=0, correction=0)
                converged = bool(variance.max() <= self.variance_threshold)
            if converged:
                break
        if not search.elite_costs:
            return None
        return Found(mean, search.elite_costs[-1], converged=converged)
