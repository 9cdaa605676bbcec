"""Opens the bus of an arm and makes its servos what the robot's file says: found, identified, set up and verified."""

import logging
from collections.abc import Iterable

from hardware.calibration import Calibration, reach
from hardware.clock import Clock, MonotonicClock
from hardware.dynamixel_bus import DynamixelBus
from hardware.errors import BusError, PortError, ServoFaultError, ServoSetupError
from hardware.feetech_bus import FeetechBus
from hardware.robot_file import JointDescription, RobotDescription
from hardware.serial_bus import SerialBus
from hardware.serial_port import Port, SerialPort, serial_devices
from hardware.wire.tables import model_name

logger = logging.getLogger(__name__)

REACH_TOLERANCE = 0.01
"""How much less than the joint's limits a servo's own position limits may leave, rad."""

_POSITION_MODE = {"dynamixel": 3, "feetech": 0}
_REVERSE, _TIME_BASED = 0x01, 0x04
_NO_SECOND_ID = 255
_LISTED = range(1, 21)


def open_bus(
    description: RobotDescription,
    port: str | Port | None = None,
    clock: Clock | None = None,
    patience: float | None = None,
) -> SerialBus:
    """The bus of an arm's servos; nothing is sent yet.

    Args:
        description: the arm.
        port: where it is, or an open line, instead of what the description says.
        clock: what deadlines are on.
        patience: seconds that host and adapter may add to every exchange, instead of what the description says.

    Raises:
        PortError: if the port cannot be opened, or "auto" does not find exactly one.
    """
    clock = clock or MonotonicClock()
    if port is None or isinstance(port, str):
        path = port or description.port
        port = SerialPort(_only_port() if path == "auto" else path, description.baudrate, clock)
    tables = {servo: joint.table for joint in description.joints for servo in joint.servo_ids}
    kind = DynamixelBus if description.driver == "dynamixel" else FeetechBus
    patience = description.patience if patience is None else patience
    return kind(port, tables, clock, names=description.servo_names, patience=patience)


def _only_port() -> str:
    devices = serial_devices()
    if len(devices) == 1:
        return devices[0].stable or devices[0].device
    found = f"there are {', '.join(map(str, devices))}" if devices else "there is no serial port"
    raise PortError(f"port is 'auto', and {found}; plug the arm in, or name its port in the robot's file")


