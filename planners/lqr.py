"""The linear-quadratic regulator: finite horizon, everything varying in time, linear and cross terms included."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearDynamics:
    """x' = F_t [x; u] + f_t over H steps.

    Attributes:
        matrix: F, (H, nx, nx + nu).
        offset: f, (H, nx).
    """

    matrix: Tensor
    offset: Tensor


@dataclass(frozen=True)
class QuadraticCost:
    """Σ_t ½ [x; u]ᵀ C_t [x; u] + c_tᵀ [x; u], and ½ xᵀ C x + cᵀ x of the last state.

    Attributes:
        matrix: C, (H, nx + nu, nx + nu), symmetric; its uu block positive definite once the future is added.
        vector: c, (H, nx + nu).
        final_matrix: (nx, nx), symmetric.
        final_vector: (nx,).
    """

    matrix: Tensor
    vector: Tensor
    final_matrix: Tensor
    final_vector: Tensor


@dataclass(frozen=True)
class LinearPolicy:
    """u = K_t x + k_t, and what it costs to go on from each step.

    With soft optimality the same recursion is Gaussian message passing, and the policy that maximises reward and
    entropy is N(K_t x + k_t, covariance_t) (Levine, CS 285; Ziebart 2010).

    Attributes:
        gains: K, (H, nu, nx).
        offsets: k, (H, nu).
        covariance: Q_uu⁻¹, (H, nu, nu).
        value_matrix: (H + 1, nx, nx): going on from x at step t costs ½ xᵀ V_t x + v_tᵀ x and a constant.
        value_vector: (H + 1, nx).
    """

    gains: Tensor
    offsets: Tensor
    covariance: Tensor
    value_matrix: Tensor
    value_vector: Tensor

    def follow(self, dynamics: LinearDynamics, state: Tensor) -> tuple[Tensor, Tensor]:
        """The states (H + 1, nx) and actions (H, nu) of the policy from a state (nx,)."""
        states, actions = [state], []
        for gain, offset, matrix, drift in zip(self.gains, self.offsets, dynamics.matrix, dynamics.offset, strict=True):
            actions.append(gain @ states[-1] + offset)
            states.append(matrix @ torch.cat([states[-1], actions[-1]]) + drift)
        return torch.stack(states), torch.stack(actions)


def solve_lqr(dynamics: LinearDynamics, cost: QuadraticCost) -> LinearPolicy:
    """The cheapest policy, by dynamic programming from the last step to the first.

    Source: S. Levine, CS 285, "Optimal control and planning"; Tassa 2011, "Theory and implementation of
    biomimetic motor controllers", chapter 2.

    Raises:
        ValueError: if a shape does not fit, or some Q_uu is not positive definite: then costs are not bounded
            below.
    """
    horizon, size, _ = dynamics.matrix.shape
    _check_shapes(dynamics, cost)
    value, slope = cost.final_matrix, cost.final_vector
    gains, offsets, covariances, values, slopes = [], [], [], [value], [slope]
    for step in reversed(range(horizon)):
        matrix, drift = dynamics.matrix[step], dynamics.offset[step]
        quadratic = cost.matrix[step] + matrix.T @ value @ matrix
        linear = cost.vector[step] + matrix.T @ (value @ drift + slope)
        of_actions, crossed = quadratic[size:, size:], quadratic[size:, :size]
        factor, failed = torch.linalg.cholesky_ex(of_actions)
        if failed:
            raise ValueError(
                f"LQR: Q_uu at step {step} of {horizon} is not positive definite, so the cost has no minimum; "
                f"give actions a positive quadratic cost."
            )
        gain = -torch.cholesky_solve(crossed, factor)
        offset = -torch.cholesky_solve(linear[size:, None], factor)[:, 0]
        value = quadratic[:size, :size] + crossed.T @ gain
        value = 0.5 * (value + value.T)
        slope = linear[:size] + crossed.T @ offset
        gains.append(gain)
        offsets.append(offset)
        covariances.append(torch.cholesky_inverse(factor))
        values.append(value)
        slopes.append(slope)
    return LinearPolicy(*(torch.stack(list(reversed(part))) for part in (gains, offsets, covariances, values, slopes)))


def _check_shapes(dynamics: LinearDynamics, cost: QuadraticCost) -> None:
    horizon, size, both = dynamics.matrix.shape
    expected = {
        "offset": (dynamics.offset, (horizon, size)),
        "cost matrix": (cost.matrix, (horizon, both, both)),
        "cost vector": (cost.vector, (horizon, both)),
        "final matrix": (cost.final_matrix, (size, size)),
        "final vector": (cost.final_vector, (size,)),
    }
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise ValueError(f"LQR: the {name} has shape {tuple(values.shape)}; it must be {shape}.")
