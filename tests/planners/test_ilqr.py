from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Generator, Tensor

from models.dynamics import Rollout
from planners.cost import Cost, StepwiseCost, control_effort
from planners.ilqr import ILQR
from planners.lqr import LinearDynamics, QuadraticCost, solve_lqr
from planners.planner import Horizon


class Stepwise:
    """Any function of states and actions as a ``Dynamics``; two particles that disagree by ``apart``."""

    def __init__(self, state_size: int, action_size: int, apart: float = 0.0) -> None:
        self.state_size, self.action_size, self._apart = state_size, action_size, apart

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        raise NotImplementedError

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        states = [state.expand(2, len(actions), -1)]
        for index in range(actions.shape[1]):
            moved = self.step(states[-1], actions[:, index])
            states.append(moved + self._apart * torch.tensor([1.0, -1.0]).view(2, 1, 1).to(moved))
        return Rollout(torch.stack(states, 2))


class DoubleIntegrator(Stepwise):
    A = torch.tensor([[1.0, 0.1], [0.0, 1.0]], dtype=torch.float64)
    B = torch.tensor([[0.005], [0.1]], dtype=torch.float64)

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return states @ self.A.T + actions @ self.B.T


class Pendulum(Stepwise):
    """Angle 0 hangs, π stands; the torque cannot lift it at once."""

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        angle, rate = states[..., 0], states[..., 1]
        rate = rate + 0.05 * (-9.81 * angle.sin() + 5.0 * actions[..., 0])
        return torch.stack([angle + 0.05 * rate, rate], -1)


def horizon(steps: int) -> Horizon:
    return Horizon(steps, 1, 0.1, np.zeros(1, np.float32))


def squares(states: Tensor, actions: Tensor) -> Tensor:
    return states[..., :-1, :].square().sum(-1)


def quadratic(effort: float) -> Cost:
    return StepwiseCost(
        {"state": squares, "effort": control_effort},
        weights={"effort": effort},
        final=lambda last: 10 * last.square().sum(-1),
    )


def test_a_linear_quadratic_problem_is_solved_in_one_iteration_with_the_gains_of_lqr() -> None:
    model, start, steps = DoubleIntegrator(2, 1), torch.tensor([0.3, -0.1], dtype=torch.float64), 20
    plan = ILQR(horizon(steps), regularisation=0.0).plan(model, quadratic(2.0), start)
    both = torch.diag(torch.tensor([2.0, 2.0, 4.0], dtype=torch.float64))
    policy = solve_lqr(
        LinearDynamics(torch.cat([model.A, model.B], 1).repeat(steps, 1, 1), torch.zeros(steps, 2).double()),
        QuadraticCost(
            both.repeat(steps, 1, 1),
            torch.zeros(steps, 3).double(),
            20 * torch.eye(2, dtype=torch.float64),
            torch.zeros(2).double(),
        ),
    )
    states, actions = policy.follow(
        LinearDynamics(torch.cat([model.A, model.B], 1).repeat(steps, 1, 1), torch.zeros(steps, 2).double()), start
    )
    assert plan.finished == "converged"
    assert plan.iterations <= 2
    assert plan.actions == pytest.approx(actions.numpy(), abs=1e-5)
    assert plan.states == pytest.approx(states.numpy(), abs=1e-5)
    assert plan.gains == pytest.approx(policy.gains.numpy(), abs=1e-4)


def test_bounds_are_kept_and_the_optimum_within_them_is_found() -> None:
    model, start, steps = DoubleIntegrator(2, 1), torch.tensor([2.0, 0.0], dtype=torch.float64), 15
    cost = quadratic(0.01)
    plan = ILQR(horizon(steps), tolerance=1e-10).plan(model, cost, start)

    def price(actions: np.ndarray) -> tuple[float, np.ndarray]:
        tensor = torch.tensor(actions).view(1, steps, 1).requires_grad_()
        value = cost(model.rollout(start, tensor), tensor)[0, 0]
        value.backward()
        assert tensor.grad is not None
        return float(value.detach()), tensor.grad.numpy().ravel()

    best = scipy.optimize.minimize(price, np.zeros(steps), jac=True, bounds=[(-1, 1)] * steps, method="L-BFGS-B",
                                   options={"ftol": 1e-14, "gtol": 1e-10})  # fmt: skip
    assert np.abs(plan.actions).max() == pytest.approx(1.0)
    assert plan.actions.ravel() == pytest.approx(best.x, abs=1e-3)
    assert plan.cost == pytest.approx(best.fun, rel=1e-6)
    assert plan.gains is not None
    held = np.abs(plan.actions[:, 0]) == 1
    assert np.all(plan.gains[held] == 0)
    assert np.any(plan.gains[~held] != 0)


