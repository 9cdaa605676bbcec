"""iLQR: linearise the model, make the cost quadratic, solve, search along the line, repeat."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics import Dynamics, Rollout
from planners.box_qp import solve_box_qp
from planners.cost import Cost
from planners.lqr import LinearDynamics, QuadraticCost
from planners.plan import Finished, Plan, read_only
from planners.planner import Horizon
from planners.settings import require, require_positive

_LINE = 10.0 ** -torch.linspace(0, 3, 11, dtype=torch.float64)
_SMALLEST_REGULARISATION, _LARGEST_REGULARISATION, _FACTOR = 1e-6, 1e10, 1.6
_ACCEPTED = 1e-4


class ILQR:
    """Iterative LQR with bounded actions, as a ``TrajectoryOptimizer``.

    The regularisation μ is added to V_xx, so that new trajectories stay near the old one in state rather than in
    action (Tassa, Erez and Todorov, Synthesis and Stabilization of Complex Behaviors through Online Trajectory
    Optimization, 2012); bounds on actions are kept by a box-constrained program at each step (Tassa, Mansard and
    Todorov, Control-Limited Differential Dynamic Programming, 2014). The cost's Hessians are brought to their
    nearest positive semidefinite ones, step by step.

    The model is followed without noise, at the mean of its particles: doubt does not steer this planner. Rewards
    and ends that a model predicts are ignored.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        now: Callable[[], float] = time.monotonic,
        iterations: int = 50,
        tolerance: float = 1e-5,
        regularisation: float = 1e-3,
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans.
            now: the loop's clock, seconds.
            iterations: linearisations per plan, at most.
            tolerance: relative gain of an iteration below which the plan has converged.
            regularisation: μ at the start of every plan.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        require(self, "iterations", iterations, at_least=1)
        require_positive(self, "tolerance", tolerance)
        require(self, "regularisation", regularisation, at_least=0)
        self.horizon, self.now = horizon, now
        self.iterations, self.tolerance, self.regularisation = iterations, tolerance, regularisation

    def plan(
        self,
        dynamics: Dynamics,
        cost: Cost,
        state: Tensor,
        warm_start: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Minimise the cost of the trajectory from a state, see ``TrajectoryOptimizer.plan``.

        Raises:
            ValueError: if the warm start is of another horizon or action size.
        """
        shape = (self.horizon.steps, self.horizon.action_size)
        if warm_start is not None and warm_start.actions.shape != shape:
            raise ValueError(
                f"ILQR: the warm start has actions of shape {warm_start.actions.shape}, but plans have {shape}. "
                f"Start without a warm start after changing the horizon."
            )
        hold = self.horizon.hold_action if warm_start is None else warm_start.hold_action
        start_time = self.now() if warm_start is None else warm_start.start_time
        begin = torch.as_tensor(hold).repeat(shape[0], 1) if warm_start is None else torch.tensor(warm_start.actions)
        problem = _Problem(dynamics, cost)
        current = problem.follow(state, begin.to(state).clamp(-1, 1))
        gains = torch.zeros(*shape, len(state), dtype=torch.float64)
        mu, done, evaluated = self.regularisation, 0, 1
        finished: Finished = "iterations"
        costs: list[float] = []
        for _ in range(self.iterations if torch.isfinite(current.cost) else 0):
            if deadline is not None and self.now() >= deadline:
                finished = "deadline"
                break
            step = None
            linear, quadratic = problem.expand(current)
            while step is None and mu <= _LARGEST_REGULARISATION:
                step = _backward(linear, quadratic, current.actions.double().cpu(), mu)
                mu = mu if step is not None else max(_SMALLEST_REGULARISATION, mu * _FACTOR**4)
            if step is None:
                break
            done += 1
            better, evaluated = self._search(problem, current, step, state), evaluated + len(_LINE)
            if better is None:
                if step.expected_gain < self.tolerance * (1 + abs(float(current.cost))):
                    gains, finished = step.gains, "converged"
                    break
                mu = max(_SMALLEST_REGULARISATION, mu * _FACTOR**4)
                if mu > _LARGEST_REGULARISATION:
                    break
                continue
            gain = float(current.cost - better.cost)
            current, gains = better, step.gains
            costs.append(float(current.cost))
            mu = mu / _FACTOR**2 if mu > _SMALLEST_REGULARISATION else 0.0
            if gain < self.tolerance * (1 + abs(float(current.cost))):
                finished = "converged"
                break
        if not torch.isfinite(current.cost):
            return self._fallback(hold, start_time)
        return Plan(
            start_time=start_time,
            dt=self.horizon.dt,
            actions=current.actions.cpu().numpy(),
            hold_action=read_only(hold),
            states=current.states.cpu().numpy(),
            gains=gains.numpy(),
            cost=float(current.cost),
            iterations=done,
            evaluated=evaluated,
            finished=finished,
            computed_at=self.now(),
            elite_costs=tuple(costs),
        )

    def _search(
        self, problem: "_Problem", current: "_Trajectory", step: "_Step", state: Tensor
    ) -> "_Trajectory | None":
        """The best of eleven step sizes, if it gains enough of what the quadratic model promised."""
        found = problem.follow_all(state, current, step)
        gains = (current.cost - found.cost).double().cpu()
        promised = step.linear_gain * _LINE + step.quadratic_gain * _LINE.square()
        worth = gains.isfinite() & (gains > 0) & (gains > _ACCEPTED * promised.clamp(min=0))
        if not worth.any():
            return None
        best = int(torch.where(worth, gains, -torch.inf).argmax())
        return _Trajectory(found.states[best], found.actions[best], found.cost[best])

    def _fallback(self, hold: object, start_time: float) -> Plan:
        held = read_only(hold)  # type: ignore[arg-type]
        return Plan(
            start_time=start_time,
            dt=self.horizon.dt,
            actions=held[None].repeat(self.horizon.steps, 0),
            hold_action=held,
            computed_at=self.now(),
        )


@dataclass(frozen=True)
class _Trajectory:
    """States (..., H + 1, nx), actions (..., H, nu) and their cost (...)."""

    states: Tensor
    actions: Tensor
    cost: Tensor


@dataclass(frozen=True)
class _Step:
    """What a backward pass proposes: offsets (H, nu), gains (H, nu, nx), and the gain α a + α² b that it expects."""

    offsets: Tensor
    gains: Tensor
    linear_gain: float
    quadratic_gain: float

    @property
    def expected_gain(self) -> float:
        return self.linear_gain + self.quadratic_gain


class _Problem:
    """The model and the cost, as functions of one trajectory."""

    def __init__(self, dynamics: Dynamics, cost: Cost) -> None:
        self._dynamics, self._cost = dynamics, cost

    def _step(self, states: Tensor, actions: Tensor) -> Tensor:
        """The next states (N, nx) of states (N, nx) and actions (N, nu)."""
        return self._dynamics.rollout(states, actions.unsqueeze(1)).states[:, :, 1].mean(0)

    def _price(self, states: Tensor, actions: Tensor) -> Tensor:
        """What trajectories (N, H + 1, nx) with actions (N, H, nu) cost: (N,)."""
        return self._cost(Rollout(states.unsqueeze(0)), actions)[0]

    @torch.no_grad()
    def follow(self, state: Tensor, actions: Tensor) -> _Trajectory:
        """The trajectory of actions (H, nu) from a state (nx,)."""
        states = [state]
        for action in actions:
            states.append(self._step(states[-1].unsqueeze(0), action.unsqueeze(0))[0])
        trajectory = torch.stack(states)
        return _Trajectory(trajectory, actions, self._price(trajectory.unsqueeze(0), actions.unsqueeze(0))[0])

    @torch.no_grad()
    def follow_all(self, state: Tensor, old: _Trajectory, step: _Step) -> _Trajectory:
        """The trajectories of every step size: eleven of them, under the new feedback."""
        sizes = _LINE.to(state)
        offsets, gains = step.offsets.to(state), step.gains.to(state)
        states, actions = [state.expand(len(sizes), -1)], []
        for index in range(len(offsets)):
            correction = (states[-1] - old.states[index]) @ gains[index].T
            action = old.actions[index] + sizes.unsqueeze(-1) * offsets[index] + correction
            actions.append(action.clamp(-1, 1))
            states.append(self._step(states[-1], actions[-1]))
        followed, sent = torch.stack(states, 1), torch.stack(actions, 1)
        return _Trajectory(followed, sent, self._price(followed, sent))

    def expand(self, at: _Trajectory) -> tuple[LinearDynamics, QuadraticCost]:
        """The model to first and the cost to second order around a trajectory, in float64 on the CPU."""
        return self._linearise(at), expand_cost(self._cost, at.states, at.actions)

    def _linearise(self, at: _Trajectory) -> LinearDynamics:
        with torch.enable_grad():
            states = at.states[:-1].detach().clone().requires_grad_()
            actions = at.actions.detach().clone().requires_grad_()
            following = self._step(states, actions)
            rows = [
                torch.cat(_gradients(following[:, column].sum(), (states, actions)), -1)
                for column in range(following.shape[-1])
            ]
        matrix = torch.stack(rows, 1).double().cpu()
        return LinearDynamics(matrix, torch.zeros(matrix.shape[:2], dtype=torch.float64))


def expand_cost(cost: Cost, states: Tensor, actions: Tensor) -> QuadraticCost:
    """A cost to second order, in differences from a trajectory, in float64 on the CPU.

    Each step has its block of the Hessian, brought to the nearest positive semidefinite one; terms that join several
    steps are left out.

    Args:
        cost: twice differentiable.
        states: (H + 1, nx).
        actions: (H, nu).
    """
    size = states.shape[-1]
    with torch.enable_grad():
        states = states.detach().clone().requires_grad_()
        actions = actions.detach().clone().requires_grad_()
        price = cost(Rollout(states[None, None]), actions.unsqueeze(0))[0, 0]
        slopes = _gradients(price, (states, actions), differentiable=True)
        columns = []
        for slope in slopes:
            for column in range(slope.shape[-1]):
                along = slope[:, column].sum()
                curved = _gradients(along, (states, actions)) if along.requires_grad else None
                columns.append(curved or (torch.zeros_like(states), torch.zeros_like(actions)))
    of_states = torch.stack([by_states for by_states, _ in columns], -1).double().cpu()
    of_actions = torch.stack([by_actions for _, by_actions in columns], -1).double().cpu()
    blocks = torch.cat([of_states[:-1], of_actions], 1)
    vectors = torch.cat([slopes[0][:-1], slopes[1]], -1).detach().double().cpu()
    return QuadraticCost(
        _positive(blocks),
        vectors,
        _positive(of_states[-1, :, :size].unsqueeze(0))[0],
        slopes[0][-1].detach().double().cpu(),
    )


def _backward(dynamics: LinearDynamics, cost: QuadraticCost, actions: Tensor, mu: float) -> _Step | None:
    """The bounded Riccati recursion in differences from the trajectory; None where some Q_uu is not positive."""
    horizon, size, _ = dynamics.matrix.shape
    value, slope = cost.final_matrix, cost.final_vector
    shift = mu * torch.eye(size, dtype=value.dtype)
    offsets, gains = [], []
    linear_gain = quadratic_gain = 0.0
    offset = torch.zeros_like(actions[0])
    for step in reversed(range(horizon)):
        matrix = dynamics.matrix[step]
        quadratic = cost.matrix[step] + matrix.T @ value @ matrix
        regularised = cost.matrix[step] + matrix.T @ (value + shift) @ matrix
        linear = cost.vector[step] + matrix.T @ slope
        low, high = -1 - actions[step], 1 - actions[step]
        solution = solve_box_qp(regularised[size:, size:], linear[size:], low, high, offset)
        if solution is None:
            return None
        offset, free = solution.minimum, solution.free
        gain = torch.zeros(len(offset), size, dtype=value.dtype)
        gain[free] = -torch.cholesky_solve(regularised[size:, :size][free], solution.factor)
        of_actions, crossed = quadratic[size:, size:], quadratic[size:, :size]
        linear_gain -= float(offset @ linear[size:])
        quadratic_gain -= float(0.5 * offset @ of_actions @ offset)
        slope = linear[:size] + gain.T @ of_actions @ offset + gain.T @ linear[size:] + crossed.T @ offset
        value = quadratic[:size, :size] + gain.T @ of_actions @ gain + gain.T @ crossed + crossed.T @ gain
        value = 0.5 * (value + value.T)
        offsets.append(offset)
        gains.append(gain)
    return _Step(torch.stack(offsets[::-1]), torch.stack(gains[::-1]), linear_gain, quadratic_gain)


def _gradients(value: Tensor, of: tuple[Tensor, Tensor], *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """Gradients of a scalar; zero where it does not depend on something."""
    found = torch.autograd.grad(
        value, of, retain_graph=True, create_graph=differentiable, allow_unused=True, materialize_grads=True
    )
    return found[0], found[1]


def _positive(matrices: Tensor) -> Tensor:
    """The nearest positive semidefinite matrices (..., n, n) of symmetric ones."""
    values, vectors = torch.linalg.eigh(0.5 * (matrices + matrices.mT))
    positive: Tensor = vectors @ torch.diag_embed(values.clamp(min=0)) @ vectors.mT
    return positive
