"""One suite for all sampling planners: what any of them must do, with a criterion for each."""

import numpy as np
import pytest
import torch

from planners.plan import Plan
from planners.planner import Horizon
from planners.registry import PLANNERS, create, descriptions

STEPS, SIZE = 8, 2
HORIZON = Horizon(STEPS, SIZE, 0.1, np.array([0.3, -0.2]))

SETTINGS = {
    "random-shooting": {"population": 4000},
    "cem": {"iterations": 10},
    "icem": {"population": 128, "iterations": 10, "beta": 0.0},
    "mppi": {"population": 400, "iterations": 20, "std": 0.3, "effective_samples": 20},
    "pddm": {"population": 400, "iterations": 20, "std": 0.5, "kappa": 20.0},
    "gradient": {"steps": 60},
}
NAMES = list(SETTINGS)


def make(name, horizon=HORIZON, seed=0, **settings):
    return create(
        name,
        horizon,
        generator=torch.Generator().manual_seed(seed),
        **{"now": lambda: 0.0} | SETTINGS[name] | settings,
    )


class Counted:
    """An objective that keeps every candidate it was given."""

    def __init__(self, cost):
        self.cost, self.seen = cost, []

    def __call__(self, actions):
        if not actions.requires_grad:
            self.seen.append(actions.clone())
        return self.cost(actions)

    @property
    def candidates(self):
        return torch.cat(self.seen)


class Clock:
    def __init__(self, time=0.0):
        self.time = time

    def __call__(self):
        return self.time


TARGET = torch.linspace(-0.6, 0.6, STEPS * SIZE).reshape(STEPS, SIZE)


def quadratic(actions):
    return (actions - TARGET).square().sum(dim=(1, 2))


def banana(actions):
    """Rosenbrock's chain over time, 0 at 0.5 everywhere; about 100 on average over the bounds."""
    x = 2 * actions[..., 0]
    return (20 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(dim=1)


def two_valleys(actions):
    """A broad valley of depth 1 around −0.5 and a narrow one of depth 2 around 0.5."""
    broad = (actions + 0.5).square().sum(dim=(1, 2))
    narrow = (actions - 0.5).square().sum(dim=(1, 2))
    return -torch.exp(-broad / 2) - 2 * torch.exp(-narrow / 0.5)


def cost_of(objective, plan):
    return float(objective(torch.tensor(plan.actions)[None]))


def test_the_suite_covers_every_planner():
    assert SETTINGS.keys() == PLANNERS.keys() == descriptions().keys()
    assert all(line.endswith(".") and len(line) < 110 for line in descriptions().values())


@pytest.mark.parametrize(
    ("name", "reached"),
    [("random-shooting", 2.5), ("cem", 0.02), ("icem", 0.02), ("mppi", 0.1), ("pddm", 0.1), ("gradient", 1e-3)],
)
def test_finds_the_bottom_of_a_bowl(name, reached):
    for seed in range(3):
        plan = make(name, seed=seed).plan(quadratic)
        assert cost_of(quadratic, plan) < reached
