"""Watches whether an arm does what it is told, and what that costs its motors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Array, Observation, RobotSpec

COOLER = 5.0
"""°C below its limit that a motor must be before it may move again."""

Limit = float | Sequence[float]


class Monitor:
    """Trips when a joint is too far from its command or works too hard for too long, or when its motor is too hot.

    Observations hold ``joint_position`` (nu,), and ``effort`` (nu,) and ``temperature`` (nu,) where the robot reports
    them; what it does not report is not watched. A temperature that is not a number has not been read yet.

    Args:
        spec: the robot's joints.
        tracking_error: largest distance of a joint from its command, rad, for all joints or one each; None does not
            watch it.
        tracking_time: seconds for which the distance may be exceeded.
        effort: largest effort, in the robot's own unit (A, N·m, or a share of the largest torque), likewise.
        effort_time: seconds for which the effort may be exceeded.
        temperature: largest temperature, °C, likewise.

    Raises:
        ValueError: if a limit is not positive, or there are not as many as joints.
    """

    def __init__(
        self,
        spec: RobotSpec,
        *,
        tracking_error: Limit | None = None,
        tracking_time: float = 0.3,
        effort: Limit | None = None,
        effort_time: float = 0.5,
        temperature: Limit | None = None,
    ) -> None:
        self._moves_positions = spec.command_mode == "position"
        self._watches = [
            _Watch(spec, limit, _QUANTITIES[name], seconds)
            for name, limit, seconds in (
                ("tracking error", tracking_error, tracking_time),
                ("effort", effort, effort_time),
                ("temperature", temperature, 0.0),
            )
            if limit is not None
        ]

    def reset(self) -> None:
        """Forget how long anything has lasted."""
        for watch in self._watches:
            watch.reset()

    def check(self, observation: Observation, command: Array, time: float) -> str | None:
        """What is wrong, with joint, value, limit and remedy; None while all is well.

        Args:
            observation: what was read.
            command: (nu,) where the joints should be when it is read.
            time: when it was read, seconds on the clock.
        """
        found = (watch.check(observation, command, time) for watch in self._watches)
        return next((wrong for wrong in found if wrong is not None), None)

    def persists(self, observation: Observation) -> str | None:
        """What is still wrong with a robot that stands: nothing may be exceeded, and motors must have cooled down."""
        position = observation.values["joint_position"]
        command = observation.values.get("command", position) if self._moves_positions else position
        found = (watch.persists(observation, command) for watch in self._watches)
        return next((wrong for wrong in found if wrong is not None), None)


@dataclass(frozen=True)
class _Quantity:
    """What can be watched: which value of an observation, what of it, and what to say about it.

    Attributes:
        amount: what is limited, from the value and the command in force.
        recovery: how far below the limit it must be before it counts as over.
    """

    name: str
    unit: str
    value: str
    amount: Callable[[Array, Array], Array]
    remedy: str
    recovery: float = 0.0


_BLOCKED = "look for what blocks or overloads the joint"
_QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        _Quantity("tracking error", " rad", "joint_position", lambda value, command: np.abs(value - command), _BLOCKED),
        _Quantity("effort", "", "effort", lambda value, _: np.abs(value), _BLOCKED),
        _Quantity(
            "temperature",
            " °C",
            "temperature",
            lambda value, _: np.nan_to_num(value, nan=-np.inf),
            "let the motor cool down, and give it less load or longer rests",
            COOLER,
        ),
    )
}


class _Watch:
    """One quantity of every joint, its limit, and since when it has been beyond it."""

    def __init__(self, spec: RobotSpec, limit: Limit, quantity: _Quantity, seconds: float) -> None:
        given = np.asarray(limit, dtype=np.float64)
        size = spec.action_size
        if given.shape not in ((), (size,)) or not (given > 0).all():
            raise ValueError(
                f"{spec.name}: a limit of {limit} for the {quantity.name}; give one number above 0, or {size}"
            )
        self._names = [joint.name for joint in spec.joints]
        self._limit = np.broadcast_to(given, (size,))
        self._quantity = quantity
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forget how long it has lasted."""
        self._since = np.full(len(self._names), np.inf)

    def check(self, observation: Observation, command: Array, time: float) -> str | None:
        """What has been beyond its limit for too long."""
        amount = self._amount(observation, command)
        beyond = ~(amount <= self._limit)
        if not beyond.any():
            self.reset()
            return None
        self._since = np.where(beyond, np.minimum(self._since, time), np.inf)
        return self._said(amount, self._limit, beyond & (time - self._since >= self._seconds))

    def persists(self, observation: Observation, command: Array) -> str | None:
        """What is beyond its limit now, or has not recovered from it."""
        amount = self._amount(observation, command)
        limit = self._limit - self._quantity.recovery
        return self._said(amount, limit, ~(amount <= limit))

    def _amount(self, observation: Observation, command: Array) -> Array:
        value = observation.values.get(self._quantity.value)
        return np.zeros(len(self._names)) if value is None else self._quantity.amount(value, command)

    def _said(self, amount: Array, limit: Array, beyond: NDArray[np.bool_]) -> str | None:
        if not beyond.any():
            return None
        joint = int(np.flatnonzero(beyond)[0])
        quantity = self._quantity
        return (
            f"the {quantity.name} of {self._names[joint]} is {amount[joint]:.3g}{quantity.unit}, and "
            f"{limit[joint]:.3g}{quantity.unit} is the limit: {quantity.remedy}"
        )
