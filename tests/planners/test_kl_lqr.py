from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.dynamics import Rollout
from planners.kl_lqr import GaussianPolicy, KLConstrainedLQR, divergence, expected_cost, follow, improve
from planners.lqr import LinearDynamics, QuadraticCost, solve_lqr
from planners.planner import Horizon

DOUBLE = torch.float64
STEPS, SIZE, CONTROLS = 6, 3, 2


@dataclass(frozen=True)
class Local:
    matrix: torch.Tensor
    offset: torch.Tensor
    noise: torch.Tensor
    initial_mean: torch.Tensor
    initial_covariance: torch.Tensor
    policy_gains: torch.Tensor
    policy_offsets: torch.Tensor
    policy_covariance: torch.Tensor


def some_local(seed: int = 0) -> Local:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    return Local(
        0.4 * draw(STEPS, SIZE, SIZE + CONTROLS),
        0.1 * draw(STEPS, SIZE),
        0.01 * torch.eye(SIZE, dtype=DOUBLE).repeat(STEPS, 1, 1),
        draw(SIZE),
        0.1 * torch.eye(SIZE, dtype=DOUBLE),
        0.1 * draw(STEPS, CONTROLS, SIZE),
        0.1 * draw(STEPS, CONTROLS),
        0.2 * torch.eye(CONTROLS, dtype=DOUBLE).repeat(STEPS, 1, 1),
    )


def last_policy(local: Local) -> GaussianPolicy:
    return GaussianPolicy(local.policy_gains, local.policy_offsets, local.policy_covariance)


def some_cost() -> QuadraticCost:
    both = torch.eye(SIZE + CONTROLS, dtype=DOUBLE).repeat(STEPS, 1, 1)
    vector = -torch.ones(STEPS, SIZE + CONTROLS, dtype=DOUBLE)
    return QuadraticCost(both, vector, 3 * torch.eye(SIZE, dtype=DOUBLE), -torch.ones(SIZE, dtype=DOUBLE))


def test_without_a_bound_it_is_the_lqr() -> None:
    local, cost = some_local(), some_cost()
    policy, _ = improve(local, last_policy(local), cost, bound=1e12)
    expected = solve_lqr(LinearDynamics(local.matrix, local.offset), cost)
    assert torch.allclose(policy.gains, expected.gains, atol=1e-4)
    assert torch.allclose(policy.offsets, expected.offsets, atol=1e-4)


def test_with_hardly_a_bound_it_stays_at_the_last_policy() -> None:
    local = some_local()
    last = last_policy(local)
    policy, _ = improve(local, last, some_cost(), bound=1e-6)
    assert torch.allclose(policy.gains, last.gains, atol=1e-3)
    assert torch.allclose(policy.offsets, last.offsets, atol=1e-3)
    assert torch.allclose(policy.covariance, last.covariance, atol=1e-3)


@pytest.mark.parametrize("bound", [0.1, 1.0, 10.0])
def test_the_bound_is_used_up_and_kept(bound: float) -> None:
    local = some_local(3)
    last = last_policy(local)
    policy, _ = improve(local, last, some_cost(), bound)
    apart = float(divergence(policy, last, follow(local, policy)))
    assert 0.9 * bound <= apart <= bound


def test_a_wider_bound_is_cheaper() -> None:
    local, cost = some_local(1), some_cost()
    last = last_policy(local)
    policies = [improve(local, last, cost, bound)[0] for bound in (0.01, 0.1, 1.0, 10.0)]
    prices = [float(expected_cost(cost, follow(local, policy), policy)) for policy in (last, *policies)]
    assert prices == sorted(prices, reverse=True)


def test_moments_and_divergence_are_those_of_samples() -> None:
    local, cost = some_local(2), some_cost()
    last = last_policy(local)
    policy, _ = improve(local, last, cost, bound=2.0)
    ahead = follow(local, policy)
    generator = torch.Generator().manual_seed(0)
    count = 20_000
    root = torch.linalg.cholesky(local.initial_covariance)
    states = local.initial_mean + torch.randn(count, SIZE, generator=generator, dtype=DOUBLE) @ root.T
    apart, price = torch.zeros(count, dtype=DOUBLE), torch.zeros(count, dtype=DOUBLE)
    for step in range(STEPS):
        log = []
        for one in (policy, last):
            mean = states @ one.gains[step].T + one.offsets[step]
            log.append(torch.distributions.MultivariateNormal(mean, one.covariance[step]))
        drawn = torch.randn(count, CONTROLS, generator=generator, dtype=DOUBLE)
        actions = log[0].mean + drawn @ torch.linalg.cholesky(policy.covariance[step]).T
        apart += log[0].log_prob(actions) - log[1].log_prob(actions)
        both = torch.cat([states, actions], -1)
        price += 0.5 * ((both @ cost.matrix[step]) * both).sum(-1) + both @ cost.vector[step]
        pushed = torch.randn(count, SIZE, generator=generator, dtype=DOUBLE)
        states = both @ local.matrix[step].T + local.offset[step]
        states = states + pushed @ torch.linalg.cholesky(local.noise[step]).T
    price += 0.5 * ((states @ cost.final_matrix) * states).sum(-1) + states @ cost.final_vector
    assert torch.allclose(states.mean(0), ahead.states[-1], atol=0.03)
    assert torch.allclose(states.T.cov(), ahead.spread[-1], atol=0.03)
    assert float(apart.mean()) == pytest.approx(float(divergence(policy, last, ahead)), abs=0.2)
    assert float(price.mean()) == pytest.approx(float(expected_cost(cost, ahead, policy)), abs=0.2)


class Model:
    state_size, action_size = SIZE, CONTROLS

    def __init__(self) -> None:
        self.local = some_local()

    def rollout(self, state: torch.Tensor, actions: torch.Tensor, *, generator: object = None) -> Rollout:
        raise AssertionError("local dynamics are all that is needed")


def quadratic(rollout: Rollout, actions: torch.Tensor) -> torch.Tensor:
    return (rollout.states - 1).square().sum((2, 3)) + 0.1 * actions.square().sum((1, 2))


def plan(steps: int = STEPS, **settings: float) -> object:
    horizon = Horizon(steps, CONTROLS, 0.1, np.zeros(CONTROLS, np.float32))
    planner = KLConstrainedLQR(horizon, generator=torch.Generator().manual_seed(0), **settings)
    return planner.plan(Model(), quadratic, torch.zeros(SIZE))  # type: ignore[arg-type]


def test_a_plan_has_the_policys_gains_around_its_mean() -> None:
    calm, noisy = plan(exploration=0.0), plan(exploration=0.3)
    assert calm.gains.shape == (STEPS, CONTROLS, SIZE)  # type: ignore[attr-defined]
    assert calm.states.shape == (STEPS + 1, SIZE)  # type: ignore[attr-defined]
    assert np.array_equal(calm.states, noisy.states)  # type: ignore[attr-defined]
    assert np.abs(calm.actions - noisy.actions).max() > 0.1  # type: ignore[attr-defined]


def test_other_models_and_other_horizons_are_refused() -> None:
    with pytest.raises(ValueError, match="span 6 steps, but plans have 7"):
        plan(STEPS + 1)
    horizon = Horizon(STEPS, CONTROLS, 0.1, np.zeros(CONTROLS, np.float32))
    planner = KLConstrainedLQR(horizon, generator=torch.Generator())
    with pytest.raises(ValueError, match="no local dynamics"):
        planner.plan(object(), quadratic, torch.zeros(SIZE))  # type: ignore[arg-type]
