"""The motor of an emulated servo: reference profile, position loop, current, heat.

What a servo does with its factory gains is what the position actuator of the arm's MJCF model does; other gains
scale that. Stall currents, speeds and supply voltages follow the makers' data sheets (ROBOTIS e-manual, Feetech
STS3215). Heating is fitted to one public measurement (github.com/TheRobotStudio/SO-ARM100, issue 134: an STS3215 is
15 °C warmer after 10 minutes at half its stall torque); nothing was identified from a servo of ours.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

AMBIENT = 25.0
"""Temperature of the room, °C."""

_COUNT = 2 * math.pi / 4096
_SLOWEST = 1e-9
_VELOCITY_TIME = 0.1


class Mode(Enum):
    """What the motor follows."""

    POSITION = "position"
    VELOCITY = "velocity"
    OUTPUT = "output"


@dataclass(frozen=True)
class MotorModel:
    """A kind of motor with its gears.

    Attributes:
        supply: the nominal voltage, V.
        stall_torque: at nominal voltage, N·m, for arms whose MJCF does not say it.
        stall_current: at nominal voltage, A.
        no_load_speed: at nominal voltage, rad/s.
        backlash: the gears' play, rad.
        heating: how far full stall heats in the end, °C above the room.
        heating_time: the time constant of that, s.
        brown_out: the voltage at which its electronics restart, V.
    """

    supply: float
    stall_torque: float
    stall_current: float
    no_load_speed: float
    backlash: float
    heating: float = 70.0
    heating_time: float = 180.0
    brown_out: float = 2.5


MOTORS = {
    "sts3215": MotorModel(7.4, 1.9, 2.4, 4.7, 0.004),
    "xl330-m288": MotorModel(5.0, 0.52, 1.47, 10.8, 0.004),
    "xl430-w250": MotorModel(12.0, 1.5, 1.4, 6.4, 0.004, brown_out=5.0),
    "xm430-w350": MotorModel(12.0, 4.1, 2.3, 4.8, 0.003, brown_out=7.0),
    "xm540-w270": MotorModel(12.0, 10.6, 4.4, 3.1, 0.003, brown_out=7.0),
}
"""Motors by the name of their servo's control table."""


@dataclass
class Drive:
    """How a motor is driven: set by the servo's registers. Angles are the servo's, in rad.

    Attributes:
        mode: what it follows.
        stiffness: output per rad of position error; output is a fraction of full torque.
        integral: output per rad·s.
        damping: output per rad/s.
        velocity: largest speed of the reference, rad/s; infinite for steps.
        acceleration: largest acceleration of the reference, rad/s²; infinite for none.
        limit: largest output.
        goal_velocity: rad/s, in velocity mode.
        goal_output: in output mode.
    """

    mode: Mode = Mode.POSITION
    stiffness: float = 1.0
    integral: float = 0.0
    damping: float = 0.0
    velocity: float = math.inf
    acceleration: float = math.inf
    limit: float = 1.0
    goal_velocity: float = 0.0
    goal_output: float = 0.0


class Motor:
    """One motor, stepped with the physics.

    Attributes:
        drive: how it is driven.
        torque_on: whether it is driven at all.
        reference: where the position loop wants it now, rad.
        reference_velocity: rad/s.
        output: the fraction of full torque that it is driven with.
        load: the fraction of stall current that flows.
        temperature: °C.
        strained: how long the output has been at or above the strain level without a break, s.

    Args:
        model: the kind of motor.
    """

    def __init__(self, model: MotorModel) -> None:
        self.model = model
        self.drive = Drive()
        self.torque_on = False
        self.reference = 0.0
        self.reference_velocity = 0.0
        self.output = 0.0
        self.load = 0.0
        self.temperature = AMBIENT
        self.strained = 0.0
        self.strain_level = 0.8
        self._goal = 0.0
        self._coming: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    @property
    def goal(self) -> float:
        """The goal in force, rad."""
        return self._goal

    @property
    def current(self) -> float:
        """A."""
        return self.load * self.model.stall_current

    def follow(self, goal: float, at: float) -> None:
        """Take a goal, rad, that counts from a time on, s."""
        self._coming.append((at, goal))

    def hold(self, position: float) -> None:
        """Make a position, rad, the goal now, and start the reference from it at rest."""
        self._coming.clear()
        self._goal = self.reference = position
        self.reference_velocity = 0.0
        self._sum = 0.0

    def switch(self, on: bool, position: float) -> None:
        """Turn torque on or off; the reference starts from the present position, rad."""
        if on and not self.torque_on:
            self.reference, self.reference_velocity, self._sum = position, 0.0, 0.0
        self.torque_on = on
        self.strained = 0.0
        if not on:
            self._coming.clear()
            self.output = 0.0

    def step(self, time: float, duration: float, position: float, velocity: float, speed: float) -> float:
        """Drive for one step of the physics.

        Args:
            time: of the step's start, s.
            duration: of the step, s.
            position: what the encoder says, rad.
            velocity: of the shaft, rad/s.
            speed: the fraction of no-load speed at which the shaft turns, for the current.

        Returns:
            The output, a fraction of full torque at nominal voltage.
        """
        while self._coming and self._coming[0][0] <= time + _SLOWEST:
            self._goal = self._coming.popleft()[1]
        if self.torque_on:
            self.output = self._control(duration, position, velocity)
            self.load = self.output - speed
        else:
            self.output = self.load = 0.0
        heat = self.model.heating * min(self.load * self.load, 4.0)
        self.temperature += (AMBIENT + heat - self.temperature) * duration / self.model.heating_time
        strained = abs(self.output) >= self.strain_level
        self.strained = self.strained + duration if strained else 0.0
        return self.output

    def _control(self, duration: float, position: float, velocity: float) -> float:
        drive = self.drive
        if drive.mode is Mode.OUTPUT:
            wanted = drive.goal_output
        elif drive.mode is Mode.VELOCITY:
            error = drive.goal_velocity - velocity
            self._sum = _clip(self._sum + error * duration * drive.damping / _VELOCITY_TIME, drive.limit)
            wanted = drive.damping * error + self._sum
        else:
            self._move_reference(duration)
            error = self.reference - position
            if drive.integral:
                self._sum = _clip(self._sum + error * duration * drive.integral, drive.limit)
            wanted = drive.stiffness * error + self._sum + drive.damping * (self.reference_velocity - velocity)
        return _clip(wanted, drive.limit)

    def _move_reference(self, duration: float) -> None:
        drive = self.drive
        left = self._goal - self.reference
        if left == 0.0 and self.reference_velocity == 0.0:
            return
        if math.isinf(drive.velocity):
            self.reference, self.reference_velocity = self._goal, 0.0
            return
        wanted = math.copysign(drive.velocity, left)
        if not math.isinf(drive.acceleration):
            wanted = math.copysign(min(drive.velocity, math.sqrt(2 * drive.acceleration * abs(left))), left)
            change = drive.acceleration * duration
            wanted = min(max(wanted, self.reference_velocity - change), self.reference_velocity + change)
        if abs(wanted * duration) >= abs(left) and wanted * left >= 0:
            self.reference, self.reference_velocity = self._goal, 0.0
        else:
            self.reference += wanted * duration
            self.reference_velocity = wanted


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
