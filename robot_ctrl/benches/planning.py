"""Whole plans against the bare matrix products of the networks that they roll out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from models.ensemble import ProbabilisticEnsemble
from models.inference import DTYPES, Precision
from models.threads import available_cores
from models.transitions import Transitions
from planners.cem import CEM
from planners.cost import StepwiseCost, control_effort
from planners.icem import ICEM
from planners.mppi import MPPI
from planners.objective import RolloutObjective
from planners.planner import Horizon
from planners.risk import mean
from planners.sampling import SamplingPlanner
from robot_ctrl.benches.busy import thread_counts
from robot_ctrl.benches.made_up import Size, fitted, transitions
from robot_ctrl.benches.products import forward_products
from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Clock, Pair, Work, clock_for, clock_name, in_turns, median, threads


@dataclass(frozen=True)
class Plans:
    """A planner and the model that it plans through.

    Attributes:
        name: of the setting.
        size: of the robot and its networks.
        horizon: actions in a plan, H.
        population: candidates of an iteration.
        elites: that the Gaussian is refitted to.
        iterations: of the planner.
        repeats: plans, of which the median counts.
    """

    name: str
    size: Size
    horizon: int
    population: int
    elites: int
    iterations: int
    repeats: int

    def planner(self, kind: Callable[..., SamplingPlanner], **settings: float) -> SamplingPlanner:
        """A planner of that class."""
        nu = self.size.action_size
        horizon = Horizon(self.horizon, nu, 0.05, np.zeros(nu, np.float32))
        sizes = {"population": self.population, "iterations": self.iterations}
        return kind(horizon, generator=Generator().manual_seed(0), **sizes, **settings)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.size}, {self.population} candidates × {self.iterations} iterations, H {self.horizon}"
        )


PETS = Plans("PETS half-cheetah", Size(18, 6, 5, (200,) * 4, 20, "tsinf"), 30, 500, 50, 5, repeats=2)
DEFAULT = Plans("default iCEM", Size(18, 6, 5, (200,) * 3, 5), 25, 64, 10, 4, repeats=11)
SINGLE = Plans("MPPI, one network", Size(20, 6, 1, (200,), 1), 30, 1000, 0, 1, repeats=31)
TARGETS: dict[Precision, float] = {"fp32": 0.75, "bf16": 0.60}
SINGLE_TARGET = 0.77
AGREEMENT = 0.90


def planning_rows() -> Iterator[Row]:
    """PETS's half-cheetah setting, the default planner, and MPPI on a single network."""
    counts, reason = thread_counts()
    with threads(1):
        data = transitions(PETS.size)
        exact = fitted(PETS.size, data, precision="fp32")
        rounded = in_precision(exact, PETS.size, "bf16")
        default = fitted(DEFAULT.size, transitions(DEFAULT.size), precision="fp32")
        single = fitted(SINGLE.size, transitions(SINGLE.size), precision="fp32", head="deterministic")
        agreed = agreement(exact, rounded, PETS, data)
    cem = partial(CEM, elites=PETS.elites, variance_threshold=0.0)
    for model in (exact, rounded):
        yield from _efficiencies(PETS, cem, model, counts, reason, TARGETS[model.precision])
    yield Row(
        "planning: elites", str(PETS), 1, "bf16", None, "fp32", None, "agreement", agreed, at_least=AGREEMENT,
        note=f"share of the best {PETS.elites} of {PETS.population}, without control cost",
    )  # fmt: skip
    icem = partial(ICEM, elites=DEFAULT.elites)
    for precision in TARGETS:
        model = in_precision(default, DEFAULT.size, precision)
        yield from _efficiencies(DEFAULT, icem, model, counts, reason, None)
    yield _rollout_efficiency(SINGLE, single, SINGLE_TARGET)
    yield from _efficiencies(SINGLE, MPPI, single, [1], "", None)


def _efficiencies(
    plans: Plans,
    kind: Callable[..., SamplingPlanner],
    model: ProbabilisticEnsemble,
    counts: list[int],
    reason: str,
    target: float | None,
) -> Iterator[Row]:
    for count in counts:
        with threads(count):
            pair = median(list(time_plans(plans, kind, model, clock_for(count))))
        yield _row("planning", plans, model, count, pair, target)
    if reason:
        yield Row(
            "planning", str(plans), available_cores(), model.precision, None, "bare products", None, "efficiency",
            None, at_least=target, note=reason,
        )  # fmt: skip


