"""The costing of candidates during one plan: chunks, deadline, unusable costs, the best so far."""

from collections.abc import Callable

import torch
from torch import Tensor

from planners.planner import Objective

CHUNK_SHARE = 0.2
"""How much of the time that a plan has one chunk should take when there is a deadline to keep.

Much of what a chunk takes does not shrink with it, so chunks are as large as the deadline lets them be.
"""


class ChunkSize:
    """How many candidates to cost at once; learned from what chunks took, kept between plans."""

    def __init__(self) -> None:
        self.candidates = 16

    def update(self, candidates: int, seconds: float, allowed: float) -> None:
        """Learn from a chunk that took so long and should take what is allowed; by at most a factor of two."""
        if seconds > allowed:
            self.candidates = max(1, round(candidates * max(allowed / seconds, 0.5)))
        else:
            growth = min(allowed / seconds, 2.0) if seconds > 0 else 2.0
            self.candidates = max(self.candidates, round(candidates * growth))


class Search:
    """One plan's dealings with its objective.

    Attributes:
        suggested: (K, H, nu) candidates that the caller wants tried; None where there are none.
        evaluated: candidates costed so far.
        best: (H, nu) the cheapest candidate so far; None until one had a finite cost.
        best_cost: its cost.
        elite_costs: the mean cost of the elites after each refinement.
        out_of_time: whether candidates were left out to keep the deadline.
    """

    def __init__(
        self,
        objective: Objective,
        deadline: float | None,
        now: Callable[[], float],
        chunk: ChunkSize,
        suggested: Tensor | None = None,
    ) -> None:
        self._objective, self._deadline, self._now, self._chunk = objective, deadline, now, chunk
        self._chunk_seconds = 0.0 if deadline is None else CHUNK_SHARE * max(deadline - now(), 0.0)
        self._last_call = (1, 0.0)
        self.suggested = suggested
        self.evaluated = 0
        self.best: Tensor | None = None
        self.best_cost = float("inf")
        self.elite_costs: list[float] = []
        self.out_of_time = False

    def has_time(self, candidates: int) -> bool:
        """Whether costing so many candidates would meet the deadline, judged by the call before."""
        if self._deadline is not None:
            now = self._now()
            before, seconds = self._last_call
            # A call has a part that does not shrink with its candidates: taken to be half at most.
            expected = seconds * max(candidates / before, 0.5)
            if now >= self._deadline or now + expected > self._deadline:
                self.out_of_time = True
        return not self.out_of_time

    def evaluate(self, candidates: Tensor) -> Tensor:
        """Cost candidates (N, H, nu).

        Without a deadline they are costed at once and the clock is not read. With one they are costed in
        chunks of about the same size, and one that would not be done in time, judged by the one before, is not begun.

        Returns:
            (N,) costs; +inf where they were NaN or infinite, or there was no time.
        """
        if self._deadline is None:
            return self._cost(candidates)
        costs = candidates.new_full((len(candidates),), torch.inf)
        begin = 0
        while begin < len(candidates):
            left = len(candidates) - begin
            part = candidates[begin : begin + -(-left // -(-left // self._chunk.candidates))]
            if not self.has_time(len(part)):
                break
            started = self._now()
            costs[begin : begin + len(part)] = self._cost(part)
            self._last_call = (len(part), self._now() - started)
            self._chunk.update(*self._last_call, self._chunk_seconds)
            begin += len(part)
        return costs

    def elites(self, candidates: Tensor, costs: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The cheapest candidates, best first: at most ``count``, none of infinite cost.

        Returns:
            (K, H, nu) elites and (K,) their costs; K = 0 where nothing has a finite cost.
        """
        usable = int(costs.isfinite().sum())
        chosen = costs.topk(min(count, usable), largest=False)
        return candidates[chosen.indices], chosen.values

    def gradient(self, candidates: Tensor) -> Tensor:
        """The slope of each candidate's cost, (N, H, nu); zero where it is not finite.

        Raises:
            ValueError: if the objective keeps no gradients.
        """
        with torch.enable_grad():
            leaf = candidates.detach().requires_grad_()
            costs = self._objective(leaf)
            if not costs.requires_grad:
                raise ValueError(
                    "planner: the objective keeps no gradients, which gradient refinement needs; use a "
                    "differentiable model and cost, or a planner that only samples."
                )
            (slopes,) = torch.autograd.grad(costs.sum(), leaf)
        usable = slopes.isfinite().flatten(1).all(dim=1)
        return torch.where(usable[:, None, None], slopes, 0.0)

    def record(self, elite_cost: float) -> None:
        """Count one refinement, whose elites cost this much on average."""
        self.elite_costs.append(elite_cost)

    def _cost(self, candidates: Tensor) -> Tensor:
        costs = self._objective(candidates)
        if costs.shape != (len(candidates),):
            raise ValueError(
                f"planner: the objective returned costs of shape {tuple(costs.shape)} for {len(candidates)} "
                f"candidates; it must return ({len(candidates)},): sum over time and combine particles."
            )
        costs = torch.where(costs.isfinite(), costs, torch.inf)
        self.evaluated += len(candidates)
        lowest = int(costs.argmin())
        if (cost := float(costs[lowest])) < self.best_cost:
            self.best, self.best_cost = candidates[lowest], cost
        return costs
