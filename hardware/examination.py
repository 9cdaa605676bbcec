"""What is right and wrong with an arm, found out without writing a register or moving a joint."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hardware.calibration import load_calibration, reach
from hardware.clock import Clock, MonotonicClock
from hardware.errors import BusError, CalibrationError, RobotError, ServoFaultError
from hardware.robot_file import JointDescription, RobotDescription
from hardware.serial_bus import SerialBus
from hardware.serial_port import Port, SerialPort, latency_timer
from hardware.servo_bus import Identity
from hardware.servo_setup import open_bus
from hardware.wire.tables import model_name

Verdict = Literal["ok", "note", "wrong"]

_CYCLES = 100
_LISTED = range(1, 31)
_SHORT_LATENCY = 2
_WARM = 0.85
_LIMITS = ("min_position_limit", "max_position_limit")
_SLACK = 0.01


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: "ok", "note" for what should be better, "wrong" for what stops the robot from being driven.
        what: the thing.
        detail: its value, and the remedy where one is needed.
    """

    verdict: Verdict
    what: str
    detail: str


def examine(
    description: RobotDescription, port: str | Port | None = None, clock: Clock | None = None
) -> Iterator[Finding]:
    """Look at the port, at every servo, at the calibration and at the rate that the bus can keep.

    Args:
        description: an arm on a servo bus.
        port: where it is, or an open line, instead of what the description says.
        clock: what rates are measured on.

    Raises:
        PortError: if the port cannot be opened.
        ConnectionLostError: if the line goes away meanwhile.
    """
    clock = clock or MonotonicClock()
    bus = open_bus(description, port, clock)
    try:
        yield from _port(bus)
        present = bus.scan(bus.tables)
        for joint in description.joints:
            for servo in joint.servo_ids:
                yield from _servo(bus, joint, servo, present.get(servo))
        yield from _strangers(bus)
        yield from _calibration(description, bus, complete=len(present) == len(bus.tables))
        if len(present) == len(bus.tables):
            yield _rate(description, bus, clock)
    finally:
        bus.close()


def _port(bus: SerialBus) -> Iterator[Finding]:
    port = bus.port
    if not isinstance(port, SerialPort):
        return
    stable = port.stable_name
    if stable is None or stable == port.name:
        yield Finding("ok", "port", port.name)
    else:
        yield Finding("note", "port", f"{port.name}; name it {stable}, which stays when it is plugged in again")
    timer = latency_timer(port.name)
    if timer is not None:
        long = timer > _SHORT_LATENCY
        remedy = "; it caps the loop near 50 Hz: write 1 to it" if long else ""
        yield Finding("note" if long else "ok", "latency timer", f"{timer} ms{remedy}")


def _servo(bus: SerialBus, joint: JointDescription, servo: int, identity: Identity | None) -> Iterator[Finding]:
    what, table = bus.describe(servo), bus.tables[servo]
    if identity is None:
        yield Finding("wrong", what, f"no answer at {bus.port.baudrate} baud: check its cable, power and identifier")
        return
    if identity.model_number != table.model_number:
        found = model_name(identity.model_number)
        yield Finding("wrong", what, f"is an {found}; the robot's file says {table.name}: correct 'model'")
        return
    try:
        low, high = reach(joint, {end: bus.read_count(servo, end) for end in _LIMITS})
        position = joint.joint_position(bus.read(servo, "present_position"))
        stands = f"{position:+.3f} rad of [{low:.2f}, {high:.2f}]"
        yield Finding(*_health(bus, servo, what, identity, stands))
        wanted_low, wanted_high = joint.limits.position
        if low > wanted_low + _SLACK or high < wanted_high - _SLACK:
            yield Finding(
                "wrong",
                what,
                f"its EEPROM allows [{low:.2f}, {high:.2f}] rad, less than the robot's file, [{wanted_low:g}, "
                f"{wanted_high:g}]: narrow 'position' there, or calibrate",
            )
    except (BusError, ServoFaultError) as error:
        yield Finding("wrong", what, str(error))


def _health(bus: SerialBus, servo: int, what: str, identity: Identity, stands: str) -> tuple[Verdict, str, str]:
    lowest, highest = bus.read(servo, "min_voltage_limit"), bus.read(servo, "max_voltage_limit")
    voltage, temperature = bus.read(servo, "present_input_voltage"), bus.read(servo, "present_temperature")
    hottest = bus.read(servo, "temperature_limit")
    torque = "torque on" if bus.read_count(servo, "torque_enable") else "torque off"
    error = bus.read_count(servo, "hardware_error_status")
    state = (
        f"{bus.tables[servo].name}, firmware {identity.firmware}, {voltage:.1f} V, {temperature:.0f} °C of "
        f"{hottest:.0f}, {stands}, {torque}"
    )
    if error:
        return "wrong", what, f"{state}: {bus.tables[servo].error_text(error)}; remove the cause, then reset the fault"
    if not lowest <= voltage <= highest:
        return "wrong", what, f"{state}: it takes {lowest:.1f} to {highest:.1f} V; check the power supply"
    if temperature >= hottest:
        return "wrong", what, f"{state}: let it cool down"
    if temperature >= _WARM * hottest:
        return "note", what, f"{state}: it is warm; relieve it or let it rest"
    return "ok", what, state


def _strangers(bus: SerialBus) -> Iterator[Finding]:
    others = sorted(bus.scan(servo for servo in _LISTED if servo not in bus.tables))
    if others:
        listed = ", ".join(map(str, others))
        yield Finding("note", "other servos", f"{listed} answer too and are not in the robot's file")


def _calibration(description: RobotDescription, bus: SerialBus, *, complete: bool) -> Iterator[Finding]:
    path = description.calibration_path
    if path is None:
        yield Finding("note", "calibration", "none: the servos' own zero is taken for the joints'; run calibrate")
        return
    try:
        calibration = load_calibration(path)
        calibration.check_description(description)
        if complete:
            calibration.check_servos(bus)
    except (CalibrationError, BusError, ServoFaultError) as error:
        yield Finding("wrong", "calibration", str(error))
    else:
        yield Finding("ok", "calibration", str(path))


def _rate(description: RobotDescription, bus: SerialBus, clock: Clock) -> Finding:
    """How fast all positions can be read, against the time that their bytes are on the line."""
    plan = bus.plan_read({servo: ["present_position"] for servo in bus.tables})
    durations = []
    retries = bus.counters.retries
    try:
        for _ in range(_CYCLES):
            started = clock.now()
            bus.sync_read(plan)
            durations.append(clock.now() - started)
    except RobotError as error:
        return Finding("wrong", "rate", str(error))
    durations.sort()
    median, slow = durations[_CYCLES // 2], durations[math.ceil(0.99 * _CYCLES) - 1]
    repeated = bus.counters.retries - retries
    detail = (
        f"all positions in {median * 1e3:.1f} ms (99 %: {slow * 1e3:.1f} ms), {repeated} of {_CYCLES} repeated; the "
        f"control period is {1e3 / description.control_rate:.0f} ms"
    )
    if slow > 0.5 / description.control_rate:
        return Finding(
            "note", "rate", f"{detail}: lower 'control_rate', raise 'baudrate', or shorten the latency timer"
        )
    return Finding("ok", "rate", detail)
