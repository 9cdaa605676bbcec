"""What all sampling planners share: warm starts, deadlines, fallbacks, and the making of plans."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from planners.plan import Array, Finished, Plan, read_only
from planners.planner import Horizon, Objective
from planners.proposal import Proposal
from planners.search import ChunkSize, Search


@dataclass(frozen=True)
class Found:
    """What a search ends with.

    Attributes:
        actions: (H, nu) the actions to execute.
        cost: their cost, or the mean cost of what they average.
        mean: (H, nu) the centre of the next search; None where it is ``actions``.
        elites: (K, H, nu) the candidates to keep for the next search, best first.
        converged: whether the search stopped because there was nothing left to refine.
    """

    actions: Tensor
    cost: float
    mean: Tensor | None = None
    elites: Tensor | None = None
    converged: bool = False


class SamplingPlanner(ABC):
    """Samples action sequences within [-1, 1], costs them, and samples better ones.

    Without a deadline a plan depends on the objective, the warm start and the generator only. With one, it is
    cut short where time runs out. Where nothing had a finite cost, the plan is the fallback: the warm start,
    or holding still.
    """

    def __init__(self, horizon: Horizon, *, generator: Generator, now: Callable[[], float] = time.monotonic) -> None:
        """Set up a planner.

        Args:
            horizon: the shape of plans.
            generator: source of all randomness; candidates live on its device.
            now: the loop's clock, seconds; deadlines and times of plans are on it.
        """
        self.horizon, self.generator, self.now = horizon, generator, now
        self.device = generator.device
        self._hold = torch.tensor(horizon.hold_action, dtype=torch.float32, device=self.device)
        self._chunk = ChunkSize()

    def plan(self, objective: Objective, warm_start: Plan | None = None, deadline: float | None = None) -> Plan:
        """Minimise the objective over action sequences, see ``Planner.plan``.

        Raises:
            ValueError: if the warm start is of another horizon or action size.
        """
        shape = (self.horizon.steps, self.horizon.action_size)
        if warm_start is not None and warm_start.actions.shape != shape:
            raise ValueError(
                f"{type(self).__name__}: the warm start has actions of shape {warm_start.actions.shape}, "
                f"but plans have {shape}. Start without a warm start after changing the horizon."
            )
        start_time = self.now() if warm_start is None else warm_start.start_time
        search = Search(objective, deadline, self.now, self._chunk, self._suggested(warm_start))
        with torch.no_grad():
            found = self._search(search, *self._start(warm_start))
        if search.best is None:
            return self._fallback(search, warm_start, start_time)
        if found is None:
            found = Found(search.best, search.best_cost)
        mean = found.actions if found.mean is None else found.mean
        finished: Finished = "deadline" if search.out_of_time else "converged" if found.converged else "iterations"
        return Plan(
            start_time=start_time,
            dt=self.horizon.dt,
            actions=found.actions.clamp(-1, 1).cpu().numpy(),
            hold_action=self._hold_action(warm_start),
            cost=found.cost,
            iterations=len(search.elite_costs),
            evaluated=search.evaluated,
            finished=finished,
            computed_at=self.now(),
            proposal=Proposal(mean.cpu().numpy(), None if found.elites is None else found.elites.cpu().numpy()),
            elite_costs=tuple(search.elite_costs),
        )

    @abstractmethod
    def _search(self, search: Search, mean: Tensor, elites: Tensor | None) -> Found | None:
        """Find cheap actions; candidates are given to ``search.evaluate``.

        Args:
            search: costs candidates, and knows when time is up.
            mean: (H, nu) where to start.
            elites: (K, H, nu) kept from the plan before, best first.

        Returns:
            What was found, or None where no refinement was finished: then the plan is the best candidate.
        """

    def _start(self, warm_start: Plan | None) -> tuple[Tensor, Tensor | None]:
        if warm_start is None:
            return self._hold.repeat(self.horizon.steps, 1), None
        if not isinstance(warm_start.proposal, Proposal):
            return self._tensor(warm_start.actions), None
        kept = warm_start.proposal.elites
        return self._tensor(warm_start.proposal.mean), None if kept is None else self._tensor(kept)

    def _suggested(self, warm_start: Plan | None) -> Tensor | None:
        proposal = None if warm_start is None else warm_start.proposal
        suggested = proposal.suggested if isinstance(proposal, Proposal) else None
        return None if suggested is None else self._tensor(suggested)

    def _hold_action(self, warm_start: Plan | None) -> Array:
        return read_only(self.horizon.hold_action) if warm_start is None else warm_start.hold_action

    def _tensor(self, array: object) -> Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self.device).clamp(-1, 1)

    def _fallback(self, search: Search, warm_start: Plan | None, start_time: float) -> Plan:
        held = self._hold.repeat(self.horizon.steps, 1).cpu().numpy()
        return Plan(
            start_time=start_time,
            dt=self.horizon.dt,
            actions=held if warm_start is None else warm_start.actions,
            hold_action=self._hold_action(warm_start),
            interpolation="hold" if warm_start is None else warm_start.interpolation,
            evaluated=search.evaluated,
            finished="fallback",
            computed_at=self.now(),
            proposal=None if warm_start is None else warm_start.proposal,
        )
