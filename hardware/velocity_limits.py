"""Everything that bounds the velocity commands of an arm: the same as for positions, on the way that they lead along.

A velocity command moves a position on by one period. That position is limited as an arm's position command is, so
velocity, acceleration and jerk stay within limits, and the arm can always brake in front of its position limits and of
what is in its way. From outside the limits it only moves inwards.

Where the arm should be is integrated from what was sent. A real arm lags behind, and drifts: in the direction of its
motion it is believed to be wherever is further, what was measured or what was integrated, so that it brakes early
rather than late. A joint that rests is where it was measured.
"""

from dataclasses import replace

import numpy as np

from hardware.arm_limits import SAME, ArmLimits
from hardware.exploration import Exploration
from hardware.robot import Array, RobotSpec
from hardware.step_limits import Reason
from hardware.twin import KinematicTwin

AT_REST = 1e-9
"""rad/s; a joint that moves no faster rests."""


class VelocityLimits:
    """Bounds velocity commands by where they lead.

    Args:
        spec: the robot's limits; every joint has position, velocity and acceleration limits.
        twin: the arm's geometry, with the joints in the order of commands; None leaves out collisions.
        exploration: bounds inside the joints' own.

    Attributes:
        previous: (nu,) the command before, rad/s; None before the first.

    Raises:
        ValueError: if a limit is missing or makes no sense.
    """

    def __init__(
        self, spec: RobotSpec, *, twin: KinematicTwin | None = None, exploration: Exploration | None = None
    ) -> None:
        self._names = [joint.name for joint in spec.joints]
        self._period = 1.0 / spec.control_rate
        self._slowest, self._fastest = spec.command_limits
        self._way = ArmLimits(replace(spec, command_mode="position"), twin=twin, exploration=exploration)
        self.previous: Array | None = None
        self._next: Array | None = None

    @property
    def moving(self) -> bool:
        """Whether the arm has to brake before it rests."""
        return self.previous is not None and (self._way.moving or bool(self.previous.any()))

    @property
    def expected(self) -> Array | None:
        """(nu,) where the joints should be by now, rad; None before the first."""
        return self._way.expected

    def reset(self, start: Array | None) -> None:
        """Begin anew, at a velocity if one is given; ``locate`` says where."""
        self.previous = start
        self._way.reset(None)

    def locate(self, position: Array) -> None:
        """Take in where the joints are, (nu,) rad, as read in this period."""
        expected = self._way.expected
        if expected is None:
            self._way.reset(position, self.previous)
            return
        apart, velocity = position - expected, self._way.velocity
        ahead, rests = apart * velocity > 0, np.abs(velocity) <= AT_REST
        if (ahead | rests).any():
            self._way.shift(np.where(ahead | rests, apart, 0.0))

    def limit(self, requested: Array) -> tuple[Array, tuple[Reason, ...]]:
        """The command to send instead of a request, (nu,) rad/s, and why it differs."""
        possible = np.minimum(np.maximum(requested, self._slowest), self._fastest)
        where = self._where()
        self._next, reasons = self._way.limit(where + possible * self._period)
        sent = self._velocity(self._next - where)
        sent = np.where(np.abs(sent - requested) <= SAME / self._period, requested, sent)
        too_fast = np.abs(requested - possible)
        return sent, (
            *(("velocity", self._names[index], float(too_fast[index])) for index in np.flatnonzero(too_fast)),
            *((limit, joint, amount / self._period) for limit, joint, amount in reasons),
        )

    def brake(self) -> Array:
        """The next command on the way to rest."""
        where = self._where()
        self._next = self._way.brake()
        return self._velocity(self._next - where)

    def accept(self, sent: Array) -> None:
        """Go on from the command of ``limit`` or ``brake``."""
        assert self._next is not None
        self.previous = sent.copy()
        self._way.accept(self._next)

    def _where(self) -> Array:
        where = self._way.expected
        assert where is not None, "locate() comes before the first command"
        return where

    def _velocity(self, moved: Array) -> Array:
        return np.minimum(np.maximum(moved / self._period, self._slowest), self._fastest)
