"""What the control tick commands: stand, go to a pose, follow plans, or brake."""

from typing import Protocol

import numpy as np

from hardware.robot import Array, RobotSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.schedule import PlanSchedule, integral

GENTLE_SECONDS = 0.25
"""How long braking from full speed takes where a robot states no acceleration limit."""

ARRIVED = 1e-6

WAITS = 10.0
"""Steps that a motion to a pose may be ahead of what was sent."""

LEAD = 3.0
"""Periods of the model at full action that a plan's command may be ahead of what was sent."""


class Motion(Protocol):
    """A source of commands."""

    def command(self, now: float, previous: Array) -> Array:
        """The command (nu,) to be in force until the next tick, from the one that was sent last."""
        ...

    @property
    def done(self) -> bool:
        """Whether nothing is left to do but to stand."""
        ...


class Hold:
    """The command that was sent last."""

    done = True

    def command(self, now: float, previous: Array) -> Array:
        """The same again."""
        return previous


class MoveTo:
    """A straight line in joint space at one speed: soft starts, and parking.

    Args:
        start: (nu,) the command to start from.
        pose: (nu,) where to go, in command units.
        speed: of the joint that has the farthest to go, rad/s.
        period: seconds between ticks.

    Raises:
        ValueError: if the speed is not positive.
    """

    def __init__(self, start: Array, pose: Array, speed: float, period: float) -> None:
        if not speed > 0:
            raise ValueError(f"the speed of a motion is {speed}; it must be above 0.")
        self._wanted, self._pose, self._step = start.copy(), pose, speed * period
        self._left = np.inf

    @property
    def done(self) -> bool:
        """Whether the last command was sent from the pose."""
        return self._left <= ARRIVED

    def command(self, now: float, previous: Array) -> Array:
        """One step further; a filter that holds back is waited for."""
        self._left = float(np.abs(self._pose - previous).max())
        ahead = self._pose - self._wanted
        if np.abs(self._wanted - previous).max() <= WAITS * self._step:
            self._wanted = self._wanted + ahead * min(1.0, self._step / max(float(np.abs(ahead).max()), ARRIVED))
        return self._wanted


class Follow:
    """The plans in force, played back with the interpolation that they were optimised with.

    Delta actions are speeds: from the command that a plan was optimised from, the command moves on by what the
    plan's actions integrate to, so it ends every period of the model where the model was told that it would. What
    is commanded is ahead of what was sent by no more than ``LEAD`` periods of the model at full action, whatever a
    filter has held back. Absolute actions are evaluated at the tick's own time. Past the end of a plan the command
    stands.

    Args:
        schedule: the plans in force.
        scale: the task's action scale, for one period of the model.
        period: seconds between ticks.
    """

    done = False

    def __init__(self, schedule: PlanSchedule, scale: ActionScale, period: float) -> None:
        self._schedule, self._scale, self._period = schedule, scale, period

    def command(self, now: float, previous: Array) -> Array:
        """Where the plans in force want the command to be at the next tick."""
        if self._scale.mode == "absolute":
            action = self._schedule.at(now)
            return previous if action is None else self._scale.to_command(action.astype(np.float64), previous)
        until = now + self._period
        current = self._schedule.current(until - 1e-9)
        if current is None:
            return previous
        moved = integral(current.plan, current.plan.start_time, until)
        wanted = self._scale.to_command(moved.astype(np.float64), current.command)
        ahead = np.clip(wanted - previous, -LEAD * self._scale.step, LEAD * self._scale.step)
        return previous + ahead


class Brake:
    """From the speed of the command to rest, at the joints' acceleration limits.

    Args:
        spec: the robot's limits.
        start: (nu,) the command when braking begins.
        velocity: (nu,) its velocity then, rad/s.
        period: seconds between ticks.
    """

    def __init__(self, spec: RobotSpec, start: Array, velocity: Array, period: float) -> None:
        self._wanted, self._velocity = start.copy(), velocity.copy()
        self._change = period * np.array(
            [joint.acceleration or (joint.velocity or 1.0) / GENTLE_SECONDS for joint in spec.joints]
        )
        self._period = period

    @property
    def done(self) -> bool:
        """Whether what is asked for has come to rest."""
        return not self._velocity.any()

    def command(self, now: float, previous: Array) -> Array:
        """One tick slower."""
        slower = np.maximum(np.abs(self._velocity) - self._change, 0.0)
        self._velocity = np.sign(self._velocity) * slower
        self._wanted = self._wanted + self._velocity * self._period
        return self._wanted
