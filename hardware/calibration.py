"""Where each servo's zero is and how far its joint turns: measured once on the arm, kept in a file and in the servos.

The servos' EEPROM does the work: the homing offset makes the joint's zero the middle of the encoder, and the position
limits keep goals within the joint's range. The file is the proof that these numbers belong to this arm: servos that
were swapped, reset or calibrated for another program show as a difference at connect.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardware.errors import CalibrationError
from hardware.robot_file import JointDescription, RobotDescription
from hardware.servo_bus import ServoBus
from hardware.wire.registers import ControlTable

ZERO = 2048
"""The count of a joint's zero, once the homing offset is in force."""

_LARGEST_OFFSET = {"dynamixel": 1024, "feetech": 2047}
_REGISTERS = ("homing_offset", "min_position_limit", "max_position_limit")


class ServoCalibration(BaseModel):
    """What was measured of one servo, in counts of its encoder.

    Attributes:
        joint: the joint that it moves.
        model: its model.
        sign: 1 if its angle grows with the joint's, -1 otherwise.
        homing_offset: what its EEPROM holds so that the joint's zero reads ZERO.
        range: (lowest, highest) position that it reads at the joint's ends, the offset being in force.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    joint: str
    model: str
    sign: Literal[1, -1]
    homing_offset: int
    range: Annotated[tuple[int, int], Field(strict=False)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.range
        if not 0 <= low < high <= 4095:
            raise ValueError(f"range is [{low}, {high}]; both must lie within [0, 4095], the first below the second")
        return self

    def registers(self) -> dict[str, int]:
        """What the servo's EEPROM holds, by register."""
        return dict(zip(_REGISTERS, (self.homing_offset, *self.range), strict=True))


class Calibration(BaseModel):
    """The calibration of an arm; it may lack servos while it is being made.

    Attributes:
        version: of the file's format.
        robot: the robot's name.
        servos: what was measured, by identifier.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    robot: str
    servos: dict[Annotated[int, Field(strict=False)], ServoCalibration] = Field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all: a new file beside it, flushed to the disk, takes its name.

        Raises:
            CalibrationError: if it cannot be written; the old file is still there.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=2) + "\n"
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _flush_folder(path.parent)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise CalibrationError(
                f"calibration {path} cannot be written: {error.strerror}; make room, or name another file under "
                f"'calibration' in the robot's file"
            ) from error

    def check_description(self, description: RobotDescription) -> None:
        """Refuse a calibration of another arm, or an unfinished one.

        Raises:
            CalibrationError: with what differs.
        """
        again = f"run 'robot-ctrl calibrate' for {description.name!r} again"
        if self.robot != description.name:
            raise CalibrationError(f"this is the calibration of {self.robot!r}, not of {description.name!r}; {again}")
        for joint in description.joints:
            for servo in joint.servo_ids:
                if servo not in self.servos:
                    raise CalibrationError(f"the calibration lacks {joint.name} (servo {servo}); finish it: {again}")
                measured = self.servos[servo]
                for key, theirs, ours in (
                    ("joint", measured.joint, joint.name),
                    ("model", measured.model, joint.model),
                    ("sign", measured.sign, joint.sign),
                ):
                    if theirs != ours:
                        raise CalibrationError(
                            f"servo {servo} was calibrated with {key} {theirs!r}, and the robot's file says {ours!r}; "
                            f"correct the file or {again}"
                        )

    def check_servos(self, bus: ServoBus) -> None:
        """Compare with what the servos' EEPROM holds.

        Raises:
            CalibrationError: naming every register that differs, with both numbers.
        """
        differences = []
        for servo, measured in sorted(self.servos.items()):
            for register, count in measured.registers().items():
                held = bus.read_count(servo, register)
                if held != count:
                    differences.append(f"{bus.describe(servo)}: {register} is {held}, the calibration says {count}")
        if differences:
            raise CalibrationError(
                f"the servos do not hold their calibration: {'; '.join(differences)}. A servo was swapped, reset, or "
                f"set up by another program: run 'robot-ctrl calibrate' again"
            )


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        CalibrationError: if it is missing, cut short or says something impossible.
    """
    try:
        return Calibration.model_validate(json.loads(path.read_text()))
    except FileNotFoundError:
        raise CalibrationError(f"there is no calibration {path}; run 'robot-ctrl calibrate' first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(
            f"calibration {path} cannot be read: {error}; run 'robot-ctrl calibrate' again"
        ) from None
    except json.JSONDecodeError as error:
        raise CalibrationError(
            f"calibration {path} is damaged at line {error.lineno}; run 'robot-ctrl calibrate' again"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        raise CalibrationError(
            f"calibration {path}: {key}: {problem['msg']}; run 'robot-ctrl calibrate' again"
        ) from None


def homing_offset(table: ControlTable, present: int, held: int) -> int:
    """The homing offset after which a servo that stands still reads ZERO.

    A Dynamixel adds its offset to the encoder's reading, a Feetech servo subtracts it.

    Args:
        table: the servo's control table.
        present: what it reads now.
        held: the offset that is in force now.

    Raises:
        CalibrationError: if the servo cannot have such an offset.
    """
    adds = table.protocol == "dynamixel"
    actual = (present - held if adds else present + held) % table.resolution
    offset = ZERO - actual if adds else actual - ZERO
    largest = _LARGEST_OFFSET[table.protocol]
    if abs(offset) > largest:
        raise CalibrationError(
            f"the joint's zero is {abs(offset)} counts from the middle of the encoder, and a {table.name} corrects "
            f"{largest} at most; turn the horn on its servo by some teeth and measure again"
        )
    return offset


def range_in_counts(joint: JointDescription) -> tuple[int, int]:
    """The joint's position limits from its description, as its servo reads them once it is homed."""
    register = joint.table["goal_position"]
    counts = [register.count(joint.servo_angle(position)) for position in joint.limits.position]
    return min(counts), min(max(counts), 4095)


def reach(joint: JointDescription, counts: Mapping[str, int]) -> tuple[float, float]:
    """The joint's range, rad, within the position limits that a servo's EEPROM holds."""
    register = joint.table["goal_position"]
    ends = [joint.joint_position(register.value(counts[name])) for name in ("min_position_limit", "max_position_limit")]
    return min(ends), max(ends)


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
