"""The way to rest from any motion: as fast as the acceleration and jerk limits allow, worked out before it is needed.

Every joint brakes for itself. The profiles are ruckig's (Berscheid and Kröger, "Jerk-limited Real-time Trajectory
Generation with Arbitrary Target States", RSS 2021), under velocity control to velocity zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, RuckigError, Synchronization, Trajectory

from hardware.robot import Array

SOLVED = (Result.Working, Result.Finished)


@dataclass(frozen=True)
class MotionState:
    """Where a command is and how it moves.

    Attributes:
        position: (nu,) rad or m.
        velocity: (nu,) its first derivative.
        acceleration: (nu,) its second derivative.
    """

    position: Array
    velocity: Array
    acceleration: Array

    @classmethod
    def resting(cls, position: Array) -> "MotionState":
        """At rest at a position."""
        return cls(position, np.zeros_like(position), np.zeros_like(position))


class StopTrajectory:
    """A motion that ends at rest, as a function of the time since it began.

    Args:
        trajectory: ruckig's, from position 0: under velocity control its extrema always include 0.
        start: (nu,) where it begins.

    Attributes:
        duration: seconds until every joint rests.
        lowest: (nu,) smallest positions on the way.
        highest: (nu,) largest positions on the way.
    """

    def __init__(self, trajectory: Any, start: Array) -> None:
        self._trajectory, self._start = trajectory, start
        self.duration: float = trajectory.duration
        extrema = trajectory.position_extrema
        self.lowest: Array = start + [bound.min for bound in extrema]
        self.highest: Array = start + [bound.max for bound in extrema]

    def shifted(self, offset: Array) -> "StopTrajectory":
        """The same motion from elsewhere, (nu,) further."""
        return StopTrajectory(self._trajectory, self._start + offset)

    def at(self, time: float) -> MotionState:
        """The motion so many seconds after it began; at rest from the end on."""
        moved, velocity, acceleration = self._trajectory.at_time(min(time, self.duration))
        position: Array = self._start + moved
        if time >= self.duration:
            return MotionState.resting(position)
        return MotionState(position, np.array(velocity), np.array(acceleration))

    def positions(self, count: int) -> Array:
        """(count, nu) positions at equal intervals of time, the first and the last included."""
        times = np.linspace(0.0, self.duration, count).tolist()
        positions: Array = self._start + np.array([self._trajectory.at_time(time)[0] for time in times])
        return positions


class Brakes:
    """Works out stop trajectories.

    Args:
        acceleration: (nu,) limits, rad/s².
        jerk: (nu,) limits, rad/s³; infinite where none applies.
    """

    def __init__(self, acceleration: Array, jerk: Array) -> None:
        size = len(acceleration)
        self._solver = Ruckig(size)
        self._size = size
        self._input = InputParameter(size)
        self._input.control_interface = ControlInterface.Velocity
        self._input.synchronization = Synchronization.No
        self._input.max_acceleration = acceleration.tolist()
        self._input.max_jerk = jerk.tolist()
        self._input.target_velocity = [0.0] * size
        self._input.target_acceleration = [0.0] * size

    def stop_from(self, state: MotionState) -> StopTrajectory | None:
        """The fastest stop from a state; None if the state cannot be stopped from within the limits."""
        self._input.current_position = [0.0] * self._size
        self._input.current_velocity = state.velocity.tolist()
        self._input.current_acceleration = state.acceleration.tolist()
        trajectory = Trajectory(self._size)
        try:
            solved = self._solver.calculate(self._input, trajectory) in SOLVED
        except RuckigError:
            return None
        return StopTrajectory(trajectory, state.position) if solved else None
