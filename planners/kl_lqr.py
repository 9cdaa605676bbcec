"""LQR near the last policy: the best linear-Gaussian policy within a KL divergence of the one followed before."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from models.dynamics import Dynamics
from planners.cost import Cost
from planners.ilqr import expand_cost
from planners.lqr import LinearDynamics, QuadraticCost, solve_lqr
from planners.plan import Plan, read_only
from planners.planner import Horizon
from planners.settings import require, require_positive

_LOWEST, _HIGHEST = 1e-6, 1e12
_HALVINGS = 40
_CLOSE = 0.1


class LocalModel(Protocol):
    """Linear-Gaussian dynamics and behaviour around the rollouts of one policy; see ``models.image.solar_local``."""

    @property
    def matrix(self) -> Tensor:
        """(H, nx, nx + nu)."""
        ...

    @property
    def offset(self) -> Tensor:
        """(H, nx)."""
        ...

    @property
    def noise(self) -> Tensor:
        """(H, nx, nx)."""
        ...

    @property
    def initial_mean(self) -> Tensor:
        """(nx,)."""
        ...

    @property
    def initial_covariance(self) -> Tensor:
        """(nx, nx)."""
        ...

    @property
    def policy_gains(self) -> Tensor:
        """(H, nu, nx)."""
        ...

    @property
    def policy_offsets(self) -> Tensor:
        """(H, nu)."""
        ...

    @property
    def policy_covariance(self) -> Tensor:
        """(H, nu, nu)."""
        ...


@dataclass(frozen=True)
class GaussianPolicy:
    """u ~ N(gains_t x + offsets_t, covariance_t).

    Attributes:
        gains: (H, nu, nx).
        offsets: (H, nu).
        covariance: (H, nu, nu).
    """

    gains: Tensor
    offsets: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Marginals:
    """Where a policy leads.

    Attributes:
        states: means, (H + 1, nx).
        spread: covariances, (H + 1, nx, nx).
        actions: means, (H, nu).
    """

    states: Tensor
    spread: Tensor
    actions: Tensor


class KLConstrainedLQR:
    """One policy improvement as a ``TrajectoryOptimizer``, for models with ``local`` dynamics such as SOLAR.

    It minimises the expected cost ℓ under the local dynamics, subject to KL(new ‖ last) ≤ H ε between the
    distributions over trajectories. For a multiplier η of the constraint the solution is the LQR policy
    N(K x + k, Q_uu⁻¹) for the cost ℓ / η − log π_last(u | x); η is found by bisection.

    The plan starts from the local model's first state and spans all of its steps; its actions carry the policy's
    noise, by which the next local model is identified.

    Source: S. Levine and P. Abbeel, "Learning Neural Network Policies with Guided Policy Search under Unknown
    Dynamics", 2014.
    """

    def __init__(
        self,
        horizon: Horizon,
        *,
        generator: Generator,
        now: Callable[[], float] = time.monotonic,
        step: float = 2.0,
        exploration: float = 0.2,
    ) -> None:
        """Set up the planner.

        Args:
            horizon: the shape of plans; as many steps as the local dynamics have.
            generator: draws the noise in actions.
            now: the loop's clock, seconds.
            step: ε, nats per step.
            exploration: standard deviation of noise in actions beside the policy's own, which shrinks from step to
                step until too little varies for dynamics to be identified; 0 follows the policy's mean.

        Raises:
            ValueError: if a setting is outside its limits.
        """
        require_positive(self, "step", step)
        require(self, "exploration", exploration, at_least=0)
        self.horizon, self.now, self._generator = horizon, now, generator
        self.step, self.exploration = step, exploration

    def plan(
        self,
        dynamics: Dynamics,
        cost: Cost,
        state: Tensor,
        warm_start: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Improve the last policy, see ``TrajectoryOptimizer.plan``; state, warm start and deadline do not matter.

        Raises:
            ValueError: if the model has no local dynamics, or of another number of steps than the plan.
        """
        local: LocalModel | None = getattr(dynamics, "local", None)
        if local is None:
            raise ValueError("KLConstrainedLQR: the model has no local dynamics; use it with SOLAR, or plan with ilqr.")
        if len(local.matrix) != self.horizon.steps:
            raise ValueError(
                f"KLConstrainedLQR: the local dynamics span {len(local.matrix)} steps, but plans have "
                f"{self.horizon.steps}: set planner.horizon to the task's episode_steps."
            )
        last = GaussianPolicy(local.policy_gains, local.policy_offsets, local.policy_covariance)
        quadratic = _quadratic(cost, follow(local, last))
        policy, tried = improve(local, last, quadratic, self.horizon.steps * self.step)
        ahead = follow(local, policy)
        actions = ahead.actions.cpu() + self._noise(policy)
        return Plan(
            start_time=self.now(),
            dt=self.horizon.dt,
            actions=actions.clamp(-1, 1).numpy(),
            hold_action=read_only(self.horizon.hold_action),
            states=ahead.states.cpu().numpy(),
            gains=policy.gains.cpu().numpy(),
            cost=float(expected_cost(quadratic, ahead, policy)),
            iterations=tried,
            evaluated=1,
            finished="converged",
            computed_at=self.now(),
        )

    def _noise(self, policy: GaussianPolicy) -> Tensor:
        """(H, nu)."""
        if not self.exploration:
            return torch.zeros_like(policy.offsets).cpu()
        floor = self.exploration**2 * torch.eye(policy.offsets.shape[-1]).to(policy.covariance)
        root = torch.linalg.cholesky(policy.covariance + floor).cpu()
        drawn = torch.randn(policy.offsets.shape, generator=self._generator, device=self._generator.device)
        noise: Tensor = (root @ drawn.to(root).unsqueeze(-1)).squeeze(-1)
        return noise


