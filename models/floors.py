"""The bare matrix products of planning and fitting, which no implementation undercuts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from models.ensemble import ProbabilisticEnsemble
from models.fitting import Data, descend
from models.inference import DTYPES, Precision
from models.network import EnsembleNetwork


@dataclass(frozen=True)
class Timing:
    """The floor of a piece of work and the time that the models take for it.

    Attributes:
        floor: seconds for the bare products.
        measured: seconds for the work.
    """

    floor: float
    measured: float

    @property
    def efficiency(self) -> float:
        """Floor over measured."""
        return self.floor / self.measured


def best_time(work: Callable[[], object], repeats: int) -> float:
    """The shortest of ``repeats`` runs in seconds, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def matrix_product_floor(
    sizes: Sequence[int], *, members: int, rows: int, precision: Precision, repeats: int = 5
) -> float:
    """Seconds for one pass through chained products without bias or activation.

    The better of one batched product per layer and of separate products per member, at the thread count and
    on the device that are set.

    Args:
        sizes: widths from the inputs to the outputs.
        members: networks, E.
        rows: of each member.
        precision: of the products.
        repeats: passes, of which the fastest counts.
    """
    inputs, weights = _operands(sizes, members, rows, DTYPES[precision])

    def batched() -> None:
        hidden = inputs
        for weight in weights:
            hidden = torch.bmm(hidden, weight)

    def separate() -> None:
        for member in range(members):
            hidden = inputs[member]
            for weight in weights:
                hidden = torch.mm(hidden, weight[member])

    with torch.inference_mode():
        return min(best_time(batched, repeats), best_time(separate, repeats))


def training_floor(sizes: Sequence[int], *, members: int, rows: int, repeats: int = 5) -> float:
    """Seconds for the forward and backward products of one gradient step, in float32.

    The inputs' gradient, which nobody needs, is not computed. As for planning, the better of batched products and
    of separate ones counts.
    """
    inputs, weights = _operands(sizes, members, rows, torch.float32)
    activations = [torch.randn(members, rows, size) for size in sizes]

    def step(product: Callable[[Tensor, Tensor], Tensor], members: int | slice) -> None:
        hidden = inputs[members]
        for weight in weights:
            hidden = product(hidden, weight[members])
        for layer in reversed(range(len(weights))):
            gradient = activations[layer + 1][members]
            product(activations[layer][members].mT, gradient)
            if layer:
                product(gradient, weights[layer][members].mT)

    def separate() -> None:
        for member in range(members):
            step(torch.mm, member)

    with torch.inference_mode():
        return min(best_time(lambda: step(torch.bmm, slice(None)), repeats), best_time(separate, repeats))


def _operands(sizes: Sequence[int], members: int, rows: int, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    generator = Generator().manual_seed(0)
    inputs = torch.randn(members, rows, sizes[0], generator=generator).to(dtype)
    weights = [
        (torch.randn(members, size, following, generator=generator) / size**0.5).to(dtype)
        for size, following in pairwise(sizes)
    ]
    return inputs, weights


def time_planning(model: ProbabilisticEnsemble, *, candidates: int, horizon: int, repeats: int = 5) -> Timing:
    """The rollout of ``candidates`` sequences against the bare products of its steps, in turns."""
    generator = Generator().manual_seed(0)
    state = torch.zeros(model.state_size)
    actions = torch.rand(candidates, horizon, model.action_size, generator=generator) * 2 - 1
    particles = model.rollout(state, actions[:1], generator=generator).states.shape[0]
    planning = model.elite_count
    floors, times = [], []
    for _ in range(repeats):
        step = matrix_product_floor(
            model.layer_sizes,
            members=planning,
            rows=candidates * particles // planning,
            precision=model.precision,
            repeats=5,
        )
        floors.append(step * horizon)
        times.append(best_time(lambda: model.rollout(state, actions, generator=generator), 1))
    return Timing(min(floors), min(times))


def time_fitting(
    sizes: Sequence[int], *, members: int, batch: int, rows: int = 4000, steps: int = 20, repeats: int = 5
) -> Timing:
    """One gradient step of a Gaussian ensemble, sampling and optimiser included, against its bare products.

    Args:
        sizes: widths from the inputs to the outputs, which are twice the targets.
        members: networks, E.
        batch: rows per member and step.
        rows: of the made-up data.
        steps: that are timed together, with one evaluation on ``batch`` rows.
        repeats: of which the fastest counts; floor and steps alternate.
    """
    generator = Generator().manual_seed(0)
    network = EnsembleNetwork(
        members=members,
        inputs=sizes[0],
        hidden=tuple(sizes[1:-1]),
        targets=sizes[-1] // 2,
        logits=0,
        gaussian=True,
        generator=generator,
    )
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    data = Data(
        inputs=torch.randn(rows, sizes[0], generator=generator),
        targets=torch.randn(rows, sizes[-1] // 2, generator=generator),
        terminated=None,
        tables=[torch.arange(rows)] * members,
        fresh=[torch.arange(0)] * members,
        holdout=torch.arange(batch),
    )

    def fit() -> None:
        descend(
            network,
            optimizer,
            data,
            generator=generator,
            batch=batch,
            fresh_fraction=0.0,
            max_steps=steps,
            patience=steps,
            progress=None,
        )

    floors, times = [], []
    for _ in range(repeats):
        floors.append(training_floor(sizes, members=members, rows=batch))
        times.append(best_time(fit, 1) / steps)
    return Timing(min(floors), min(times))
