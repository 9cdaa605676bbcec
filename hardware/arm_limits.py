"""Everything that bounds the position commands of an arm: joints, exploration, obstacles, derivatives, braking."""

import numpy as np

from hardware.collision_guard import CollisionGuard
from hardware.exploration import Exploration
from hardware.motion_limits import MotionLimits
from hardware.robot import Array, RobotSpec
from hardware.step_limits import Reason
from hardware.twin import KinematicTwin, Proximity

OUTSIDE = 1e-6
"""rad beyond a limit that count as outside it."""

SAME = 1e-12
"""rad; commands that are no further apart are the same."""


class ArmLimits:
    """Position limits, barriers, then velocity, acceleration and jerk, then the way to rest.

    The next command is only taken if the arm can come to rest from it within its limits and without touching
    anything. Otherwise it brakes along the stop trajectory of the period before.

    Args:
        spec: the robot's limits; every joint has velocity and acceleration limits.
        twin: the arm's geometry, with the joints in the order of commands; None leaves out collisions.
        exploration: bounds inside the joints' own.

    Attributes:
        previous: (nu,) the command before; None before the first.

    Raises:
        ValueError: if a limit is missing or makes no sense.
    """

    def __init__(
        self, spec: RobotSpec, *, twin: KinematicTwin | None = None, exploration: Exploration | None = None
    ) -> None:
        self._names = [joint.name for joint in spec.joints]
        self._low, self._high = spec.command_limits
        self._rate = spec.control_rate
        self._motion = MotionLimits(spec)
        self._guard = None if twin is None else CollisionGuard(twin, spec.action_size, 1.0 / self._rate)
        self._exploration = exploration
        if exploration is not None:
            exploration.check(spec)
        self.previous: Array | None = None
        self._next = self._motion.motion, np.zeros(spec.action_size)

    @property
    def moving(self) -> bool:
        """Whether the command is on its way, and so has to brake before it rests."""
        return self.previous is not None and not self._motion.motion.resting

    def reset(self, start: Array | None) -> None:
        """Begin anew, at rest at a command if one is given."""
        self.previous = start
        if start is not None:
            self._motion.reset(start)

    def limit(self, requested: Array) -> tuple[Array, tuple[Reason, ...]]:
        """The command to send instead of a request, (nu,), and why it differs."""
        previous = self._motion.motion.state.position
        low, high, velocity = self._bounds(previous)
        clipped = np.minimum(np.maximum(requested, low), high)
        reasons = self._clipping(requested, clipped)
        motion = self._motion.towards(clipped, low, high, velocity)
        wanted = motion.state.position
        reasons += self._missed(clipped, wanted, velocity)
        if self._guard is not None and not (motion.resting and np.array_equal(wanted, previous)):
            bent, near = self._guard.nearest(wanted, previous, low, high, velocity)
            if bent is None:
                return self._braked(wanted, reasons, f"too close: {_named(near[0])}")
            if bent is not wanted:
                pace = (bent - previous) * self._rate
                motion = self._motion.towards(bent, low, high, velocity, pace)
                reasons += self._changes("barrier", wanted, motion.state.position)
            hit = self._guard.blocked(motion, previous)
            if hit is not None:
                return self._braked(motion.state.position, reasons, f"collision: {_named(hit)}")
        self._next = motion, clipped
        return motion.state.position, reasons

    def brake(self) -> Array:
        """The next command on the stop trajectory."""
        motion = self._motion.braking()
        self._next = motion, motion.state.position
        return motion.state.position

    def accept(self, sent: Array) -> None:
        """Go on from the command of ``limit`` or ``brake``, whatever the robot rounds it to."""
        self.previous = sent.copy()
        self._motion.accept(*self._next)

    def _bounds(self, previous: Array) -> tuple[Array, Array, Array]:
        """Limits in force, widened to a command outside them: from there commands only move inwards."""
        low, high, velocity = self._low, self._high, self._motion.velocity
        if self._exploration is not None:
            low, high, velocity = self._exploration.bounds(low, high, velocity)
        return (
            np.where(previous < low - OUTSIDE, previous, low),
            np.where(previous > high + OUTSIDE, previous, high),
            velocity,
        )

    def _clipping(self, requested: Array, clipped: Array) -> tuple[Reason, ...]:
        if np.array_equal(requested, clipped):
            return ()
        if self._exploration is None:
            return self._changes("position", requested, clipped)
        within = np.minimum(np.maximum(requested, self._low), self._high)
        return self._changes("position", requested, within) + self._changes("exploration", within, clipped)

    def _missed(self, requested: Array, command: Array, velocity: Array) -> tuple[Reason, ...]:
        """By how much a command falls short of a request, and the limits that the request would exceed."""
        amounts = np.abs(requested - command)
        if amounts.max() <= SAME:
            return ()
        exceeded = self._motion.exceeded(requested, velocity)
        return tuple(
            (exceeded[index], self._names[index], float(amounts[index])) for index in np.flatnonzero(amounts > SAME)
        )

    def _braked(self, wanted: Array, reasons: tuple[Reason, ...], why: str) -> tuple[Array, tuple[Reason, ...]]:
        command = self.brake()
        return command, reasons + self._changes(why, wanted, command)

    def _changes(self, limit: str, before: Array, after: Array) -> tuple[Reason, ...]:
        amounts = np.abs(before - after)
        return tuple((limit, self._names[index], float(amounts[index])) for index in np.flatnonzero(amounts > SAME))


def _named(proximity: Proximity) -> str:
    return f"{proximity.first} and {proximity.second}"
