import math

import numpy as np
import pytest
import torch

from planners.mppi import MPPI, temperature_for
from planners.plan import Plan
from planners.planner import Horizon

ONE = Horizon(1, 1, 0.1, np.zeros(1))


def make(horizon=ONE, seed=0, **settings):
    return MPPI(horizon, generator=torch.Generator().manual_seed(seed), now=lambda: 0.0, **settings)


def warm(*values):
    return Plan(0.0, 0.1, np.array([values]).T, np.zeros(1))


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("control_cost", [False, True])
def test_one_step_is_the_softmin_expectation_in_closed_form(temperature, control_cost):
    """A Gaussian proposal and a quadratic cost c/2 (a − g)² have a Gaussian posterior.

    Dropping the control cost, the prior is N(u, σ²); keeping it tilts that by exp(−u ε/σ²), which makes it
    N(0, σ²): the paper's passive dynamics.
    """
    u, std, c, goal = 0.2, 0.15, 3.0, -0.1
    prior = 0.0 if control_cost else u
    expected = (prior / std**2 + c * goal / temperature) / (1 / std**2 + c / temperature)
    planner = make(population=200_000, std=std, temperature=temperature, control_cost=control_cost)
    plan = planner.plan(lambda a: c / 2 * (a[:, 0, 0] - goal).square(), warm(u))
    assert plan.actions[0, 0] == pytest.approx(expected, abs=3e-3)


def test_flat_costs_leave_the_mean_alone_and_std_scales_the_noise():
    flat = make(population=50_000, std=0.2).plan(lambda a: torch.zeros(len(a)), warm(0.3))
    assert flat.actions[0, 0] == pytest.approx(0.3, abs=0.005)
    for std in (0.1, 0.3):
        seen = []
        make(population=20_000, std=std).plan(lambda a, seen=seen: (seen.append(a.clone()), a[:, 0, 0])[1])
        assert float(seen[0].std()) == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize("wanted", [1.5, 10.0, 120.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_the_effective_sample_size_is_held_whatever_the_scale_of_costs(wanted, scale):
    costs = scale * torch.rand(200, generator=torch.Generator().manual_seed(0)).square() + 7 * scale
    costs[3] = torch.inf
    push = torch.linspace(-0.2, 0.2, 200)
    for tilt in (push, torch.zeros(200)):
        temperature = temperature_for(wanted, costs, tilt)
        weights = torch.softmax(-(costs - costs.min()).double() / temperature - tilt.double(), dim=0)
        assert 1 / float(weights.square().sum()) == pytest.approx(wanted, rel=1e-3)


def test_adaptive_temperature_makes_the_plan_independent_of_the_unit_of_cost():
    goal = torch.linspace(-0.5, 0.5, 5)[:, None]
    horizon = Horizon(5, 1, 0.1, np.zeros(1))

    def plan(scale, **settings):
        cost = lambda a: scale * (a - goal).square().sum(dim=(1, 2))  # noqa: E731
        return make(horizon, effective_samples=30, iterations=5, **settings).plan(cost).actions

    assert plan(1e4) == pytest.approx(plan(1.0), abs=1e-4)
    assert np.abs(plan(1.0, beta=2.0) - plan(1.0)).max() > 1e-3


def test_equal_costs_have_a_temperature():
    assert math.isfinite(temperature_for(5.0, torch.ones(10), torch.zeros(10)))
    assert math.isfinite(temperature_for(5.0, torch.tensor([1.0, torch.inf]), torch.zeros(2)))


def test_splined_noise_plans_smoothly():
    horizon = Horizon(20, 1, 0.05, np.zeros(1))
    rough = torch.sign(torch.randn(20, 1, generator=torch.Generator().manual_seed(1)))

    def cost(actions):
        return (actions - 0.5 * rough).square().sum(dim=(1, 2))

    def jerk(plan):
        return np.abs(np.diff(plan.actions, n=2, axis=0)).mean()

    white = make(horizon, iterations=10).plan(cost)
    splined = make(horizon, iterations=10, knots=4).plan(cost)
    assert jerk(splined) < 0.3 * jerk(white)


def test_settings_that_exclude_one_another_are_refused():
    with pytest.raises(ValueError, match="white noise"):
        make(control_cost=True, beta=1.0)
    with pytest.raises(ValueError, match=r"beta is 1\.0 and knots is 3"):
        make(knots=3, beta=1.0)


def test_an_average_of_candidates_on_the_bound_stays_within_it():
    """Weights sum to 1 only up to rounding."""
    for population in range(3, 300, 7):
        plan = make(population=population, std=1e-9).plan(lambda a: torch.linspace(0, 0.1, len(a)), warm(1.0))
        assert plan.actions[0, 0] <= 1
