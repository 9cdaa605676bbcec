"""Gradient steps against the bare matrix products of their forward and backward passes."""

from collections.abc import Iterator

import torch
from torch import Generator

from models.threads import available_cores
from models.transitions import Transitions
from robot_ctrl.benches.busy import thread_counts
from robot_ctrl.benches.made_up import Size, transitions
from robot_ctrl.benches.products import training_products
from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Clock, Pair, clock_for, clock_name, in_turns, median, threads

SIZE = Size(18, 6, 5, (200,) * 3, 5)
BATCH = 256
STEPS = 60
REPEATS = 5
TARGET = 0.5


def fitting_rows() -> Iterator[Row]:
    """The default model at one thread and at all cores."""
    data = transitions(SIZE)
    setting = f"{SIZE}, batch {BATCH}, {len(data)} rows"
    counts, reason = thread_counts()
    for count in counts:
        with threads(count):
            pair = median(time_steps(data, clock_for(count)))
        yield Row(
            "fitting", setting, count, "fp32", pair.measured * 1e3, "bare products", pair.peer * 1e3, "efficiency",
            pair.efficiency, at_least=TARGET, note=f"{clock_name(count)} of a gradient step",
        )  # fmt: skip
    if reason:
        yield Row(
            "fitting", setting, available_cores(), "fp32", None, "bare products", None, "efficiency", None,
            at_least=TARGET, note=reason,
        )  # fmt: skip


def time_steps(data: Transitions, clock: Clock) -> list[Pair]:
    """A gradient step's share of a whole refit, with sampling, optimiser and holdout, and its floor."""
    model = SIZE.model(batch_size=BATCH, first_steps=STEPS, refit_steps=STEPS, patience=STEPS)
    generator = Generator().manual_seed(0)
    products = training_products(model.layer_sizes, members=SIZE.members, rows=BATCH, clock=clock)

    def floor() -> None:
        with torch.inference_mode():
            for _ in range(STEPS):
                products()

    pairs = in_turns(lambda: model.fit(data, generator=generator), floor, repeats=REPEATS, clock=clock)
    return [Pair(pair.measured / STEPS, pair.peer / STEPS) for pair in pairs]
