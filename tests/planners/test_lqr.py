import numpy as np
import pytest
import scipy.linalg
import torch

from planners.box_qp import solve_box_qp
from planners.lqr import LinearDynamics, QuadraticCost, solve_lqr

DOUBLE = torch.float64


def random_problem(
    seed: int, horizon: int = 7, size: int = 3, controls: int = 2
) -> tuple[LinearDynamics, QuadraticCost]:
    """Everything varies in time; linear and cross terms are there."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.normal(size=shape), dtype=DOUBLE)

    def positive(count: int, width: int) -> torch.Tensor:
        root = draw(count, width, width)
        return root @ root.mT + 0.1 * torch.eye(width, dtype=DOUBLE)

    both = size + controls
    return LinearDynamics(0.5 * draw(horizon, size, both), draw(horizon, size)), QuadraticCost(
        positive(horizon, both), draw(horizon, both), positive(1, size)[0], draw(size)
    )


def total(dynamics: LinearDynamics, cost: QuadraticCost, state: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    price = torch.zeros((), dtype=DOUBLE)
    for step, action in enumerate(actions):
        both = torch.cat([state, action])
        price = price + 0.5 * both @ cost.matrix[step] @ both + cost.vector[step] @ both
        state = dynamics.matrix[step] @ both + dynamics.offset[step]
    return price + 0.5 * state @ cost.final_matrix @ state + cost.final_vector @ state


@pytest.mark.parametrize("seed", range(5))
def test_no_other_actions_are_cheaper(seed: int) -> None:
    dynamics, cost = random_problem(seed)
    state = torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE)
    states, actions = solve_lqr(dynamics, cost).follow(dynamics, state)
    flat = actions.flatten().clone().requires_grad_()
    gradient = torch.autograd.functional.jacobian(lambda a: total(dynamics, cost, state, a.view_as(actions)), flat)
    hessian = torch.autograd.functional.hessian(lambda a: total(dynamics, cost, state, a.view_as(actions)), flat)
    assert gradient.abs().max() < 1e-8
    assert torch.linalg.eigvalsh(hessian).min() > 0
    assert states.shape == (8, 3)


def test_the_value_says_what_going_on_costs() -> None:
    dynamics, cost = random_problem(11)
    policy = solve_lqr(dynamics, cost)

    def difference(price: bool, one: torch.Tensor, other: torch.Tensor) -> float:
        if price:
            return float(total(dynamics, cost, one, policy.follow(dynamics, one)[1])
                         - total(dynamics, cost, other, policy.follow(dynamics, other)[1]))  # fmt: skip
        value, slope = policy.value_matrix[0], policy.value_vector[0]
        return float(0.5 * one @ value @ one + slope @ one - 0.5 * other @ value @ other - slope @ other)

    one, other = torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE), torch.tensor([-1.0, 0.0, 2.0], dtype=DOUBLE)
    assert difference(True, one, other) == pytest.approx(difference(False, one, other))


@pytest.mark.parametrize("crossed", [False, True])
def test_a_long_horizon_has_the_gains_of_the_algebraic_riccati_equation(crossed: bool) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(4, 4)) * 0.6, rng.normal(size=(4, 2))
    q, r = np.diag([1.0, 2.0, 0.5, 1.0]), np.diag([0.3, 1.0])
    s = 0.1 * rng.normal(size=(4, 2)) if crossed else np.zeros((4, 2))
    riccati = scipy.linalg.solve_discrete_are(a, b, q, r, s=s)
    expected = -np.linalg.solve(r + b.T @ riccati @ b, b.T @ riccati @ a + s.T)
    horizon = 200
    weights = np.block([[q, s], [s.T, r]])
    policy = solve_lqr(
        LinearDynamics(torch.tensor(np.hstack([a, b])).repeat(horizon, 1, 1), torch.zeros(horizon, 4, dtype=DOUBLE)),
        QuadraticCost(
            torch.tensor(weights).repeat(horizon, 1, 1),
            torch.zeros(horizon, 6, dtype=DOUBLE),
            torch.zeros(4, 4, dtype=DOUBLE),
            torch.zeros(4, dtype=DOUBLE),
        ),
    )
    assert policy.gains[0].numpy() == pytest.approx(expected, abs=1e-9)
    assert policy.value_matrix[0].numpy() == pytest.approx(riccati, abs=1e-8)
    assert policy.covariance[0].numpy() == pytest.approx(np.linalg.inv(r + b.T @ riccati @ b), abs=1e-9)


def test_a_cost_without_a_minimum_is_refused() -> None:
    dynamics, cost = random_problem(0)
    cost.matrix[-1, 3:, 3:] = -100 * torch.eye(2, dtype=DOUBLE)
    with pytest.raises(ValueError, match="step 6 of 7 is not positive definite"):
        solve_lqr(dynamics, cost)


def test_wrong_shapes_are_named() -> None:
    dynamics, cost = random_problem(0)
    with pytest.raises(ValueError, match=r"cost vector has shape \(7, 4\); it must be \(7, 5\)"):
        solve_lqr(dynamics, QuadraticCost(cost.matrix, cost.vector[:, :4], cost.final_matrix, cost.final_vector))


@pytest.mark.parametrize("seed", range(20))
def test_a_bounded_program_ends_where_no_allowed_step_helps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, 4))
    hessian = torch.tensor(root @ root.T + 0.05 * np.eye(4))
    gradient = torch.tensor(3 * rng.normal(size=4))
    low, high = torch.tensor(rng.uniform(-1, 0, 4)), torch.tensor(rng.uniform(0, 1, 4))
    solution = solve_box_qp(hessian, gradient, low, high, torch.zeros(4, dtype=DOUBLE))
    assert solution is not None
    slope = gradient + hessian @ solution.minimum
    assert ((solution.minimum >= low) & (solution.minimum <= high)).all()
    assert slope[solution.free].abs().max() < 1e-6 if solution.free.any() else True
    held = ~solution.free
    at_low = solution.minimum == low
    assert (torch.where(at_low, slope, -slope)[held] > 0).all()


def test_a_program_that_curves_downwards_has_no_solution() -> None:
    bounds = torch.ones(2, dtype=DOUBLE)
    hessian = -torch.eye(2, dtype=DOUBLE)
    assert solve_box_qp(hessian, torch.zeros(2, dtype=DOUBLE), -bounds, bounds, torch.zeros(2, dtype=DOUBLE)) is None
