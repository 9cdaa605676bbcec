"""iCEM: CEM with coloured noise, a shrinking population, and elites that are kept."""

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

from planners.noise import coloured
from planners.planner import Horizon
from planners.sampling import Found, SamplingPlanner
from planners.search import Search
from planners.settings import require, require_positive


class ICEM(SamplingPlanner):
    """The improved cross-entropy method (Pinneri et al., Sample-efficient CEM for Real-time Planning, 2020).

    Noise is correlated in time, so that candidates go somewhere; the population shrinks as the search
    narrows; the best elites stay in the next population, of this plan and, shifted, of the next plan; the
    mean is costed in the last iteration, and here in the first too. An elite that stays is not costed again,
    for its cost does not change within a plan.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 64,
        elites: int = 10,
        iterations: int = 4,
        beta: float = 2.0,
        initial_std: float = 0.5,
        decay: float = 1.25,
        keep: float = 0.3,
        momentum: float = 0.1,
        execute: Literal["mean", "best"] = "mean",
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            generator: source of randomness.
            now: the loop's clock, seconds.
            population: candidates of the first iteration.
            elites: candidates that the Gaussian is refitted to.
            iterations: refinements per plan.
            beta: exponent of the noise's spectrum 1/f^β: 0 is white; 2 to 3 suits smooth motions.
            initial_std: of the first samples of every plan.
            decay: the population is divided by it at each iteration, down to twice the elites.
            keep: share of the elites that stays.
            momentum: share of the old mean and deviation that is kept at each refit.
            execute: the final mean, which can hold a pose, or the best candidate, as in the paper.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        super().__init__(horizon, generator=generator, now=now)
        require(self, "population", population, at_least=2)
        require(self, "elites", elites, at_least=1, at_most=population)
        require(self, "iterations", iterations, at_least=1)
        require(self, "beta", beta, at_least=0)
        require_positive(self, "initial_std", initial_std)
        require(self, "decay", decay, at_least=1)
        require(self, "keep", keep, at_least=0, at_most=1)
        require(self, "momentum", momentum, at_least=0, at_most=1)
        if execute not in ("mean", "best"):
            raise ValueError(f"ICEM: execute is {execute!r}; it must be 'mean' or 'best'.")
        self.population, self.elites, self.iterations = population, elites, iterations
        self.initial_std, self.decay, self.momentum, self.execute = initial_std, decay, momentum, execute
        self._noise = coloured(beta)
        self._kept = math.ceil(keep * elites)

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        std = torch.full_like(mean, self.initial_std)
        kept, kept_costs = mean.new_empty(0, *mean.shape), mean.new_empty(0)
        for iteration in range(self.iterations):
            count = max(round(self.population * self.decay**-iteration), min(2 * self.elites, self.population))
            candidates = (mean + std * self._noise((count, *mean.shape), self.generator)).clamp(-1, 1)
            if iteration == 0 and elites is not None:
                candidates = torch.cat([elites[: self._kept], candidates])
            if iteration == 0 and search.suggested is not None:
                candidates = torch.cat([search.suggested, candidates])
            if iteration in (0, self.iterations - 1):
                candidates = torch.cat([mean[None], candidates])
            costs = search.evaluate(candidates)
            if search.out_of_time:
                break
            best, best_costs = search.elites(torch.cat([candidates, kept]), torch.cat([costs, kept_costs]), self.elites)
            if len(best):
                search.record(float(best_costs.mean()))
                mean = self.momentum * mean + (1 - self.momentum) * best.mean(dim=0)
                std = self.momentum * std + (1 - self.momentum) * best.std(dim=0, correction=0)
                elites, kept, kept_costs = best, best[: self._kept], best_costs[: self._kept]
        if search.best is None or not search.elite_costs:
            return None
        if self.execute == "best":
            return Found(search.best, search.best_cost, mean=mean, elites=elites)
        return Found(mean, search.elite_costs[-1], elites=elites)