def improve(local: LocalModel, last: GaussianPolicy, cost: QuadraticCost, bound: float) -> tuple[GaussianPolicy, int]:
    """The best policy with KL(new ‖ last) ≤ bound nats, and how many multipliers were tried."""
    linear = LinearDynamics(local.matrix, local.offset)
    surprise = _surprise(last)
    low, high = _LOWEST, _HIGHEST
    best = last
    for tried in range(_HALVINGS):
        multiplier = low if tried == 0 else (low * high) ** 0.5
        try:
            solved = solve_lqr(linear, _weighted(cost, 1 / multiplier, surprise))
        except ValueError:
            low = multiplier
            continue
        policy = GaussianPolicy(solved.gains, solved.offsets, solved.covariance)
        apart = float(divergence(policy, last, follow(local, policy)))
        if apart <= bound:
            best, high = policy, multiplier
            if tried == 0 or apart >= (1 - _CLOSE) * bound:
                return best, tried + 1
        else:
            low = multiplier
    return best, _HALVINGS


def follow(local: LocalModel, policy: GaussianPolicy) -> Marginals:
    """Where a policy leads from the local model's first state."""
    mean, spread = local.initial_mean, local.initial_covariance
    states, spreads, actions = [mean], [spread], []
    size = len(mean)
    for step, gain in enumerate(policy.gains):
        action = gain @ mean + policy.offsets[step]
        crossed = gain @ spread
        both = torch.cat(
            [
                torch.cat([spread, crossed.mT], 1),
                torch.cat([crossed, crossed @ gain.mT + policy.covariance[step]], 1),
            ]
        )
        matrix = local.matrix[step]
        mean = matrix @ torch.cat([mean, action]) + local.offset[step]
        spread = matrix @ both @ matrix.mT + local.noise[step]
        states.append(mean)
        spreads.append(spread[:size, :size])
        actions.append(action)
    return Marginals(torch.stack(states), torch.stack(spreads), torch.stack(actions))


def divergence(policy: GaussianPolicy, last: GaussianPolicy, ahead: Marginals) -> Tensor:
    """KL(policy ‖ last) of the distributions over trajectories, where ``ahead`` is where policy leads, nats."""
    gains, offsets = policy.gains - last.gains, policy.offsets - last.offsets
    inverse = torch.linalg.inv(last.covariance)
    shift = (gains @ ahead.states[:-1].unsqueeze(-1)).squeeze(-1) + offsets
    moved = gains @ ahead.spread[:-1] @ gains.mT + shift.unsqueeze(-1) * shift.unsqueeze(-2)
    trace = (inverse * (policy.covariance + moved)).sum((-2, -1))
    volume = torch.logdet(last.covariance) - torch.logdet(policy.covariance)
    total: Tensor = 0.5 * (trace + volume - policy.offsets.shape[-1]).sum()
    return total


def expected_cost(cost: QuadraticCost, ahead: Marginals, policy: GaussianPolicy) -> Tensor:
    """Of a policy that leads ``ahead``, up to the constant that a quadratic cost leaves out."""
    both = torch.cat([ahead.states[:-1], ahead.actions], -1)
    crossed = policy.gains @ ahead.spread[:-1]
    upper = torch.cat([ahead.spread[:-1], crossed.mT], -1)
    lower = torch.cat([crossed, crossed @ policy.gains.mT + policy.covariance], -1)
    square = torch.cat([upper, lower], -2) + both.unsqueeze(-1) * both.unsqueeze(-2)
    last = ahead.spread[-1] + torch.outer(ahead.states[-1], ahead.states[-1])
    running = 0.5 * (cost.matrix * square).sum() + (cost.vector * both).sum()
    total: Tensor = running + 0.5 * (cost.final_matrix * last).sum() + cost.final_vector @ ahead.states[-1]
    return total


def _quadratic(cost: Cost, around: Marginals) -> QuadraticCost:
    """A cost to second order around where a policy leads, in [x; u] themselves."""
    expanded = expand_cost(cost, around.states.float(), around.actions.float())
    both = torch.cat([around.states[:-1], around.actions], -1).unsqueeze(-1)
    return QuadraticCost(
        expanded.matrix,
        expanded.vector - (expanded.matrix @ both).squeeze(-1),
        expanded.final_matrix,
        expanded.final_vector - expanded.final_matrix @ around.states[-1],
    )


def _surprise(last: GaussianPolicy) -> tuple[Tensor, Tensor]:
    """−log π_last(u | x) as the matrix and the vector of a quadratic cost of [x; u]."""
    inverse = torch.linalg.inv(last.covariance)
    across = torch.cat([-last.gains, torch.eye(last.gains.shape[1]).to(last.gains).expand(len(inverse), -1, -1)], -1)
    matrix = across.mT @ inverse @ across
    vector = -(across.mT @ inverse @ last.offsets.unsqueeze(-1)).squeeze(-1)
    return matrix, vector


def _weighted(cost: QuadraticCost, weight: float, surprise: tuple[Tensor, Tensor]) -> QuadraticCost:
    return QuadraticCost(
        weight * cost.matrix + surprise[0],
        weight * cost.vector + surprise[1],
        weight * cost.final_matrix,
        weight * cost.final_vector,
    )
