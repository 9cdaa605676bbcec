"""The filter that stands between the loop and every robot.

Order: latched fault → shape → finite → limits → rate and acceleration against the previous *command* → send.
The previous command, not the measured state, is the reference: a lagging joint must not let the command creep
(ros2_control PR 2183). A command that is not finite is refused, never clamped (PR 3320). Near a position
limit the speed is bounded so that the command can always brake in front of it at the acceleration limit.

This is a software stop, never an emergency stop: the motors keep their power.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hardware.errors import CommandRefusedError, StoppedError
from hardware.robot import Array, Observation, Robot, RobotSpec, SentAction

Reason = tuple[str, str, float]


class SafetyFilter:
    """Limits every command, says what it changed, and latches when a command must not be sent at all.

    Where commands are positions, the joints' velocity and acceleration limits bound the command's first and
    second derivative; where they are velocities, the acceleration limit bounds the first. Torques and
    normalised commands have no rate limit unless one is given.

    From a start outside the limits commands may only move inwards.

    Args:
        spec: the robot's limits.
        rate_limit: largest change of the command per second, in command units, for all joints or (nu,); None
            takes what the spec says.

    Raises:
        ValueError: if a limit is not a number, or low exceeds high, or a rate is not positive.
    """

    def __init__(self, spec: RobotSpec, rate_limit: float | Sequence[float] | None = None) -> None:
        self._spec = spec
        self._period = 1.0 / spec.control_rate
        self._low, self._high = spec.command_limits
        rate, change = _derivative_limits(spec)
        if rate_limit is not None:
            rate = np.broadcast_to(np.asarray(rate_limit, dtype=np.float64), (spec.action_size,))
        _check_limits(spec, self._low, self._high, rate, change)
        self._step = rate * self._period
        self._step_change = change * self._period**2
        self._limits_rate = bool(np.isfinite(self._step).any())
        self._limits_change = bool(np.isfinite(self._step_change).any())
        self._previous: Array | None = None
        self._previous_step = np.zeros(spec.action_size)
        self._fault: str | None = None

    @property
    def fault(self) -> str | None:
        """Why nothing is sent any more; None while all is well."""
        return self._fault

    def reset(self, observation: Observation | None = None) -> None:
        """Forget the previous command, as at the start of an episode; a latched fault stays.

        Args:
            observation: what the robot reads now, whose ``command`` (or position) the first command starts
                from; None reads the robot when the first command comes.

        Raises:
            CommandRefusedError: if the observation's command is not finite.
        """
        self._previous = None if observation is None else self._start(observation)
        self._previous_step = np.zeros(self._spec.action_size)

    def send(self, robot: Robot, action: Array) -> SentAction:
        """Send an action, (nu,) in command units, as far as the limits allow.

        Raises:
            StoppedError: while a fault is latched.
            CommandRefusedError: if the action, or where the robot says it is, is not finite or has the wrong
                shape; the robot is stopped and the fault latched until ``clear_fault``.
        """
        if self._fault is not None:
            raise StoppedError(f"{self._spec.name}: {self._fault}. Remove the cause, then call clear_fault(robot).")
        try:
            requested = self._checked(action)
            previous = self._start(robot.get_observation()) if self._previous is None else self._previous
        except CommandRefusedError as error:
            self._fault = str(error)
            robot.stop(self._fault)
            raise
        sent = self._limited(requested, previous)
        unchanged = bool((sent == requested).all())
        reasons = () if unchanged else self._reasons(requested, previous)
        receipt = robot.send_action(sent)
        self._previous_step = receipt.sent - previous
        self._previous = receipt.sent.copy()
        return replace(receipt, requested=requested, reasons=reasons + receipt.reasons)

    def clear_fault(self, robot: Robot) -> None:
        """Send commands again, from where the robot is now; refuses as the robot does."""
        robot.clear_fault()
        self._fault = None
        self.reset()

    def _checked(self, action: Array) -> Array:
        names = [joint.name for joint in self._spec.joints]
        command = np.array(action, dtype=np.float64)
        if command.shape != (len(names),):
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command of shape {command.shape}; it takes ({len(names)},), "
                f"one number each for {', '.join(names)}"
            )
        finite = np.isfinite(command)
        if not finite.all():
            bad = ", ".join(f"{names[i]} = {command[i]}" for i in np.flatnonzero(~finite))
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command that is not finite: {bad}; look for a model or plan "
                f"that diverged, then call clear_fault(robot)"
            )
        return command

    def _start(self, observation: Observation) -> Array:
        """The command that the robot is following before the first of ours."""
        source = "command" if "command" in observation.values else "joint_position"
        if source == "joint_position" and self._spec.command_mode != "position":
            return np.zeros(self._spec.action_size)
        start = np.array(observation.values[source], dtype=np.float64)
        if not np.isfinite(start).all():
            raise CommandRefusedError(
                f"{self._spec.name}: there is nothing to start from, for the robot reports a {source} of {start}; look "
                f"for a broken sensor, then call clear_fault(robot)"
            )
        return start

    def _range(self, previous: Array) -> tuple[Array, Array]:
        """The limits, widened to a start outside them: from there commands only move inwards."""
        if self._spec.command_mode != "position":
            return self._low, self._high
        return np.minimum(self._low, previous), np.maximum(self._high, previous)

    def _limited(self, requested: Array, previous: Array) -> Array:
        low, high = self._range(previous)
        lower, upper = low, high
        if self._limits_rate:
            lower = np.maximum(lower, previous - self._step)
            upper = np.minimum(upper, previous + self._step)
        if self._limits_change:
            slowest, fastest = self._step_range(previous, low, high)
            lower = np.maximum(lower, previous + slowest)
            upper = np.minimum(upper, previous + fastest)
        limited: Array = _clip(_clip(requested, lower, upper), low, high)
        return limited

    def _step_range(self, previous: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """The smallest and largest step that the acceleration limit and braking in front of limits allow."""
        slowest = np.maximum(self._previous_step - self._step_change, -_braking_step(previous - low, self._step_change))
        fastest = np.minimum(self._previous_step + self._step_change, _braking_step(high - previous, self._step_change))
        return slowest, fastest

    def _reasons(self, requested: Array, previous: Array) -> tuple[Reason, ...]:
        """Each limit's share of the change, in the order in which they apply."""
        low, high = self._range(previous)
        first, second = _DERIVATIVE_NAMES.get(self._spec.command_mode, ("rate", "acceleration"))
        stages = [(_LIMIT_NAMES[self._spec.command_mode], low, high)]
        if self._limits_rate:
            stages.append((first, previous - self._step, previous + self._step))
        if self._limits_change:
            slowest, fastest = self._step_range(previous, low, high)
            stages.append((second, previous + slowest, previous + fastest))
        reasons: list[Reason] = []
        command = requested
        for name, lower, upper in stages:
            limited = _clip(command, lower, upper)
            excess = np.abs(command - limited).tolist()
            joints = zip(self._spec.joints, excess, strict=True)
            reasons.extend((name, joint.name, amount) for joint, amount in joints if amount > 0)
            command = limited
        return tuple(reasons)


