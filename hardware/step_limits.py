"""Limits on a command and on its change from one period to the next, for robots that state no jerk limit."""

import numpy as np

from hardware.robot import Array, RobotSpec

Reason = tuple[str, str, float]


class StepLimits:
    """Clips commands to their limits, and their differences to the limits of the derivatives.

    Where commands are positions, the joints' velocity and acceleration limits bound the command's first and
    second derivative; where they are velocities, acceleration and jerk limits do. Torques and normalised commands
    have no rate limit. Near a limit the rate is bounded so that the command can always brake in front of it.

    Args:
        spec: the robot's limits.

    Attributes:
        previous: (nu,) the command before; None before the first.

    Raises:
        ValueError: if a limit is not a number, or low exceeds high, or a rate is not positive.
    """

    moving = False

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        period = 1.0 / spec.control_rate
        self._low, self._high = spec.command_limits
        rate, change = _derivative_limits(spec)
        _check_limits(spec, self._low, self._high, rate, change)
        self._step = rate * period
        self._step_change = change * period**2
        self._limits_rate = bool(np.isfinite(self._step).any())
        self._limits_change = bool(np.isfinite(self._step_change).any())
        self.reset(None)

    def reset(self, start: Array | None) -> None:
        """Begin anew, at rest at a command if one is given."""
        self.previous = start
        self._previous_step = np.zeros(self._spec.action_size)

    @property
    def expected(self) -> Array | None:
        """(nu,) the command before, in command units; None before the first."""
        return self.previous

    def locate(self, position: Array) -> None:
        """Nothing: the limits are those of the commands alone."""

    def limit(self, requested: Array) -> tuple[Array, tuple[Reason, ...]]:
        """The command to send instead of a request, (nu,), and why it differs."""
        assert self.previous is not None
        sent = self._limited(requested, self.previous)
        unchanged = bool((sent == requested).all())
        return sent, () if unchanged else self._reasons(requested, self.previous)

    def brake(self) -> Array:
        """The previous command: such a robot is stopped at once."""
        assert self.previous is not None
        return self.previous

    def accept(self, sent: Array) -> None:
        """Take what the robot says was sent as the next reference."""
        assert self.previous is not None
        self._previous_step = sent - self.previous
        self.previous = sent.copy()

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
        below, above = np.maximum(previous - low, 0.0), np.maximum(high - previous, 0.0)
        slowest = np.maximum(self._previous_step - self._step_change, -_braking_step(below, self._step_change))
        fastest = np.minimum(self._previous_step + self._step_change, _braking_step(above, self._step_change))
        return slowest, fastest

    def _reasons(self, requested: Array, previous: Array) -> tuple[Reason, ...]:
        """Each limit's share of the change, in the order in which they apply."""
        low, high = self._range(previous)
        mode = self._spec.command_mode
        stages = [(_LIMIT_NAMES[mode], low, high)]
        if self._limits_rate:
            stages.append((_DERIVATIVE_NAMES[mode][0], previous - self._step, previous + self._step))
        if self._limits_change:
            slowest, fastest = self._step_range(previous, low, high)
            stages.append((_DERIVATIVE_NAMES[mode][1], previous + slowest, previous + fastest))
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
        return limits("acceleration"), limits("jerk")
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
