"""How far and how fast a robot may move while its model is unsure: a box, a speed, and what lets go of both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardware.robot import Array, RobotSpec


@dataclass(frozen=True)
class Exploration:
    """Bounds on a robot that explores; inside the joints' own limits, never instead of them.

    Attributes:
        low: (nu,) smallest positions while nothing is trusted, rad.
        high: (nu,) largest positions while nothing is trusted, rad.
        speed: largest joint speed while nothing is trusted, rad/s.
        trust: asked once a period how far the model is trusted: 0 keeps to the box and the speed, 1 frees the
            joints' own limits, between them the bounds grow in proportion. NaN counts as 0.
    """

    low: Array
    high: Array
    speed: float
    trust: Callable[[], float] = lambda: 0.0

    def check(self, spec: RobotSpec) -> None:
        """Whether the bounds fit a robot.

        Raises:
            ValueError: if the box has no inside or lies outside the joints' limits, or the speed is not positive.
        """
        size = spec.action_size
        if np.shape(self.low) != (size,) or np.shape(self.high) != (size,):
            raise ValueError(
                f"{spec.name}: the box to explore has {np.size(self.low)} and {np.size(self.high)} bounds; give "
                f"{size} each, one per joint"
            )
        for joint, low, high, lowest, highest in zip(
            spec.joints, self.low, self.high, *spec.command_limits, strict=True
        ):
            if not (low <= high and high >= lowest and low <= highest):
                raise ValueError(
                    f"{spec.name}: joint {joint.name!r} is to explore ({low}, {high}), and its limits are "
                    f"({lowest}, {highest}); the box must be within them, the smaller number first"
                )
        if not self.speed > 0:
            raise ValueError(f"{spec.name}: the speed to explore with is {self.speed} rad/s; it must be above 0")

    def bounds(self, low: Array, high: Array, velocity: Array) -> tuple[Array, Array, Array]:
        """The limits in force now, from the robot's own: lowest and highest positions and largest speeds, (nu,)."""
        trusted = self.trust()
        part = min(max(trusted, 0.0), 1.0) if trusted == trusted else 0.0
        if part == 1.0:
            return low, high, velocity
        inner_low, inner_high = np.maximum(self.low, low), np.minimum(self.high, high)
        speed = np.minimum(self.speed, velocity)
        if part == 0.0:
            return inner_low, inner_high, speed
        return _between(inner_low, low, part), _between(inner_high, high, part), _between(speed, velocity, part)


def _between(start: Array, end: Array, part: float) -> Array:
    between: Array = (1.0 - part) * start + part * end
    return between
