"""How far what is sent lags behind what is asked for."""

import numpy as np

from hardware.robot import Array

MEMORY = 0.98
"""How much of what was learned is kept from tick to tick."""

LONGEST = 0.15
"""s; a filter that holds back for longer refuses rather than lags."""


class Lag:
    """Estimates by least squares the time by which sent commands follow requests: sent(t) = requested(t − lag).

    To first order the distance between them is the lag times the request's velocity.

    Args:
        period: seconds between ticks.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._before: Array | None = None
        self._product = self._square = 0.0

    @property
    def seconds(self) -> float:
        """The lag; 0 before anything has moved."""
        return float(np.clip(self._product / self._square, 0.0, LONGEST)) if self._square > 1e-9 else 0.0

    def add(self, requested: Array, sent: Array) -> None:
        """Take one tick into account."""
        if self._before is not None:
            velocity = (requested - self._before) / self._period
            self._product = MEMORY * self._product + float(velocity @ (requested - sent))
            self._square = MEMORY * self._square + float(velocity @ velocity)
        self._before = requested.copy()
