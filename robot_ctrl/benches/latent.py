"""Plans to a goal picture against the bare matrix products of the heads and of the temporal distance."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Generator, Tensor

from models.image.frames import ImageSpec
from models.image.joint_embedding import JointEmbedding
from models.image.temporal_distance import TemporalDistance
from models.threads import available_cores
from planners.cem import CEM
from planners.objective import RolloutObjective
from planners.planner import Horizon
from planners.risk import mean
from robot_ctrl.benches.busy import thread_counts
from robot_ctrl.benches.products import forward_products
from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Clock, Pair, clock_for, clock_name, median, threads
from robot_ctrl.goals.goal_cost import goal_cost

POPULATION, ITERATIONS, HORIZON = 300, 10, 10
SPEC = ImageSpec("camera", 64, 64, action_size=2)
HIDDEN = (200, 200)
REPEATS = 9
TARGET = 0.7


def latent_rows() -> Iterator[Row]:
    """The default model's plan with 300 candidates in 10 iterations, one head and four."""
    counts, reason = thread_counts()
    for heads in (1, 4):
        model = JointEmbedding(SPEC, heads=heads, hidden=HIDDEN)
        setting = f"{heads} heads of {HIDDEN}, z {model.state_size}, {POPULATION} × {ITERATIONS}, H {HORIZON}"
        for count in counts:
            with threads(count):
                pair = median(list(time_plans(model, clock_for(count))))
            yield Row(
                "latent", setting, count, "fp32", pair.measured * 1e3, "bare products", pair.peer * 1e3, "efficiency",
                pair.efficiency, at_least=TARGET, note=clock_name(count),
            )  # fmt: skip
        if reason:
            yield Row(
                "latent", setting, available_cores(), "fp32", None, "bare products", None, "efficiency", None,
                at_least=TARGET, note=reason,
            )  # fmt: skip


def time_plans(model: JointEmbedding, clock: Clock, repeats: int = REPEATS) -> Iterator[Pair]:
    """Whole plans to a goal; the floor of each iteration runs right after its rollouts and their cost."""
    size, nu = model.state_size, model.action_size
    heads = forward_products(
        (size + nu, *HIDDEN, size), members=model.heads, rows=POPULATION, dtype=torch.float32, clock=clock
    )
    distance = forward_products(
        TemporalDistance.layer_sizes(size),
        members=1,
        rows=model.heads * POPULATION * HORIZON,
        dtype=torch.float32,
        clock=clock,
    )
    generator = Generator().manual_seed(0)
    state, goal = torch.randn(2, size, generator=generator)
    objective = RolloutObjective(model, goal_cost(model, goal), mean, state, seed=0)
    shape = Horizon(HORIZON, nu, 0.08, np.zeros(nu, np.float32))
    planner = CEM(shape, generator=generator, population=POPULATION, iterations=ITERATIONS, variance_threshold=0.0)
    floor_seconds = 0.0

    def beside(actions: Tensor) -> Tensor:
        nonlocal floor_seconds
        costs = objective(actions)
        started = clock()
        for _ in range(HORIZON):
            heads()
        distance()
        floor_seconds += clock() - started
        return costs

    planner.plan(beside)
    for _ in range(repeats):
        floor_seconds, started = 0.0, clock()
        planner.plan(beside)
        yield Pair(clock() - started - floor_seconds, floor_seconds)
