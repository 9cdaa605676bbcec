"""Soft indicator functions, as dm_control's rewards use them (Tassa et al. 2018)."""

import math

from torch import Tensor


def gaussian_tolerance(value: Tensor, *, margin: float) -> Tensor:
    """1 at zero, falling off as a Gaussian to 0.1 at ±``margin``."""
    return ((value / margin) ** 2 * math.log(0.1)).exp()


def linear_tolerance(value: Tensor, *, low: float, margin: float) -> Tensor:
    """1 at and above ``low``, falling off linearly to 0 at ``margin`` below it."""
    return (1 - (low - value) / margin).clamp(0, 1)
