"""Soft indicator functions, as dm_control's rewards use them (Tassa et al. 2018)."""

import math

from torch import Tensor


def gaussian_tolerance(value: Tensor, *, bound: float = 0.0, margin: float) -> Tensor:
    """1 within ±bound, falling off as a Gaussian to 0.1 at ``margin`` beyond it."""
    beyond = (value.abs() - bound).clamp(min=0) / margin
    return (beyond**2 * math.log(0.1)).exp()


def linear_tolerance(value: Tensor, *, low: float, margin: float) -> Tensor:
    """1 at and above ``low``, falling off linearly to 0 at ``margin`` below it."""
    return (1 - (low - value) / margin).clamp(0, 1)
