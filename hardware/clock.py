"""The one clock that loop, robot, planner and filter share: real, or simulated."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forwards."""

    def now(self) -> float:
        """The time in seconds since an arbitrary origin."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return when ``now() >= deadline``."""
        ...


class MonotonicClock:
    """Real time, untouched by changes of the wall clock."""

    def now(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def sleep_until(self, deadline: float) -> None:
        """Sleep until the deadline; returns at once if it has passed."""
        remaining = deadline - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)


class VirtualClock:
    """Simulated time: stands still until a simulated robot or a sleeper moves it."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds of simulated time."""
        return self._now

    def sleep_until(self, deadline: float) -> None:
        """Jump to the deadline; never backwards."""
        self._now = max(self._now, deadline)

    def advance(self, duration: float) -> None:
        """Let simulated time pass.

        Raises:
            ValueError: if the duration is negative.
        """
        if duration < 0:
            raise ValueError(f"a clock cannot be advanced by {duration} s: it must be 0 or more")
        self._now += duration
