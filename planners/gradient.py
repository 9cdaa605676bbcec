"""Gradient refinement: sample with iCEM, then descend the objective's gradient from the best candidates."""

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from planners.icem import ICEM
from planners.planner import Horizon
from planners.sampling import Found
from planners.search import Search
from planners.settings import require, require_positive


class GradientRefinement(ICEM):
    """Adam steps through a differentiable objective, from the elites of an iCEM search.

    Sampling finds the valley, gradients its floor (as in Bharadhwaj et al., Model-Predictive Control via
    Cross-Entropy and Gradient-Based Optimization, 2020). Each step is projected onto the bounds, and its
    candidates are costed like any others; the plan is the cheapest candidate ever costed. The objective must
    keep gradients where actions require them, as ``RolloutObjective`` does. A gradient that is not finite
    counts as zero.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 64,
        elites: int = 10,
        iterations: int = 2,
        beta: float = 2.0,
        initial_std: float = 0.5,
        starts: int = 4,
        steps: int = 10,
        learning_rate: float = 0.05,
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            generator: source of randomness.
            now: the loop's clock, seconds.
            population: candidates of the first sampling iteration.
            elites: candidates that the sampling's Gaussian is refitted to.
            iterations: of sampling.
            beta: exponent of the noise's spectrum 1/f^β.
            initial_std: of the first samples.
            starts: elites that are refined; at most ``elites``.
            steps: of Adam.
            learning_rate: of Adam, in units of the scaled action.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        super().__init__(
            horizon,
            generator=generator,
            now=now,
            population=population,
            elites=elites,
            iterations=iterations,
            beta=beta,
            initial_std=initial_std,
        )
        require(self, "starts", starts, at_least=1, at_most=elites)
        require(self, "steps", steps, at_least=1)
        require_positive(self, "learning_rate", learning_rate)
        self.starts, self.steps, self.learning_rate = starts, steps, learning_rate

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        sampled = super()._search(search, mean, elites)
        if sampled is None or sampled.elites is None or search.best is None:
            return None
        refined = torch.cat([sampled.actions[None], sampled.elites[: self.starts - 1]]).clone()
        adam = torch.optim.Adam([refined], lr=self.learning_rate)
        for _ in range(self.steps):
            if not search.has_time(2 * self.starts):
                break
            refined.grad = search.gradient(refined)
            adam.step()
            refined.clamp_(-1, 1)
            costs = search.evaluate(refined.clone())
            if costs.isfinite().any():
                search.record(search.best_cost)
        return Found(search.best, search.best_cost, mean=search.best, elites=sampled.elites)
