"""Position commands whose velocity, acceleration and jerk stay within limits, and that can always be braked in time.

A command that the limits allow is sent as it is. From one that they do not allow, the motion catches up with what is
asked for in the shortest time, by ruckig (Berscheid and Kröger, RSS 2021), and without overshooting where the
request stands still. A new command is taken only if the stop trajectory from it stays within the joints' limits;
otherwise the motion follows the stop trajectory that was found good one period before. So there always is one.

The limits hold for the differences of the commands sent, and for a continuous motion through them. Behind the last
three commands lies either ruckig's own motion or the parabola through them; both have a jerk within the limit, so
whatever continues them smoothly has differences within the limits too.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from ruckig import InputParameter, Ruckig, RuckigError, Synchronization, Trajectory

from hardware.robot import Array, RobotSpec
from hardware.stopping import SOLVED, Brakes, MotionState, StopTrajectory

Mask = NDArray[np.bool_]

EDGE = 1e-10
"""rad; how far rounding may take a motion past a position limit."""

PURSUIT = 0.95
"""Largest speed of a moving request that is pursued, as a part of the limit: the rest is there to catch up with."""


@dataclass(frozen=True)
class Motion:
    """What may be commanded next.

    Attributes:
        state: the next command and how it moves.
        stop: the stop trajectory from there.
        since: seconds since that stop trajectory began; 0 unless it is being followed.
    """

    state: MotionState
    stop: StopTrajectory
    since: float = 0.0

    @property
    def resting(self) -> bool:
        """Whether the command stands still."""
        return self.since >= self.stop.duration

    def way_to_rest(self, count: int) -> Array:
        """(count, nu) positions from here to rest; one where it rests already."""
        return self.state.position[np.newaxis] if self.resting else self.stop.positions(count)


class MotionLimits:
    """Moves a command within the limits of its derivatives.

    Args:
        spec: of a robot whose commands are positions; every joint has a velocity and an acceleration limit. Where
            it has no jerk limit the acceleration may jump.

    Attributes:
        velocity: (nu,) rad/s.
        acceleration: (nu,) rad/s².
        jerk: (nu,) rad/s³; infinite where none applies.

    Raises:
        ValueError: if the commands are no positions, or a limit is missing or not positive.
    """

    def __init__(self, spec: RobotSpec) -> None:
        if spec.command_mode != "position":
            raise ValueError(
                f"{spec.name}: its commands are of mode {spec.command_mode!r}; limiting jerk, braking in front of "
                f"obstacles and exploring within bounds need 'position'"
            )
        self._spec = spec
        self._period = 1.0 / spec.control_rate
        self.velocity = self._limits("velocity")
        self.acceleration = self._limits("acceleration")
        self.jerk = self._limits("jerk")
        size = spec.action_size
        self._brakes = Brakes(self.acceleration, self.jerk)
        self._solver = Ruckig(size)
        self._input = InputParameter(size)
        self._input.synchronization = Synchronization.No
        self._input.max_acceleration = self.acceleration.tolist()
        self._input.max_jerk = self.jerk.tolist()
        self._input.target_velocity = [0.0] * size
        self._input.target_acceleration = [0.0] * size
        self._input.target_position = [0.0] * size
        self.reset(np.zeros(size))

    def reset(self, position: Array, velocity: Array | None = None) -> None:
        """Start at a position, (nu,), at a steady velocity, (nu,); at rest if None."""
        velocity = np.zeros_like(position) if velocity is None else velocity
        self.motion = self._steady(position, velocity)
        before, last = (position - periods * self._period * velocity for periods in (2, 1))
        self._requests = last, position
        self._commands = before, last, position

    def shift(self, offset: Array) -> None:
        """Go on with the same motion elsewhere, (nu,) further."""
        motion = self.motion
        state = replace(motion.state, position=motion.state.position + offset)
        self.motion = Motion(state, motion.stop.shifted(offset), motion.since)
        first, last = self._requests
        self._requests = first + offset, last + offset
        before, last, now = self._commands
        self._commands = before + offset, last + offset, now + offset

    def braking(self) -> Motion:
        """One period further on the stop trajectory."""
        since = self.motion.since + self._period
        return Motion(self.motion.stop.at(since), self.motion.stop, since)

    def towards(self, requested: Array, low: Array, high: Array, velocity: Array) -> Motion:
        """The next motion towards a request.

        Args:
            requested: (nu,) where to be one period from now.
            low: (nu,) smallest positions.
            high: (nu,) largest positions. From outside them the motion only goes inwards.
            velocity: (nu,) largest speeds, at most ``self.velocity``.
        """
        state = self._followed(requested, velocity)
        return self._braked_in_time(state, requested, low, high, velocity)

    def bent(self, motion: Motion, command: Array, low: Array, high: Array, velocity: Array) -> Motion:
        """A next motion towards a command, (nu,), that moves on as it does from the present one.

        Joints whose command is that of ``motion`` go on with it; the others are as in ``towards``.
        """
        pace = (command - self.motion.state.position) / self._period
        kept = np.abs(command - motion.state.position) <= EDGE
        state = _chosen(kept, motion.state, self._followed(command, velocity, pace))
        return self._braked_in_time(state, command, low, high, velocity)

    def onto(self, command: Array, low: Array, high: Array, velocity: Array) -> Motion | None:
        """The motion that is at a command, (nu,), one period from now; None if a limit forbids it.

        Unlike ``towards`` it does not care what comes after the command, except that it can be braked.
        """
        state, allowed = self._parabola(command, velocity)
        if not allowed.all():
            return None
        stop, good = self._checked(state, low, high)
        return Motion(state, stop) if stop is not None and good.all() else None

    def reachable(self, velocity: Array) -> tuple[Array, Array]:
        """The lowest and the highest commands (nu,) that the limits allow one period from now."""
        before, last, now = self._commands
        steady = (now - 2 * last + before) / self._period**2
        change = self.jerk * self._period
        slowest = np.maximum(steady - change, -self.acceleration) * self._period**2 + (now - last)
        fastest = np.minimum(steady + change, self.acceleration) * self._period**2 + (now - last)
        step = velocity * self._period
        return now + np.maximum(slowest, -step), now + np.minimum(fastest, step)

    def accept(self, motion: Motion, requested: Array) -> None:
        """Go on from a motion whose command was sent, and remember what was asked for."""
        self.motion = motion
        self._requests = self._requests[-1], requested
        self._commands = self._commands[1], self._commands[2], motion.state.position

    def exceeded(self, requested: Array, velocity: Array) -> list[str]:
        """For each joint the limit that keeps it from being at the request one period from now."""
        speed, acceleration, jerk = self._derivatives(requested)
        return [
            "velocity" if fast else "acceleration" if hard else "jerk" if sudden else "braking"
            for fast, hard, sudden in zip(
                np.abs(speed) > velocity,
                np.abs(acceleration) > self.acceleration,
                np.abs(jerk) > self.jerk,
                strict=True,
            )
        ]

    def _limits(self, name: str) -> Array:
        limits = [getattr(joint, name) for joint in self._spec.joints]
        for joint, limit in zip(self._spec.joints, limits, strict=True):
            if limit is None and name != "jerk":
                raise ValueError(
                    f"{self._spec.name}: joint {joint.name!r} has no {name} limit; without one it cannot be known "
                    f"where it comes to rest. State it in the robot's file"
                )
            if limit is not None and not limit > 0:
                raise ValueError(
                    f"{self._spec.name}: joint {joint.name!r} has a {name} limit of {limit}; it must be above 0"
                )
        return np.array([np.inf if limit is None else limit for limit in limits])

    def _steady(self, position: Array, velocity: Array) -> Motion:
        state = MotionState(np.array(position), np.array(velocity), np.zeros_like(position))
        stop = self._brakes.stop_from(state)
        if stop is None:
            raise ValueError(f"{self._spec.name}: there is no motion from {position}; look for a broken sensor")
        return Motion(state, stop)

    def _derivatives(self, requested: Array) -> tuple[Array, Array, Array]:
        """Differences of the last commands and a request: velocity, acceleration, jerk."""
        before, last, now = self._commands
        speed_before, speed = (now - last) / self._period, (requested - now) / self._period
        acceleration_before = (speed_before - (last - before) / self._period) / self._period
        acceleration = (speed - speed_before) / self._period
        return speed, acceleration, (acceleration - acceleration_before) / self._period

    def _parabola(self, command: Array, velocity: Array) -> tuple[MotionState, Mask]:
        """The state on the parabola that ends at a command, and for which joints the limits allow it."""
        mean, acceleration, jerk = self._derivatives(command)
        speed = mean + acceleration * self._period / 2
        peak = np.abs(speed + acceleration * np.abs(acceleration) / (2 * self.jerk))
        allowed = (
            (np.maximum(np.maximum(np.abs(mean), np.abs(speed)), peak) <= velocity)
            & (np.abs(acceleration) <= self.acceleration)
            & (np.abs(jerk) <= self.jerk)
        )
        return MotionState(command, speed, acceleration), allowed

    def _followed(self, requested: Array, velocity: Array, pace: Array | None = None) -> MotionState:
        """At a request where that is good, and on the fastest way to it where it is not.

        The request moves on at a pace, (nu,); None takes it from the requests so far.
        """
        state, good = self._direct(requested, velocity)
        if good.all():
            return state
        pace = self._pace(requested) if pace is None else pace
        return _chosen(good, state, self._pursuit(requested, pace, velocity))

    def _braked_in_time(self, state: MotionState, requested: Array, low: Array, high: Array, velocity: Array) -> Motion:
        """The motion from a state; joints that could not stop within their limits halt at the request, or brake."""
        stop, good = self._checked(state, low, high)
        if not good.all():
            state = _chosen(good, state, self._pursuit(requested, np.zeros_like(requested), velocity))
            stop, good = self._checked(state, low, high)
        if not good.all():
            state = _chosen(good, state, self.braking().state)
            stop, good = self._checked(state, low, high)
        return Motion(state, stop) if stop is not None and good.all() else self.braking()

    def _direct(self, requested: Array, velocity: Array) -> tuple[MotionState, Mask]:
        """The state on the parabola that ends at the request, and for which joints it is good to be there.

        That is where the limits allow it, and would allow to go on with the request as it has moved so far: one that
        stands still must not be passed through at speed.
        """
        state, allowed = self._parabola(requested, velocity)
        first, last = self._requests
        bend = (requested - 2 * last + first) / self._period**2
        mean = (requested - self._commands[-1]) / self._period
        after = bend + ((requested - last) / self._period - mean) / self._period
        sudden = np.maximum(np.abs(after - state.acceleration), np.abs(bend - after)) / self._period
        return state, allowed & (np.abs(after) <= self.acceleration) & (sudden <= self.jerk)

    def _pace(self, requested: Array) -> Array:
        """How fast the request moves: by itself and as seen from the command, whichever is slower.

        A request that is stated as a step from the command would seem to move while only the command does.
        """
        itself = (requested - self._requests[-1]) / self._period
        ahead = (requested - self.motion.state.position) / self._period
        slower = np.minimum(np.abs(itself), np.abs(ahead))
        return np.where(itself * ahead > 0, np.copysign(slower, ahead), 0.0)

    def _pursuit(self, requested: Array, pace: Array, velocity: Array) -> MotionState:
        """One period along the fastest way to a request that moves on at a pace, or braking where there is none.

        The way is worked out in the frame of the request, where it stands still at 0.
        """
        state = self.motion.state
        pace = np.minimum(np.maximum(pace, -PURSUIT * velocity), PURSUIT * velocity)
        self._input.current_position = (state.position - (requested - pace * self._period)).tolist()
        self._input.current_velocity = (state.velocity - pace).tolist()
        self._input.current_acceleration = state.acceleration.tolist()
        self._input.max_velocity = (velocity - pace).tolist()
        self._input.min_velocity = (-velocity - pace).tolist()
        trajectory = Trajectory(self._spec.action_size)
        try:
            solved = self._solver.calculate(self._input, trajectory) in SOLVED
        except RuckigError:
            solved = False
        if not solved:
            return self.braking().state
        offset, speed, acceleration = trajectory.at_time(self._period)
        return MotionState(requested + offset, pace + speed, np.array(acceleration))

    def _checked(self, state: MotionState, low: Array, high: Array) -> tuple[StopTrajectory | None, Mask]:
        """The stop from a state, and for which joints it stays within limits, or goes inwards from outside them."""
        stop = self._brakes.stop_from(state)
        if stop is None:
            return None, np.zeros(self._spec.action_size, dtype=bool)
        position, before = state.position, self.motion.state.position
        good = (position >= np.minimum(low, before) - EDGE) & (position <= np.maximum(high, before) + EDGE)
        lowest, highest = np.minimum(low, position), np.maximum(high, position)
        return stop, good & (stop.lowest >= lowest - EDGE) & (stop.highest <= highest + EDGE)


def _chosen(good: Mask, state: MotionState, other: MotionState) -> MotionState:
    """Joint by joint a state where it is good, and another where it is not."""
    return MotionState(
        np.where(good, state.position, other.position),
        np.where(good, state.velocity, other.velocity),
        np.where(good, state.acceleration, other.acceleration),
    )
