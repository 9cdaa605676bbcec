import numpy as np
import pytest
import torch

from planners.pddm import PDDM
from planners.plan import Plan
from planners.planner import Horizon

STEPS = 6
HORIZON = Horizon(STEPS, 1, 0.1, np.zeros(1))


def make(**settings):
    return PDDM(HORIZON, generator=torch.Generator().manual_seed(0), now=lambda: 0.0, **settings)


def test_the_filter_acts_on_the_noise_and_leaves_the_mean_unbiased():
    """Filtering mean and noise together, as the paper's code does, would pull the first steps to zero."""
    start = Plan(0.0, 0.1, np.full((STEPS, 1), 0.5), np.zeros(1))
    plan = make(population=50_000, std=0.1, beta=0.3).plan(lambda a: torch.zeros(len(a)), start)
    assert plan.actions == pytest.approx(np.full((STEPS, 1), 0.5), abs=2e-3)


def test_candidates_are_smoothed_in_time():
    seen = []

    def objective(actions):
        seen.append(actions.clone())
        return actions[:, 0, 0]

    make(population=50_000, std=0.2, beta=0.4).plan(objective)
    spread = seen[0][..., 0].std(dim=0)
    variance = 0.0
    for step in range(STEPS):
        variance = 0.4**2 + 0.6**2 * variance
        assert float(spread[step]) == pytest.approx(0.2 * variance**0.5, rel=0.02)


def test_kappa_sets_the_greed():
    def reached(kappa):
        return make(kappa=kappa, std=0.3, beta=1.0).plan(lambda a: (a - 0.4).square().sum(dim=(1, 2))).actions.mean()

    assert 0 < reached(0.1) < 0.8 * reached(1.0) < 0.8 * reached(10.0) < 0.4


def test_two_weights_are_the_softmax_of_returns():
    seen = []

    def objective(actions):
        seen.append(actions.clone())
        return torch.tensor([0.3, 0.1])

    plan = make(population=2, kappa=5.0).plan(objective)
    share = 1 / (1 + np.exp(-5.0 * 0.2))
    expected = (1 - share) * seen[0][0] + share * seen[0][1]
    assert plan.actions == pytest.approx(expected.numpy(), abs=1e-6)
    assert plan.cost == pytest.approx((1 - share) * 0.3 + share * 0.1)
