"""Everything that bounds the position commands of an arm: joints, exploration, obstacles, derivatives, braking."""

from collections.abc import Iterator

import numpy as np

from hardware.collision_guard import CollisionGuard
from hardware.exploration import Exploration
from hardware.motion_limits import Motion, MotionLimits
from hardware.robot import Array, RobotSpec
from hardware.step_limits import Reason
from hardware.twin import KinematicTwin, Proximity

CREEP = 0.01
"""rad/s; an arm that is pressed against something and would glide along it slower than this stands still."""

PROGRESS = 0.1
"""The part of a wanted step that gliding must make of it, for an arm that creeps."""

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

    @property
    def expected(self) -> Array | None:
        """(nu,) where the joints should be; None before the first command."""
        return self.previous

    @property
    def velocity(self) -> Array:
        """(nu,) how fast the command moves, rad/s."""
        return self._motion.motion.state.velocity

    def reset(self, start: Array | None, velocity: Array | None = None) -> None:
        """Begin anew, at a command if one is given, which moves steadily; at rest if no velocity is given."""
        self.previous = start
        if start is not None:
            self._motion.reset(start, velocity)
            if self._guard is not None:
                self._guard.reset(start)

    def locate(self, position: Array) -> None:
        """Nothing: position commands lead wherever the joints are."""

    def shift(self, offset: Array) -> None:
        """Go on with the same motion elsewhere, (nu,) further."""
        assert self.previous is not None
        self.previous = self.previous + offset
        self._motion.shift(offset)

    def limit(self, requested: Array) -> tuple[Array, tuple[Reason, ...]]:
        """The command to send instead of a request, (nu,), and why it differs."""
        previous = self._motion.motion.state.position
        low, high, velocity = self._bounds()
        clipped = np.minimum(np.maximum(requested, np.minimum(low, previous)), np.maximum(high, previous))
        reasons = self._clipping(requested, clipped)
        motion = self._motion.towards(clipped, low, high, velocity)
        wanted = motion.state.position
        reasons += self._missed(clipped, wanted, velocity)
        if self._guard is not None and not (motion.resting and np.array_equal(wanted, previous)):
            clear, obstacle = self._clear(self._guard, motion, (low, high, velocity))
            if clear is None:
                command = self.brake()
                return command, reasons + self._changes(f"collision: {obstacle}", wanted, command)
            if clear is not motion:
                motion = clear
                reasons += self._changes("barrier", wanted, motion.state.position)
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

    def _bounds(self) -> tuple[Array, Array, Array]:
        """Lowest and highest positions and largest speeds in force."""
        low, high, velocity = self._low, self._high, self._motion.velocity
        return (low, high, velocity) if self._exploration is None else self._exploration.bounds(low, high, velocity)

    def _clear(
        self, guard: CollisionGuard, motion: Motion, bounds: tuple[Array, Array, Array]
    ) -> tuple[Motion | None, str]:
        """A motion itself, or one bent around what is near; None if there is no clear one, and what is in the way."""
        previous = self._motion.motion.state.position
        near = guard.near(previous)
        obstacle = near[0] if near else None
        if guard.admits(motion.state.position, previous, near):
            obstacle = guard.blocked(motion, previous)
            if obstacle is None:
                return motion, ""
        for bent in self._bent(guard, motion, near, bounds):
            obstacle = guard.blocked(bent, previous)
            if obstacle is None:
                return bent, ""
        return None, "" if obstacle is None else f"{obstacle.first} and {obstacle.second}"

    def _bent(
        self, guard: CollisionGuard, motion: Motion, near: list[Proximity], bounds: tuple[Array, Array, Array]
    ) -> Iterator[Motion]:
        """Motions close to a wanted one that heed what is near.

        First the way towards the closest command at any acceleration, where joints that need not be bent move as they
        were to; then, for where joints that lag behind it spoil that, the closest command that they can all be at
        one period from now.
        """
        if not near:
            return
        low, high, velocity = bounds
        wanted, previous = motion.state.position, self._motion.motion.state.position
        lowest, highest = np.minimum(low, previous), np.maximum(high, previous)
        step = velocity / self._rate
        answer = guard.nearest(
            wanted, previous, near, np.maximum(previous - step, lowest), np.minimum(previous + step, highest)
        )
        if answer is not None:
            step, whole = answer - previous, wanted - previous
            if step @ whole < PROGRESS * (whole @ whole) and self._creeps():
                return
            yield self._motion.bent(motion, answer, low, high, velocity)
        slowest, fastest = self._motion.reachable(velocity)
        answer = guard.nearest(wanted, previous, near, np.maximum(slowest, lowest), np.minimum(fastest, highest))
        onto = None if answer is None else self._motion.onto(answer, low, high, velocity)
        if onto is not None:
            yield onto

    def _creeps(self) -> bool:
        return bool(np.abs(self._motion.motion.state.velocity).max() < CREEP)

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

    def _changes(self, limit: str, before: Array, after: Array) -> tuple[Reason, ...]:
        amounts = np.abs(before - after)
        return tuple((limit, self._names[index], float(amounts[index])) for index in np.flatnonzero(amounts > SAME))
