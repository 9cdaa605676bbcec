import numpy as np
import pytest
import torch

from planners.cem import CEM
from planners.plan import Plan
from planners.planner import Horizon

HORIZON = Horizon(3, 1, 0.1, np.zeros(1))


def make(**settings):
    return CEM(HORIZON, generator=torch.Generator().manual_seed(0), now=lambda: 0.0, **settings)


def bowl(actions):
    return (actions - 0.2).square().sum(dim=(1, 2))


def test_stops_when_the_largest_variance_is_small():
    plan = make(iterations=50).plan(bowl)
    assert plan.finished == "converged"
    assert plan.iterations < 10
    assert make(iterations=50, variance_threshold=0.0).plan(bowl).iterations == 50
    assert make(iterations=2).plan(bowl).finished == "iterations"


def test_samples_are_truncated_normal_and_leave_room_to_the_bound():
    start = Plan(0.0, 0.1, np.array([[0.0], [0.6], [-0.8]]), np.zeros(1))
    seen = []

    def objective(actions):
        seen.append(actions.clone())
        return bowl(actions)

    make(population=20_000, elites=10, iterations=1).plan(objective, start)
    offsets = seen[0][1:, :, 0] - torch.tensor([0.0, 0.6, -0.8])
    for step, std in enumerate([0.5, 0.2, 0.1]):
        assert offsets[:, step].abs().max() == pytest.approx(2 * std, rel=0.01)
        assert float(offsets[:, step].std()) == pytest.approx(0.8796 * std, rel=0.03)


def test_variance_is_refitted_to_the_elites():
    seen = []

    def objective(actions):
        seen.append(actions.clone())
        return bowl(actions)

    make(population=5000, elites=500, iterations=2, alpha=0.0).plan(objective)
    elites = seen[0][bowl(seen[0]).topk(500, largest=False).indices]
    assert seen[1].mean(dim=0).numpy() == pytest.approx(elites.mean(dim=0).numpy(), abs=0.01)
    assert seen[1].std(dim=0).numpy() == pytest.approx(0.8796 * elites.std(dim=0).numpy(), rel=0.05)


def test_the_refit_keeps_a_share_of_the_old_mean():
    whole, half = (make(iterations=1, alpha=alpha).plan(bowl).actions for alpha in (0.0, 0.5))
    assert half == pytest.approx(0.5 * whole, abs=1e-6)
    assert np.abs(whole).min() > 0.01