def _rollout_efficiency(plans: Plans, model: ProbabilisticEnsemble, target: float) -> Row:
    """The rollouts alone, at one thread: a network this small makes the planner's own noise stand out."""
    state = torch.zeros(model.state_size)
    actions = torch.rand((plans.population, plans.horizon, model.action_size), generator=Generator().manual_seed(0))
    clock = clock_for(1)
    floors = Floors(model, plans.horizon, clock)
    with threads(1), torch.inference_mode():
        pair = median(
            in_turns(
                lambda: model.rollout(state, actions),
                lambda: floors.run(plans.population),
                repeats=plans.repeats,
                clock=clock,
            )
        )
    return _row("planning: rollout", plans, model, 1, pair, target)


def _row(bench: str, plans: Plans, model: ProbabilisticEnsemble, count: int, pair: Pair, target: float | None) -> Row:
    return Row(
        bench, str(plans), count, model.precision, pair.measured * 1e3, "bare products", pair.peer * 1e3, "efficiency",
        pair.efficiency, at_least=target, note=clock_name(count),
    )  # fmt: skip


class Floors:
    """The bare products of a rollout of so many candidates, made once for each number of them."""

    def __init__(self, model: ProbabilisticEnsemble, horizon: int, clock: Clock) -> None:
        self._model, self._horizon, self._clock = model, horizon, clock
        self._passes: dict[int, Work] = {}

    def run(self, candidates: int) -> None:
        """H passes."""
        if candidates not in self._passes:
            model = self._model
            self._passes[candidates] = forward_products(
                model.layer_sizes,
                members=model.elite_count,
                rows=candidates * model.particles // model.elite_count,
                dtype=DTYPES[model.precision],
                clock=self._clock,
            )
        for _ in range(self._horizon):
            self._passes[candidates]()


def time_plans(
    plans: Plans, kind: Callable[..., SamplingPlanner], model: ProbabilisticEnsemble, clock: Clock
) -> Iterator[Pair]:
    """Plans from sampling to the last refit; the floor of each iteration runs right after its rollouts."""
    planner, objective, floors = plans.planner(kind), objective_of(model), Floors(model, plans.horizon, clock)
    floor_seconds = 0.0

    def beside(actions: Tensor) -> Tensor:
        nonlocal floor_seconds
        costs = objective(actions)
        started = clock()
        floors.run(len(actions))
        floor_seconds += clock() - started
        return costs

    planner.plan(beside)
    for _ in range(plans.repeats):
        floor_seconds, started = 0.0, clock()
        planner.plan(beside)
        yield Pair(clock() - started - floor_seconds, floor_seconds)


def objective_of(
    model: ProbabilisticEnsemble, state: Tensor | None = None, *, control: float = 0.1
) -> RolloutObjective:
    """Go fast along the first state variable with little effort, as half-cheetah does."""

    def slowness(states: Tensor, actions: Tensor) -> Tensor:
        return -states[..., 1:, 0]

    cost = StepwiseCost({"slowness": slowness, "control": control_effort}, weights={"control": control})
    return RolloutObjective(model, cost, mean, torch.zeros(model.state_size) if state is None else state, seed=0)


def in_precision(model: ProbabilisticEnsemble, size: Size, precision: Precision) -> ProbabilisticEnsemble:
    """The same fitted weights, in the precision of another."""
    other = size.model(precision=precision)
    other.load_state_dict(model.state_dict())
    return other


def agreement(
    exact: ProbabilisticEnsemble, rounded: ProbabilisticEnsemble, plans: Plans, data: Transitions, states: int = 3
) -> float:
    """The share of the elites of ``exact`` that are elites of ``rounded`` too, over some states of the data.

    Effort costs the same in both, and is left out for that.
    """
    shared = 0
    shape = (plans.population, plans.horizon, plans.size.action_size)
    for number in range(states):
        state = data.states[number * (len(data) // states)]
        actions = torch.randn(shape, generator=Generator().manual_seed(number)).mul_(0.5).clamp_(-1, 1)
        best = [
            set(objective_of(model, state, control=0.0)(actions).topk(plans.elites, largest=False).indices.tolist())
            for model in (exact, rounded)
        ]
        shared += len(best[0] & best[1])
    return shared / (states * plans.elites)
