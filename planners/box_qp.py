"""A small quadratic program with bounds: the step of box-constrained differential dynamic programming."""

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_STEPS = 100
_STEP_FACTOR, _ARMIJO = 0.6, 0.1


@dataclass(frozen=True)
class BoxSolution:
    """The minimum of ½ xᵀ H x + gᵀ x within bounds.

    Attributes:
        minimum: (n,).
        free: (n,) bool, which variables are not held at a bound.
        factor: the Cholesky factor of the free rows and columns of H.
    """

    minimum: Tensor
    free: Tensor
    factor: Tensor


def solve_box_qp(hessian: Tensor, gradient: Tensor, low: Tensor, high: Tensor, start: Tensor) -> BoxSolution | None:
    """Projected Newton (Bertsekas 1982), as in Tassa, Mansard and Todorov, Control-Limited DDP, 2014.

    Args:
        hessian: (n, n), symmetric.
        gradient: (n,).
        low: (n,).
        high: (n,).
        start: (n,) where to begin; clamped.

    Returns:
        the solution, or None where the Hessian's free part is not positive definite.
    """
    point = torch.clamp(start, low, high)
    value = _value(hessian, gradient, point)
    for _ in range(_MOST_STEPS):
        slope = gradient + hessian @ point
        held = ((point == low) & (slope > 0)) | ((point == high) & (slope < 0))
        free = ~held
        factor, failed = torch.linalg.cholesky_ex(hessian[free][:, free])
        if failed:
            return None
        if not free.any() or slope[free].norm() < 1e-10 * (1 + gradient.norm()):
            break
        target = -torch.cholesky_solve((gradient + hessian[:, held] @ point[held])[free].unsqueeze(-1), factor)[:, 0]
        direction = torch.zeros_like(point)
        direction[free] = target - point[free]
        decrease = float(slope @ direction)
        if decrease > -1e-14 * (1 + abs(value)):
            break
        size = 1.0
        while True:
            trial = torch.clamp(point + size * direction, low, high)
            trial_value = _value(hessian, gradient, trial)
            if trial_value - value <= _ARMIJO * size * decrease or size < 1e-12:
                break
            size *= _STEP_FACTOR
        point, value = trial, trial_value
    return BoxSolution(point, free, factor)


def _value(hessian: Tensor, gradient: Tensor, point: Tensor) -> float:
    return float(0.5 * point @ hessian @ point + gradient @ point)