class ServoSetup:
    """Checks and sets up the servos of one arm.

    Args:
        description: the arm.
        bus: its servos.
    """

    def __init__(self, description: RobotDescription, bus: SerialBus) -> None:
        self._description, self._bus = description, bus
        self._kind = "dynamixel" if description.driver == "dynamixel" else "feetech"

    def identify(self) -> None:
        """Find every servo, at another baud rate if need be, and make sure of its model.

        Raises:
            BusError: naming those that do not answer, and who does.
            ServoSetupError: if one is of another model.
        """
        missing = [servo for servo in self._bus.tables if not self._answers(servo)]
        missing = [servo for servo in missing if not self._bring_to_baud_rate(servo)]
        if missing:
            raise self._missing(missing)
        for servo, expected in self._bus.tables.items():
            identity = self._bus.ping(servo)
            if identity.model_number != expected.model_number:
                raise ServoSetupError(
                    f"{self._bus.describe(servo)} answers as {model_name(identity.model_number)}; the robot's file "
                    f"says {expected.name}: correct 'model', or connect the right arm"
                )
            self._bus.sync_write("status_return_level", {servo: expected["status_return_level"].initial})

    def check_supply(self, servos: Iterable[int] | None = None) -> None:
        """Make sure of voltage and temperature.

        Raises:
            ServoSetupError: if a servo's supply is outside what it takes, or it is too hot to start.
        """
        for servo in self._bus.tables if servos is None else servos:
            low, high = (self._bus.read(servo, f"{end}_voltage_limit") for end in ("min", "max"))
            voltage = self._bus.read(servo, "present_input_voltage")
            if not low <= voltage <= high:
                raise ServoSetupError(
                    f"{self._bus.describe(servo)} gets {voltage:.1f} V; it takes {low:.1f} to {high:.1f} V: check the "
                    f"power supply, or its voltage limits"
                )
            temperature, limit = (self._bus.read(servo, name) for name in ("present_temperature", "temperature_limit"))
            if temperature >= limit:
                raise ServoSetupError(
                    f"{self._bus.describe(servo)} has {temperature:.0f} °C; it stops at {limit:.0f} °C: let it cool"
                )

    def apply(self, calibration: Calibration | None) -> None:
        """Set every servo up, and verify what it then holds.

        Raises:
            ServoSetupError: if a setting cannot be changed now, or the servo's limits are too narrow.
            CalibrationError: if the servos do not hold their calibration.
        """
        if calibration is not None:
            calibration.check_servos(self._bus)
        for joint in self._description.joints:
            for servo in joint.servo_ids:
                self._set_eeprom(joint, servo)
                self.set_ram(joint, servo)
            self._check_reach(joint)

    def set_ram(self, joint: JointDescription, servo: int) -> None:
        """Set what a servo forgets when it restarts."""
        table, profile = joint.table, self._description.profile
        counts = {
            f"profile_{name}": 0 if value is None else table[f"profile_{name}"].count(value)
            for name, value in (("velocity", profile.velocity), ("acceleration", profile.acceleration))
        }
        if self._kind == "dynamixel":
            counts |= {"bus_watchdog": 0, "goal_pwm": table["goal_pwm"].count(joint.torque_limit)}
        else:
            counts |= {"goal_time": 0, "torque_limit": table["torque_limit"].count(joint.torque_limit)}
        for register, count in counts.items():
            self._bus.ensure(servo, register, count)

    def guard(self) -> None:
        """Start the servos' bus watchdog, where they have one and it is wanted."""
        seconds = self._description.bus_watchdog
        if seconds is None:
            return
        for servo, table in self._bus.tables.items():
            self._bus.ensure(servo, "bus_watchdog", table["bus_watchdog"].count(seconds))

    def _set_eeprom(self, joint: JointDescription, servo: int) -> None:
        bus, table = self._bus, joint.table
        counts = {"return_delay_time": 0, "operating_mode": _POSITION_MODE[self._kind]}
        if self._kind == "dynamixel":
            counts["secondary_id"] = _NO_SECOND_ID if servo == joint.id or joint.id is None else joint.id
            self._check_direction(joint, servo)
        else:
            counts["status_return_level"] = table["status_return_level"].initial
        for register, count in counts.items():
            held = bus.read_count(servo, register)
            if held == count:
                continue
            if self._kind == "dynamixel" and bus.read_count(servo, "torque_enable"):
                raise ServoSetupError(
                    f"{bus.describe(servo)}: {register} is {held}, must be {count}, and cannot be changed while torque "
                    f"is on: support the arm, switch its power off and on, and connect again"
                )
            bus.ensure(servo, register, count)
        rate = table.baud_rates.get(bus.read_count(servo, "baud_rate"))
        if rate != self._description.baudrate:
            raise ServoSetupError(
                f"{bus.describe(servo)} is set to {rate} baud after its next start; the robot's file says "
                f"{self._description.baudrate}: set its baud_rate register back"
            )

    def _check_direction(self, joint: JointDescription, servo: int) -> None:
        mode = self._bus.read_count(servo, "drive_mode")
        reverse = joint.reverse if servo == joint.id else not joint.reverse
        if bool(mode & _REVERSE) != reverse or mode & _TIME_BASED:
            raise ServoSetupError(
                f"{self._bus.describe(servo)}: drive_mode is {mode}; the robot's file needs {int(reverse)}, for "
                f"'reverse' is {str(joint.reverse).lower()}. Changing it turns the joint's direction round: correct "
                f"the file, or set the servo with DYNAMIXEL Wizard and calibrate again"
            )

    def _check_reach(self, joint: JointDescription) -> None:
        for servo in joint.servo_ids:
            counts = {name: self._bus.read_count(servo, name) for name in ("min_position_limit", "max_position_limit")}
            low, high = reach(joint, counts)
            wanted_low, wanted_high = joint.limits.position
            if low > wanted_low + REACH_TOLERANCE or high < wanted_high - REACH_TOLERANCE:
                raise ServoSetupError(
                    f"{self._bus.describe(servo)} may turn its joint within [{low:.3f}, {high:.3f}] rad; the robot's "
                    f"file says [{wanted_low:g}, {wanted_high:g}]: narrow 'position' there, or calibrate again"
                )

    def _answers(self, servo: int) -> bool:
        try:
            self._bus.ping(servo)
        except BusError:
            return False
        return True

    def _bring_to_baud_rate(self, servo: int) -> bool:
        """Look for a servo at the other baud rates, and set it to the bus's; whether it was found."""
        bus, table, wanted = self._bus, self._bus.tables[servo], self._description.baudrate
        code = next(code for code, rate in table.baud_rates.items() if rate == wanted)
        for rate in table.baud_rates.values():
            if rate == wanted:
                continue
            try:
                with bus.at_baud_rate(rate):
                    if not bus.scan([servo]):
                        continue
                    logger.warning("%s answers at %d baud; it is set to %d", bus.describe(servo), rate, wanted)
                    if "lock" in table:
                        bus.write_count(servo, "lock", 0)
                    bus.set_baud_rate(servo, code)
                if "lock" in table:
                    bus.write_count(servo, "lock", 1)
            except (BusError, ServoFaultError) as error:
                raise ServoSetupError(
                    f"{bus.describe(servo)} answers at {rate} baud and cannot be set to {wanted}: {error}"
                ) from error
            return True
        return False

    def _missing(self, missing: list[int]) -> BusError:
        names = ", ".join(self._bus.describe(servo) for servo in missing)
        others = [servo for servo in _LISTED if servo not in missing]
        answering = ", ".join(str(servo) for servo in self._bus.scan(others)) or "nobody"
        return BusError(
            f"{names}: no answer at any baud rate. Of the identifiers {_LISTED[0]} to {_LISTED[-1]} there answer: "
            f"{answering}. Check the power supply and the cable to the first one that is missing; two servos with the "
            f"same identifier answer like none"
        )
