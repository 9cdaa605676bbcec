"""Writing and reading six servos against what the wire allows, on emulated buses.

One cycle is a sync write of all goals and a sync read of position, speed and effort, as the control loop does them. The
floor is the wire time: the bytes of both requests and of all replies, ten bits each.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hardware.clock import MonotonicClock, VirtualClock
from hardware.emulator import WireOptions, emulate, emulate_in_memory
from hardware.robot_file import RobotDescription, load_description
from hardware.serial_bus import SerialBus
from hardware.servo_bus import ReadPlan
from hardware.servo_readings import MOTION, effort_register
from hardware.servo_setup import ServoSetup, open_bus
from hardware.wire import dynamixel, feetech
from robot_ctrl.benches.table import Row

ARMS = ("so101", "koch")
CYCLES = 300

_PATIENCE = 0.05
_FEETECH_STATUS, _FAST_STATUS, _FAST_BLOCK = 6, 8, 4
_BITS_PER_BYTE = 10


@dataclass(frozen=True)
class BusFigures:
    """How fast an arm's servos were written and read.

    Attributes:
        wire: seconds that the bytes of one cycle take.
        durations: seconds of each cycle, sorted.
        processor: seconds of processor time per cycle, the emulator's included where it is in this process.
        retries: exchanges that had to be repeated.
    """

    wire: float
    durations: tuple[float, ...]
    processor: float
    retries: int

    def quantile(self, share: float) -> float:
        """The duration below which a share of the cycles lies, s."""
        return self.durations[min(int(share * len(self.durations)), len(self.durations) - 1)]


def bus_rows() -> Iterator[Row]:
    """Two rows for each arm: in virtual time, and over a pseudo-terminal."""
    for name in ARMS:
        description = load_description(name)
        virtual = in_virtual_time(description)
        yield _row(description, virtual, "virtual time", "what the driver leaves unused on the line", 0.9)
        real = in_real_time(description, 0.0, CYCLES)
        note = f"p10 of {CYCLES} cycles; {real.processor * 1e3:.2f} ms of CPU time each"
        yield _row(description, real, "over a pseudo-terminal", note, None)


def in_virtual_time(description: RobotDescription) -> BusFigures:
    """On an emulated bus that takes exactly the time of its bytes, while nothing else takes any."""
    clock = VirtualClock()
    bus = open_bus(description, emulate_in_memory(description, clock, wire=WireOptions(latency=0.0)), clock)
    return _measure(description, bus, clock.now, CYCLES)


def in_real_time(description: RobotDescription, latency: float, cycles: int) -> BusFigures:
    """Over a pseudo-terminal, the emulator in a process of its own.

    Args:
        description: the arm.
        latency: s that its adapter keeps bytes back.
        cycles: how many are timed.
    """
    with emulate(description, wire=WireOptions(latency=latency)) as emulator:
        bus = open_bus(description, emulator.port, MonotonicClock(), _PATIENCE)
        try:
            return _measure(description, bus, time.perf_counter, cycles)
        finally:
            bus.close()


def _measure(description: RobotDescription, bus: SerialBus, now: Callable[[], float], cycles: int) -> BusFigures:
    setup = ServoSetup(description, bus)
    setup.identify()
    setup.apply(None)
    plan = bus.plan_read({servo: (*MOTION, effort_register(table)) for servo, table in bus.tables.items()})
    goals = {servo: row[0] for servo, row in zip(plan.servos, bus.sync_read(plan), strict=True)}
    retries, processor, durations = bus.counters.retries, time.process_time(), []
    for _ in range(cycles):
        started = now()
        bus.sync_write("goal_position", goals)
        bus.sync_read(plan)
        durations.append(now() - started)
    processor = (time.process_time() - processor) / cycles
    wire = _wire_time(description, plan)
    return BusFigures(wire, tuple(sorted(durations)), processor, bus.counters.retries - retries)


def _wire_time(description: RobotDescription, plan: ReadPlan) -> float:
    goals = {
        servo: bytes(joint.table["goal_position"].size) for joint in description.joints for servo in joint.servo_ids
    }
    address, length, servos = plan.address, plan.length, plan.servos
    if description.driver == "dynamixel":
        requests = dynamixel.sync_write(0, goals) + dynamixel.sync_read(address, length, servos, fast=True)
        replies = _FAST_STATUS + len(servos) * (_FAST_BLOCK + length)
    else:
        requests = feetech.sync_write(0, goals) + feetech.sync_read(address, length, servos)
        replies = len(servos) * (_FEETECH_STATUS + length)
    return (len(requests) + replies) * _BITS_PER_BYTE / description.baudrate


def _row(description: RobotDescription, figures: BusFigures, how: str, note: str, at_least: float | None) -> Row:
    cycle = figures.quantile(0.1)
    return Row(
        "bus", f"{description.name}, {len(description.joints)} servos, {how}", None, "", cycle * 1e3, "wire time",
        figures.wire * 1e3, "efficiency", figures.wire / cycle, at_least=at_least,
        note=f"{1 / cycle:.0f} Hz; {note}",
    )  # fmt: skip
