"""What an arm's servos read, as arrays by joint, and what shows that a servo cannot be trusted any more."""

import numpy as np

from hardware.clock import Clock
from hardware.errors import BusError
from hardware.robot import Array
from hardware.robot_file import JointDescription, RobotDescription
from hardware.serial_bus import SerialBus
from hardware.wire.registers import ControlTable

SLOW_PERIOD = 0.2
"""Seconds between readings of temperature and voltage, and between checks that the torque is still on."""

TOP_SPEED = 12.0
"""No servo turns faster than this, rad/s: ROBOTIS states 103 rpm for an XL330-M288 without a load."""

JUMP = 1.0
"""How much further than TOP_SPEED allows an angle may change between two readings, rad; beyond is no motion."""

REMEDY = "relieve the arm, let it cool down, look at its supply and cables"
"""What to do about a servo that is in trouble."""

MOTION = ("present_position", "present_velocity")
"""What is read of every servo each time, beside its effort."""

_EVIDENCE = {
    "input voltage": ("present_input_voltage", "min_voltage_limit", "max_voltage_limit"),
    "overheating": ("present_temperature", "temperature_limit"),
    "over-current": ("present_current", "protection_current"),
    "overload": ("present_current", "present_load", "current_limit", "overload_torque"),
}


def effort_register(table: ControlTable) -> str:
    """The register that says how hard a servo works, beside those of MOTION: A, or the share of its full torque."""
    return "present_current" if measures_current(table) else "present_load"


def full_effort(joint: JointDescription) -> float:
    """The effort of a joint whose servos give all that they may, in the unit that they measure it in."""
    table = joint.table
    each = table["current_limit"].value(table["current_limit"].initial) if measures_current(table) else 1.0
    return each * joint.torque_limit * len(joint.servo_ids)


def measures_current(table: ControlTable) -> bool:
    """Whether a servo's effort is a current, A; otherwise it is a share of its full torque."""
    return "goal_current" in table.registers


def hardware_error(bus: SerialBus, servo: int) -> str:
    """The hardware error that a servo last reported, with the values and limits behind it, for people."""
    table = bus.tables[servo]
    text = table.error_text(bus.errors[servo])
    evidence = [
        register
        for error, registers in _EVIDENCE.items()
        if error in text
        for register in registers
        if register in table.registers
    ]
    shown = []
    for register in evidence:
        try:
            shown.append(f"{register} {bus.read(servo, register):.4g} {table[register].unit}".rstrip())
        except BusError:
            break
    return f"{bus.describe(servo)} reports {text}" + (f" ({', '.join(shown)})" if shown else "")


