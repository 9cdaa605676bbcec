"""Random shooting: sample action sequences uniformly and take the best."""

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from planners.planner import Horizon
from planners.sampling import Found, SamplingPlanner
from planners.search import Search
from planners.settings import require


class RandomShooting(SamplingPlanner):
    """Random shooting, the planner of Nagabandi et al., Neural network dynamics for model-based RL, 2018.

    The warm start is costed too, so a plan is never worse than the one before it, moved in time.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 2000,
    ) -> None:
        """Set up the planner; ``population`` counts the candidates, of which one is the warm start."""
        super().__init__(horizon, generator=generator, now=now)
        require(self, "population", population, at_least=1)
        self.population = population

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        shape = (self.population, self.horizon.steps, self.horizon.action_size)
        candidates = 2 * torch.rand(shape, generator=self.generator, device=self.device) - 1
        candidates[0] = mean
        search.evaluate(candidates)
        if search.best is None:
            return None
        search.record(search.best_cost)
        return Found(search.best, search.best_cost)