_LIMIT_NAMES = {"position": "position", "velocity": "velocity", "effort": "effort", "normalized": "range"}
_DERIVATIVE_NAMES = {"position": ("velocity", "acceleration"), "velocity": ("acceleration", "jerk")}


def _derivative_limits(spec: RobotSpec) -> tuple[Array, Array]:
    """(nu,) limits of the command's first and second derivative; infinite where none applies."""

    def limits(name: str) -> Array:
        return np.array([_or_infinite(getattr(joint, name)) for joint in spec.joints])

    unlimited = np.full(spec.action_size, np.inf)
    if spec.command_mode == "position":
        return limits("velocity"), limits("acceleration")
    if spec.command_mode == "velocity":
        return limits("acceleration"), unlimited
    return unlimited, unlimited


def _clip(command: Array, lower: Array, upper: Array) -> Array:
    clipped: Array = np.minimum(np.maximum(command, lower), upper)
    return clipped


def _or_infinite(limit: float | None) -> float:
    return np.inf if limit is None else limit


def _check_limits(spec: RobotSpec, low: Array, high: Array, rate: Array, change: Array) -> None:
    for index, joint in enumerate(spec.joints):
        if not low[index] <= high[index]:
            raise ValueError(
                f"{spec.name}: joint {joint.name!r} has limits ({low[index]}, {high[index]}); the first must "
                f"not exceed the second"
            )
        for name, limit in (("rate", rate[index]), ("acceleration", change[index])):
            if not limit > 0:
                raise ValueError(f"{spec.name}: joint {joint.name!r} has a {name} limit of {limit}; it must be above 0")


def _braking_step(distance: Array, step_change: Array) -> Array:
    """The largest step from which steps that shrink by ``step_change`` each stop within a distance.

    With n = the number of whole shrinkings, step, step − a, …, step − n·a add up to (n + 1)(step − n·a / 2).
    """
    with np.errstate(invalid="ignore"):
        shrinkings = np.floor((np.sqrt(1 + 8 * distance / step_change) - 1) / 2)
        step = step_change * shrinkings / 2 + distance / (shrinkings + 1)
    return np.where(np.isfinite(step_change) & np.isfinite(distance), step, np.inf)