class ServoReadings:
    """Reads the servos of an arm.

    Motion is read each time; temperature and voltage every SLOW_PERIOD, and so is whether the torque is on and whether
    a bus watchdog has tripped.

    Args:
        description: the arm.
        bus: its servos.
        clock: stamps the readings.

    Attributes:
        angles: (nu,) of the joints' own servos, rad.
        position: (nu,) rad.
        velocity: (nu,) rad/s.
        effort: (nu,) A where the servo measures current, otherwise the share of its full torque; of several servos on
            a joint the sum.
        temperature: (nu,) °C; of several servos on a joint the hottest.
        voltage: (nu,) V; of several servos on a joint the lowest.
        read_start: when reading of "motion" and "health" began, s.
        read_end: when it ended, s.
        expects_torque: whether the torque must be on.
    """

    def __init__(self, description: RobotDescription, bus: SerialBus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        joints = description.joints
        tables = {servo: joint.table for joint in joints for servo in joint.servo_ids}
        self._motion = bus.plan_read({servo: (*MOTION, effort_register(table)) for servo, table in tables.items()})
        self._health = bus.plan_read(dict.fromkeys(tables, ("present_input_voltage", "present_temperature")))
        self._torque = bus.plan_read(dict.fromkeys(tables, ("torque_enable",)))
        self._watchdog = (
            None if description.bus_watchdog is None else bus.plan_read(dict.fromkeys(tables, ("bus_watchdog",)))
        )
        rows = {servo: row for row, servo in enumerate(tables)}
        self._own = [rows[joint.servo_ids[0]] for joint in joints]
        self._sign = np.array([float(joint.sign) for joint in joints])
        self._turn = self._sign * np.array([joint.gear_ratio for joint in joints])
        self._names = [bus.describe(joint.servo_ids[0]) for joint in joints]
        self._distrusted: dict[str, str] = {}
        self._errors: dict[tuple[int, int], str] = {}
        self._was_read = False
        self._health_due = clock.now()
        self._torque_due = self._health_due + SLOW_PERIOD / 3
        self._watchdog_due = self._torque_due + SLOW_PERIOD / 3
        self.expects_torque = False
        self.angles = self.position = self.velocity = self.effort = np.zeros(len(joints))
        self.temperature = self.voltage = np.zeros(len(joints))
        self.read_start: dict[str, float] = {}
        self.read_end: dict[str, float] = {}

    def read(self) -> None:
        """Read what is due.

        Raises:
            BusError: if a servo does not answer.
        """
        now = self._clock.now()
        if now >= self._health_due:
            self._read_health()
            self._health_due = now + SLOW_PERIOD
        if now >= self._torque_due:
            self._check_torque()
            self._torque_due = now + SLOW_PERIOD
        if now >= self._watchdog_due:
            self.check_watchdog()
            self._watchdog_due = now + SLOW_PERIOD
        self._read_motion()

    def problems(self) -> list[str]:
        """What is wrong with the servos, naming joint, servo, value and limit; empty while all is well.

        The servos are asked for the values behind an error once, when it is new.
        """
        self._errors = {
            (servo, mask): self._errors.get((servo, mask)) or hardware_error(self._bus, servo)
            for servo, mask in self._bus.errors.items()
            if mask
        }
        return [*self._errors.values(), *self._distrusted.values()]

    def trust_again(self) -> None:
        """Forget jumps and lost torque, and take the next position as it is."""
        self._distrusted.clear()
        self._was_read = False

    def _read_motion(self) -> None:
        start = self._clock.now()
        rows = np.array(self._bus.sync_read(self._motion))
        end = self._clock.now()
        angles = rows[self._own, 0]
        self._check_jumps(angles, end)
        self.angles = angles
        self.position, self.velocity = angles / self._turn, rows[self._own, 1] / self._turn
        self.effort = np.add.reduceat(rows[:, 2], self._own) * self._sign
        self.read_start["motion"], self.read_end["motion"] = start, end
        self._was_read = True

    def _read_health(self) -> None:
        start = self._clock.now()
        rows = np.array(self._bus.sync_read(self._health))
        self.voltage = np.minimum.reduceat(rows[:, 0], self._own)
        self.temperature = np.maximum.reduceat(rows[:, 1], self._own)
        self.read_start["health"], self.read_end["health"] = start, self._clock.now()

    def _check_jumps(self, angles: Array, now: float) -> None:
        if not self._was_read:
            return
        time = now - self.read_end["motion"]
        change = np.abs(angles - self.angles)
        for joint in np.flatnonzero(change > TOP_SPEED * time + JUMP):
            self._distrusted[self._names[joint]] = (
                f"{self._names[joint]} jumped by {change[joint]:.2f} rad in {time:.3f} s, which no servo can: its "
                f"encoder wrapped, or its homing offset was lost"
            )

    def check_watchdog(self) -> None:
        """Ask the servos whether they gave up waiting for a packet.

        Raises:
            BusError: if a servo does not answer.
        """
        if self._watchdog is None:
            return
        for servo, (state,) in zip(self._watchdog.servos, self._bus.sync_read(self._watchdog), strict=True):
            if state < 0:
                name = self._bus.describe(servo)
                self._distrusted[name] = f"{name} stopped: it had heard nothing for as long as its bus watchdog allows"

    def _check_torque(self) -> None:
        if not self.expects_torque:
            return
        for servo, (on,) in zip(self._torque.servos, self._bus.sync_read(self._torque), strict=True):
            if not on:
                name = self._bus.describe(servo)
                self._distrusted[name] = (
                    f"{name} has switched its torque off by itself: it restarted because its supply broke down, or "
                    f"something else writes to the bus"
                )
