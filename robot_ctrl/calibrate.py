"""`robot-ctrl calibrate`: guides a person through measuring an arm's zeros and ranges."""

from collections.abc import Callable
from pathlib import Path

from hardware.calibrating import CalibrationSession, MeasurementError
from hardware.calibration import load_calibration
from hardware.clock import Clock, MonotonicClock
from hardware.robot_file import JointDescription, RobotDescription, load_description
from hardware.serial_port import Port
from hardware.servo_setup import ServoSetup, open_bus
from robot_ctrl.errors import UserError
from robot_ctrl.keyboard import Keys, pressed_keys

Say = Callable[[str], None]
"""Shows a line; one that starts with a carriage return replaces the one before."""

_PERIOD = 0.03


def calibrate(robot: str, port: str | None = None, *, again: bool = False) -> str:
    """Calibrate an arm on a servo bus; returns what there is to say at the end.

    Every joint is kept as soon as it is measured. A second call goes on with the joints that are missing.

    Args:
        robot: a packaged robot's name, or a YAML file.
        port: where it is, instead of what its file says.
        again: measure joints anew that are done.

    Raises:
        UserError: if there is no terminal to guide a person on, or the robot has no servos.
        RobotError: what a servo, the port or the file refuses.
    """
    description = load_description(robot)
    if description.driver == "franka":
        raise UserError(f"{description.name}: a Franka is calibrated by its maker; there is nothing to measure.")
    path = description.calibration_path or Path(f"{description.name}-calibration.json")
    with pressed_keys() as keys:
        guide(description, port, path, keys, _print, again=again)
    advice = ""
    if description.calibration is None:
        advice = f" Copy the robot's file, and put 'calibration: {path.absolute()}' into it."
    return f"{description.name} is calibrated: {path}.{advice}"


def guide(
    description: RobotDescription,
    port: str | Port | None,
    path: Path,
    keys: Keys,
    say: Say,
    *,
    again: bool = False,
    clock: Clock | None = None,
) -> None:
    """The questions and answers of a calibration.

    Args:
        description: the arm.
        port: where it is, or an open line, instead of what the description says.
        path: the calibration file.
        keys: what was typed since the last call.
        say: shows a line.
        again: measure joints anew that are done.
        clock: waits between two looks at a joint.

    Raises:
        RobotError: what a servo, the port or the file refuses.
    """
    earlier = load_calibration(path) if path.exists() and not again else None
    clock = clock or MonotonicClock()
    bus = open_bus(description, port, clock)
    try:
        ServoSetup(description, bus).identify()
        session = CalibrationSession(description, bus, path, earlier)
        remaining = session.remaining
        if not remaining:
            say(f"{description.name} is calibrated already; measure it anew with --again.")
            return
        say(f"{len(remaining)} joints to measure. Hold the arm: its torque goes off. Then press Enter.")
        _until_enter(keys, lambda: None, clock)
        session.release()
        for number, joint in enumerate(remaining, 1):
            say(f"{number}/{len(remaining)} {joint.name}")
            _measure(session, joint, keys, say, clock)
    finally:
        bus.close()


def _measure(session: CalibrationSession, joint: JointDescription, keys: Keys, say: Say, clock: Clock) -> None:
    """Measure one joint, from the start whenever a measurement cannot be used."""
    while True:
        try:
            say("  Move it to its zero, and press Enter.")
            _until_enter(keys, lambda: say(f"\r  reads {_angle(joint, session.position(joint)):+.3f} rad "), clock)
            session.home(joint)
            if (whole := session.full_turn(joint)) is not None:
                say("  It turns all the way: there are no ends to measure.")
                session.finish(joint, whole)
                return
            seen = {servo: (count, count) for servo, count in session.position(joint).items()}

            def look(seen: dict[int, tuple[int, int]] = seen) -> None:
                for servo, count in session.position(joint).items():
                    low, high = seen[servo]
                    seen[servo] = min(low, count), max(high, count)
                first = seen[joint.servo_ids[0]]
                ends = sorted(joint.joint_position(joint.table["present_position"].value(count)) for count in first)
                say(f"\r  from {ends[0]:+.3f} to {ends[1]:+.3f} rad ")

            say("  Move it slowly to both of its ends, and press Enter.")
            _until_enter(keys, look, clock)
            session.finish(joint, seen)
        except MeasurementError as error:
            say(f"  {error}.")
            continue
        if session.narrower(joint, seen):
            low, high = joint.limits.position
            say(f"  That is less than [{low:g}, {high:g}] in the robot's file: narrow 'position' there.")
        return


def _until_enter(keys: Keys, meanwhile: Callable[[], None], clock: Clock) -> None:
    while "\n" not in keys():
        meanwhile()
        clock.sleep_until(clock.now() + _PERIOD)


def _angle(joint: JointDescription, counts: dict[int, int]) -> float:
    register = joint.table["present_position"]
    return joint.joint_position(register.value(counts[joint.servo_ids[0]]))


def _print(line: str) -> None:
    if line.startswith("\r"):
        print(f"\r\033[K{line[1:]}", end="", flush=True)
    else:
        print(f"\n{line}", flush=True)
