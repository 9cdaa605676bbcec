"""Measuring an arm's zeros and ranges: joint by joint, moved by hand, kept as soon as each is done."""

from collections.abc import Mapping
from pathlib import Path

from hardware.calibration import ZERO, Calibration, ServoCalibration, homing_offset, range_in_counts, reach
from hardware.errors import BusError, CalibrationError, ServoFaultError, ServoSetupError
from hardware.robot_file import JointDescription, RobotDescription
from hardware.serial_bus import SerialBus
from hardware.servo_setup import REACH_TOLERANCE

_STILL = 20
_SMALLEST_RANGE = 200
_WRAPPED = 3900


class MeasurementError(CalibrationError):
    """A measurement that cannot be used; it can be made again at once."""


class CalibrationSession:
    """A calibration that is being made, and saved after every joint, so that it can go on where it broke off.

    Args:
        description: the arm.
        bus: its servos, which all answer.
        path: the calibration file.
        calibration: what was measured before; joints whose servos still hold it are not measured again.

    Raises:
        CalibrationError: if the earlier measurements are another arm's.
    """

    def __init__(
        self, description: RobotDescription, bus: SerialBus, path: Path, calibration: Calibration | None = None
    ) -> None:
        if calibration is not None and calibration.robot != description.name:
            raise CalibrationError(
                f"{path} is the calibration of {calibration.robot!r}, not of {description.name!r}; name another file "
                f"under 'calibration' in the robot's file"
            )
        self._description, self._bus, self._path = description, bus, path
        self._calibration = calibration or Calibration(robot=description.name)

    @property
    def remaining(self) -> list[JointDescription]:
        """The joints that are not measured, or whose servos do not hold what was measured."""
        return [joint for joint in self._description.joints if not self._holds(joint)]

    def release(self) -> None:
        """Switch the torque of every servo off, so that the arm can be moved by hand.

        Raises:
            ServoSetupError: naming the servos that did not obey, after all were tried.
        """
        failures = []
        for servo in self._bus.tables:
            try:
                self._bus.write_count(servo, "torque_enable", 0)
            except (BusError, ServoFaultError) as error:
                failures.append(str(error))
        if failures:
            raise ServoSetupError(f"the torque could not be switched off: {'; '.join(failures)}. Cut the power")

    def position(self, joint: JointDescription) -> dict[int, int]:
        """What each servo of a joint reads, in counts."""
        return {servo: self._bus.read_count(servo, "present_position") for servo in joint.servo_ids}

    def home(self, joint: JointDescription) -> None:
        """Make where the joint stands now its zero.

        Raises:
            MeasurementError: if that is too far from the middle of a servo's encoder, or the joint moved meanwhile.
            ServoFaultError: if a servo does not keep the offset.
        """
        for servo in joint.servo_ids:
            table = self._bus.tables[servo]
            present, held = (self._bus.read_count(servo, name) for name in ("present_position", "homing_offset"))
            try:
                offset = homing_offset(table, present, held)
            except CalibrationError as error:
                raise MeasurementError(str(error)) from None
            self._bus.ensure(servo, "homing_offset", offset)
            reads = self._bus.read_count(servo, "present_position")
            if abs(reads - ZERO) > _STILL:
                raise MeasurementError(
                    f"{self._bus.describe(servo)} reads {reads} after its zero was set, it should read {ZERO}; hold "
                    f"the joint still and set it again"
                )

    def finish(self, joint: JointDescription, seen: Mapping[int, tuple[int, int]]) -> None:
        """Keep a joint's range in its servos and in the file.

        Args:
            joint: the joint, homed.
            seen: the lowest and the highest count that each of its servos read while it was moved.

        Raises:
            MeasurementError: if the range cannot be.
            CalibrationError: if the file cannot be written.
            ServoFaultError: if a servo does not keep the limits.
        """
        measured = {}
        for servo in joint.servo_ids:
            low, high = seen[servo]
            if self.full_turn(joint) is None:
                self._check_range(servo, low, high)
            offset = self._bus.read_count(servo, "homing_offset")
            assert joint.model is not None
            measured[servo] = ServoCalibration(
                joint=joint.name, model=joint.model, sign=joint.sign, homing_offset=offset, range=(low, high)
            )
            for register, count in measured[servo].registers().items():
                self._bus.ensure(servo, register, count)
        self._calibration.servos.update(measured)
        self._calibration.save(self._path)

    def full_turn(self, joint: JointDescription) -> dict[int, tuple[int, int]] | None:
        """The range to ``finish`` a joint with that turns all the way, which has no ends to measure; else None."""
        low, high = range_in_counts(joint)
        return dict.fromkeys(joint.servo_ids, (low, high)) if high - low > _WRAPPED else None

    def narrower(self, joint: JointDescription, seen: Mapping[int, tuple[int, int]]) -> bool:
        """Whether the measured range is less than the robot's file promises."""
        lowest, highest = seen[joint.servo_ids[0]]
        low, high = reach(joint, {"min_position_limit": lowest, "max_position_limit": highest})
        wanted_low, wanted_high = joint.limits.position
        return low > wanted_low + REACH_TOLERANCE or high < wanted_high - REACH_TOLERANCE

    def _check_range(self, servo: int, low: int, high: int) -> None:
        if high - low < _SMALLEST_RANGE:
            raise MeasurementError(
                f"{self._bus.describe(servo)} turned by {high - low} counts only, at least {_SMALLEST_RANGE} are "
                f"needed; move the joint to both of its ends"
            )
        if high - low > _WRAPPED or not low < ZERO < high:
            raise MeasurementError(
                f"{self._bus.describe(servo)} read {low} to {high} counts; its zero, {ZERO}, must lie between, and the "
                f"joint must not turn past the end of the encoder: measure again, or turn the horn on its servo"
            )

    def _holds(self, joint: JointDescription) -> bool:
        for servo in joint.servo_ids:
            measured = self._calibration.servos.get(servo)
            if measured is None or (measured.joint, measured.model, measured.sign) != (
                joint.name,
                joint.model,
                joint.sign,
            ):
                return False
            registers = measured.registers()
            if any(self._bus.read_count(servo, name) != count for name, count in registers.items()):
                return False
        return True
