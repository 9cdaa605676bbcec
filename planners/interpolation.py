"""Values between evenly spaced knots, the same for planning, shifting and playing back."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interpolation = Literal["hold", "linear", "cubic"]

Values = NDArray[np.floating]

TOLERANCE = 1e-6
"""Knots. A position this little below a knot counts as the knot: times are sums of floats."""


def resample(values: Values, positions: ArrayLike, interpolation: Interpolation) -> Values:
    """Read a series between its knots; beyond the first and the last knot it is constant.

    Cubic is the Catmull-Rom spline (Catmull and Rom, A class of local interpolating splines, 1974) with
    straight ends: it passes through the knots, is once differentiable, and can overshoot.

    Args:
        values: (..., K, n), a series of K knots.
        positions: (T,), in knots: 0 is the first knot, K − 1 the last.
        interpolation: "hold", "linear" or "cubic".

    Returns:
        (..., T, n).

    Raises:
        ValueError: if the interpolation has another name.
    """
    last = values.shape[-2] - 1
    clipped = np.clip(np.asarray(positions, dtype=np.float64), 0.0, last)
    index = np.floor(clipped + TOLERANCE).astype(np.intp)
    here: Values = values[..., index, :]
    if interpolation == "hold" or last == 0:
        return here
    following = np.minimum(index + 1, last)
    ahead: Values = values[..., following, :]
    s: Values = np.maximum(clipped - index, 0.0)[:, None].astype(values.dtype)
    if interpolation == "linear":
        return here + s * (ahead - here)
    if interpolation == "cubic":
        slopes = _slopes(values)
        m0, m1 = slopes[..., index, :], slopes[..., following, :]
        step = ahead - here
        return here + s * (m0 + s * (3 * step - 2 * m0 - m1 + s * (m0 + m1 - 2 * step)))
    raise ValueError(f"interpolation is {interpolation!r}; it must be 'hold', 'linear' or 'cubic'.")


def shift(
    values: Values,
    steps: float,
    padding: Values,
    interpolation: Interpolation,
) -> Values:
    """Move a series to a later start.

    Args:
        values: (..., H, n), each lasting one step.
        steps: how far, in steps; any fraction. A negative shift repeats the first value.
        padding: (n,) or broadcastable, what follows the end.
        interpolation: how values between knots are read.

    Returns:
        (..., H, n).
    """
    count = values.shape[-2]
    positions = steps + np.arange(count)
    past = positions >= count - TOLERANCE
    moved = resample(values, positions, interpolation)
    return np.where(past[:, None], padding, moved).astype(values.dtype)


def _slopes(values: Values) -> Values:
    """Central differences per knot, one-sided at the ends."""
    slopes: Values = np.gradient(values, axis=-2)
    return slopes
