"""A smooth motion to where somebody points, however they point."""

import numpy as np
from ruckig import InputParameter, Ruckig, RuckigError, Synchronization, Trajectory

from hardware.robot import Array, RobotSpec
from hardware.stopping import SOLVED, MotionState

GENTLE = 0.7
"""Of a joint's limits of acceleration and jerk: the rest is left to the safety filter."""

UNSTATED = 0.1
"""s in which a joint without a limit of acceleration reaches its speed."""


class LedMotion:
    """The fastest motion to a target that ends at rest there, worked out anew whenever the target moves.

    It goes on from where it was itself, not from where the robot is seen to be: that is older, and who steers by it
    hunts. Profiles are ruckig's (Berscheid and Kröger, RSS 2021).

    Args:
        spec: the robot's limits.
        speed: (nu,) largest speeds, rad/s.
        start: (nu,) where it begins, at rest.
    """

    def __init__(self, spec: RobotSpec, speed: Array, start: Array) -> None:
        size = len(speed)
        self._solver, self._input = Ruckig(size), InputParameter(size)
        self._input.synchronization = Synchronization.No
        self._input.max_velocity = speed.tolist()
        self._input.max_acceleration = [
            fastest / UNSTATED if joint.acceleration is None else GENTLE * joint.acceleration
            for joint, fastest in zip(spec.joints, speed.tolist(), strict=True)
        ]
        self._input.max_jerk = [np.inf if joint.jerk is None else GENTLE * joint.jerk for joint in spec.joints]
        self._input.target_velocity = self._input.target_acceleration = [0.0] * size
        self._state = MotionState.resting(start)
        self._way: Trajectory | None = None

    def advance(self, seconds: float) -> None:
        """Go on along the present way."""
        if self._way is not None:
            self._state = MotionState(*map(np.array, self._way.at_time(seconds)))

    def stay_near(self, command: Array, farthest: float) -> None:
        """Wait, joint by joint, for a robot that something keeps ``farthest`` rad behind."""
        near = np.clip(self._state.position, command - farthest, command + farthest)
        waits = near != self._state.position
        self._state = MotionState(
            near, np.where(waits, 0.0, self._state.velocity), np.where(waits, 0.0, self._state.acceleration)
        )

    def towards(self, target: Array, times: Array) -> Array:
        """Turn to a target, (nu,); returns the positions (n, nu) so many seconds from now."""
        self._input.current_position = self._state.position.tolist()
        self._input.current_velocity = self._state.velocity.tolist()
        self._input.current_acceleration = self._state.acceleration.tolist()
        self._input.target_position = target.tolist()
        way = Trajectory(len(target))
        try:
            solved = self._solver.calculate(self._input, way) in SOLVED
        except RuckigError:
            solved = False
        if not solved:
            self._state, self._way = MotionState.resting(self._state.position), None
            return np.tile(self._state.position, (len(times), 1))
        self._way = way
        return np.array([way.at_time(time)[0] for time in times.tolist()])
