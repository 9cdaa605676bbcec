"""MPPI: average candidates by the exponential of their cost, control as inference."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from planners.interpolation import Interpolation
from planners.noise import smooth_noise
from planners.planner import Horizon
from planners.sampling import Found, SamplingPlanner
from planners.search import Search
from planners.settings import require, require_positive


class MPPI(SamplingPlanner):
    """Model predictive path integral control (Williams et al., Information Theoretic MPC, 2017).

    Candidates v = u + ε are weighted with exp(−(J − min J)/λ), and the mean moves by the weighted noise. The
    paper's control cost λ uᵀΣ⁻¹ε, which comes from importance sampling around u and draws the mean towards
    zero, is dropped unless ``control_cost`` asks for it; then it is taken per step, with the noise as it is
    after clipping. The plan is the mean. The first population holds the mean that the search starts from.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        population: int = 256,
        iterations: int = 1,
        std: float = 0.5,
        temperature: float = 0.1,
        effective_samples: float | None = None,
        control_cost: bool = False,
        beta: float = 0.0,
        knots: int | None = None,
        interpolation: Interpolation = "cubic",
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            generator: source of randomness.
            now: the loop's clock, seconds.
            population: candidates per update.
            iterations: updates per plan.
            std: of the noise; it stays the same.
            temperature: λ, in units of cost.
            effective_samples: where given, λ is chosen at each update so that the effective sample size of
                the weights, 1 / Σ w², is this; ``temperature`` is not used then.
            control_cost: whether the control cost λ uᵀΣ⁻¹ε is kept.
            beta: exponent of the noise's spectrum 1/f^β; 0 is white.
            knots: where given, noise is drawn on so many knots and interpolated; ``beta`` must be 0 then.
            interpolation: between those knots.

        Raises:
            ValueError: if a setting is outside its limits, or two exclude one another.
        """
        super().__init__(horizon, generator=generator, now=now)
        require(self, "population", population, at_least=1)
        require(self, "iterations", iterations, at_least=1)
        require_positive(self, "std", std)
        require_positive(self, "temperature", temperature)
        if effective_samples is not None:
            require(self, "effective_samples", effective_samples, at_least=1, at_most=population)
        require(self, "beta", beta, at_least=0)
        if knots is not None:
            require(self, "knots", knots, at_least=1)
            if beta > 0:
                raise ValueError(
                    f"MPPI: beta is {beta} and knots is {knots}; noise is coloured or splined, leave one out."
                )
        if control_cost and (beta > 0 or knots is not None):
            raise ValueError("MPPI: control_cost is derived for white noise; leave out beta and knots with it.")
        self.population, self.iterations, self.std = population, iterations, std
        self.temperature, self.effective_samples = temperature, effective_samples
        self.control_cost = control_cost
        self._noise = smooth_noise(beta, knots, interpolation)

    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        for iteration in range(self.iterations):
            noise = self._noise((self.population, *mean.shape), self.generator)
            candidates = noise.mul_(self.std).add_(mean).clamp_(-1, 1)
            if iteration == 0:
                candidates[0] = mean
            costs = search.evaluate(candidates)
            if costs.isfinite().any():
                weights = self._weights(costs, self._push(candidates, mean))
                search.record(float((weights * costs.nan_to_num(posinf=0)).sum()))
                mean = torch.tensordot(weights, candidates, dims=1)
            if search.out_of_time:
                break
        if not search.elite_costs:
            return None
        return Found(mean, search.elite_costs[-1])

    def _push(self, candidates: Tensor, mean: Tensor) -> Tensor:
        """(N,) the control cost over λ, Σ_t uᵀΣ⁻¹ε, or zeros where it is dropped."""
        if not self.control_cost:
            return candidates.new_zeros(len(candidates))
        return (candidates - mean).flatten(1) @ mean.flatten() / self.std**2

    def _weights(self, costs: Tensor, push: Tensor) -> Tensor:
        """(N,) summing to 1; +inf costs weigh nothing."""
        temperature = self.temperature
        if self.effective_samples is not None:
            temperature = temperature_for(self.effective_samples, costs, push)
        return torch.softmax(-(costs - costs.min()) / temperature - push, dim=0)


def temperature_for(effective: float, costs: Tensor, push: Tensor) -> float:
    """The λ at which softmax weights of −J/λ − push have an effective sample size 1 / Σ w².

    Where infinite costs, or equal ones, do not allow that size, the nearest λ of the range searched is taken:
    10⁻⁶ to 10⁶ times the spread of the costs.
    """
    finite = costs.isfinite()
    excess: NDArray[np.float64] = (costs - costs.min())[finite].double().cpu().numpy()
    shift: NDArray[np.float64] = push[finite].double().cpu().numpy()
    spread = float(excess.max()) or 1.0
    low, high = np.log(1e-6 * spread), np.log(1e6 * spread)
    for _ in range(40):
        middle = 0.5 * (low + high)
        logits = -excess / np.exp(middle) - shift
        weights = np.exp(logits - logits.max())
        if weights.sum() ** 2 < effective * (weights @ weights):
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))