def swing_up() -> Cost:
    def upright(states: Tensor, actions: Tensor) -> Tensor:
        return 0.01 * states[..., :-1, 1].square()

    return StepwiseCost(
        {"rate": upright, "effort": control_effort},
        weights={"effort": 0.05},
        final=lambda last: 100 * (1 + last[..., 0].cos()) + 10 * last[..., 1].square(),
    )


def test_a_pendulum_swings_up_and_its_gains_bring_it_back_after_a_push() -> None:
    model, start = Pendulum(2, 1), torch.tensor([0.3, 0.0], dtype=torch.float64)
    plan = ILQR(horizon(60), iterations=300).plan(model, swing_up(), start)
    assert plan.states is not None
    assert plan.gains is not None
    assert np.cos(plan.states[-1, 0]) < -0.98
    falls = []
    for feedback in (0.0, 1.0):
        state = start + torch.tensor([0.05, 0.0], dtype=torch.float64)
        for step, action in enumerate(plan.actions):
            correction = feedback * plan.gains[step] @ (state.numpy() - plan.states[step])
            sent = torch.tensor(np.clip(action + correction, -1, 1), dtype=torch.float64)
            state = model.step(state, sent)
        falls.append(abs(float(state[0]) - plan.states[-1, 0]))
    assert falls[1] < 0.5 * falls[0]


def test_the_predicted_states_are_where_the_actions_lead() -> None:
    model, start = Pendulum(2, 1, apart=0.01), torch.tensor([0.3, 0.0])
    plan = ILQR(horizon(10), iterations=5).plan(model, swing_up(), start)
    led = model.rollout(start, torch.tensor(plan.actions)[None]).states.mean(0)[0]
    assert plan.states == pytest.approx(led.numpy(), abs=1e-3)
    assert plan.actions.dtype == np.float32


def test_a_plan_that_was_found_is_a_warm_start_that_has_converged() -> None:
    model, start = Pendulum(2, 1), torch.tensor([0.3, 0.0], dtype=torch.float64)
    planner = ILQR(horizon(20))
    cold = planner.plan(model, swing_up(), start)
    warm = planner.plan(model, swing_up(), start, warm_start=replace(cold, start_time=3.0))
    assert warm.start_time == 3.0
    assert warm.iterations < cold.iterations
    assert warm.cost <= cold.cost + 1e-9


def test_out_of_time_it_returns_what_it_has() -> None:
    times = iter([0.0, 0.0, 0.2] + [1.0] * 50)
    planner = ILQR(horizon(60), now=lambda: next(times))
    plan = planner.plan(Pendulum(2, 1), swing_up(), torch.tensor([0.3, 0.0], dtype=torch.float64), deadline=0.5)
    assert plan.finished == "deadline"
    assert plan.iterations == 2


def test_a_cost_that_is_not_finite_gives_the_fallback() -> None:
    cost = StepwiseCost({"broken": lambda states, actions: states[..., 1:, 0] * torch.nan})
    plan = ILQR(horizon(4)).plan(Pendulum(2, 1), cost, torch.tensor([0.3, 0.0]))
    assert plan.finished == "fallback"
    assert plan.cost == float("inf")
    assert np.all(plan.actions == 0)


def test_a_warm_start_of_another_horizon_is_refused() -> None:
    model, start = Pendulum(2, 1), torch.tensor([0.3, 0.0])
    plan = ILQR(horizon(4), iterations=1).plan(model, swing_up(), start)
    with pytest.raises(ValueError, match=r"\(4, 1\), but plans have \(5, 1\)"):
        ILQR(horizon(5)).plan(model, swing_up(), start, warm_start=plan)
