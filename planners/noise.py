"""Exploration noise over a horizon: white, coloured, splined, filtered, truncated.

Every function returns (N, H, nu) drawn from the generator that is passed in, on the generator's device.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor

from planners.interpolation import Interpolation, resample

Shape = tuple[int, ...]
"""(N, H, nu)."""

Noise = Callable[[Shape, Generator], Tensor]
"""A shape (N, H, nu) and a generator → noise of that shape, zero mean and, unless said, unit variance."""


def white(shape: Shape, generator: Generator) -> Tensor:
    """Independent standard normal noise."""
    return torch.randn(shape, generator=generator, device=generator.device)


def coloured(beta: float) -> Noise:
    """Noise with a spectrum of 1/f^β in time: 0 is white, 1 pink, 2 red; larger is smoother.

    Drawn in the frequency domain (Timmer and König, On generating power law noise, 1995), as iCEM does. The
    constant component gets the power of the lowest frequency. The variance of each step is exactly 1,
    whatever the horizon.

    Args:
        beta: the exponent, ≥ 0.
    """

    def draw(shape: Shape, generator: Generator) -> Tensor:
        count, steps, size = shape
        scale = _spectrum(beta, steps).to(generator.device)
        draws = torch.randn(count, size, len(scale), 2, generator=generator, device=generator.device)
        series: Tensor = torch.fft.irfft(torch.view_as_complex(draws * scale), n=steps, dim=-1)
        return series.transpose(1, 2)

    return white if beta == 0 else draw


def spline(knots: int, interpolation: Interpolation) -> Noise:
    """White noise on evenly spaced knots, interpolated over the horizon; the variance is 1 at the knots.

    Linear and cubic splines have their first and last knot on the first and last step; held knots share the
    horizon evenly.

    Args:
        knots: how many, ≥ 1; not more than the horizon's steps are used.
        interpolation: "hold", "linear" or "cubic".
    """

    def draw(shape: Shape, generator: Generator) -> Tensor:
        count, steps, size = shape
        used = min(knots, steps)
        positions = np.arange(steps) * used / steps if interpolation == "hold" else np.linspace(0, used - 1, steps)
        weights = resample(np.eye(used, dtype=np.float32), positions, interpolation)
        return torch.from_numpy(weights).to(generator.device) @ white((count, used, size), generator)

    return draw


def filtered(beta: float) -> Noise:
    """White noise smoothed in time, n_t = β ε_t + (1 − β) n_{t−1} with n_{−1} = 0; its variance is below 1.

    The filter of PDDM (Nagabandi et al. 2019), applied to the noise alone.

    Args:
        beta: in (0, 1]; 1 does not smooth.
    """

    def draw(shape: Shape, generator: Generator) -> Tensor:
        steps = shape[1]
        lag = torch.arange(steps)[:, None] - torch.arange(steps)
        weights = (beta * (1 - beta) ** lag.clamp(min=0)).tril().to(generator.device)
        return weights @ white(shape, generator)

    return draw


def truncated_normal(shape: Shape, generator: Generator, *, limit: float = 2.0) -> Tensor:
    """Standard normal noise conditioned on staying within ±limit, by inverting its distribution.

    Its variance is below 1 (0.774 at the limit of 2).
    """
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    reach = math.erf(limit / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv((2 * uniform - 1) * reach)).clamp(-limit, limit)


def smooth_noise(beta: float, knots: int | None, interpolation: Interpolation) -> Noise:
    """The noise that settings name: splined where knots are given, else coloured (white for β = 0)."""
    return coloured(beta) if knots is None else spline(knots, interpolation)


@cache
def _spectrum(beta: float, steps: int) -> Tensor:
    """(F, 2) scales of the real and imaginary parts of each frequency, for unit variance per step."""
    frequencies = torch.fft.rfftfreq(steps)
    frequencies[0] = 1 / steps
    parts = frequencies.pow(-beta / 2)[:, None].repeat(1, 2)
    ends = [0] if steps % 2 else [0, -1]
    # A real series has no imaginary part at these frequencies, so the real part carries all their power.
    parts[ends, 0] *= math.sqrt(2)
    parts[ends, 1] = 0
    contribution = torch.full((len(parts),), 4.0)
    contribution[ends] = 1
    deviation = (contribution * parts[:, 0].square()).sum().sqrt() / steps
    scales: Tensor = parts / deviation
    return scales
