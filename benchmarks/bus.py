"""How fast six servos can be written and read, against what the wire allows at 1 Mbps.

    python benchmarks/bus.py            about half a minute

One cycle is a sync write of all goals and a sync read of position, speed and effort, as the control loop does them. The
floor is the wire time: the bytes of both requests and of all replies, ten bits each. It is measured twice: in virtual
time, where the emulated bus takes exactly the time that its bytes take and nothing else runs (what the driver itself
wastes on the line), and in real time over a pseudo-terminal with the emulator in a process of its own (what driver,
kernel, emulator and everything else on this machine add). Writes benchmarks/results/bus.csv.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from hardware.clock import MonotonicClock, VirtualClock
from hardware.emulator import WireOptions, emulate, emulate_in_memory
from hardware.robot_file import RobotDescription, load_description
from hardware.serial_bus import SerialBus
from hardware.servo_readings import MOTION, effort_register
from hardware.servo_setup import ServoSetup, open_bus
from hardware.wire import dynamixel, feetech

ROOT = Path(__file__).parent.parent
FEETECH_STATUS = 6
FAST_STATUS, FAST_BLOCK = 8, 4
"""Bytes around the data: of a reply, of the common reply to a fast read, and of each servo's part in that."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000, help="of each real-time measurement")
    given = parser.parse_args()
    rows = []
    for name in ("so101", "koch"):
        description = load_description(name)
        rows.append(_in_virtual_time(description))
        for latency in (0.0, 0.001, 0.016):
            rows.append(_in_real_time(description, latency, given.cycles if latency < 0.01 else given.cycles // 10))
    results = ROOT / "benchmarks" / "results" / "bus.csv"
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _print(rows)


def _in_virtual_time(description: RobotDescription) -> dict[str, object]:
    clock = VirtualClock()
    bus = open_bus(description, emulate_in_memory(description, clock, wire=WireOptions(latency=0.0)), clock)
    return {"arm": description.name, "time": "virtual", "adapter_ms": 0.0, **_measure(description, bus, clock.now, 200)}


def _in_real_time(description: RobotDescription, latency: float, cycles: int) -> dict[str, object]:
    with emulate(description, wire=WireOptions(latency=latency)) as emulator:
        bus = open_bus(description.model_copy(update={"patience": 0.05}), emulator.port, MonotonicClock())
        try:
            figures = _measure(description, bus, time.perf_counter, cycles)
        finally:
            bus.close()
    return {"arm": description.name, "time": "real", "adapter_ms": 1000 * latency, **figures}


def _measure(description: RobotDescription, bus: SerialBus, now: Callable[[], float], cycles: int) -> dict[str, object]:
    setup = ServoSetup(description, bus)
    setup.identify()
    setup.apply(None)
    plan = bus.plan_read({servo: (*MOTION, effort_register(table)) for servo, table in bus.tables.items()})
    goals = {servo: row[0] for servo, row in zip(plan.servos, bus.sync_read(plan), strict=True)}
    durations, processor = [], time.process_time()
    for _ in range(cycles):
        started = now()
        bus.sync_write("goal_position", goals)
        bus.sync_read(plan)
        durations.append(now() - started)
    processor = (time.process_time() - processor) / cycles
    durations.sort()
    floor = _wire_time(description, plan.address, plan.length, plan.servos)
    median = statistics.median(durations)
    return {
        "cycles": cycles,
        "wire_ms": round(1000 * floor, 3),
        "p10_ms": round(1000 * durations[len(durations) // 10], 3),
        "p50_ms": round(1000 * median, 3),
        "p99_ms": round(1000 * durations[int(0.99 * len(durations))], 3),
        "rate_hz": round(1 / median, 1),
        "efficiency": round(floor / median, 3),
        "processor_ms": round(1000 * processor, 3),
        "retries": bus.counters.retries,
    }


def _wire_time(description: RobotDescription, address: int, length: int, servos: tuple[int, ...]) -> float:
    """Seconds that the bytes of one cycle take."""
    goals = {servo: bytes(4 if description.driver == "dynamixel" else 2) for servo in servos}
    if description.driver == "dynamixel":
        requests = len(dynamixel.sync_write(116, goals)) + len(dynamixel.sync_read(address, length, servos, fast=True))
        replies = FAST_STATUS + len(servos) * (FAST_BLOCK + length)
    else:
        requests = len(feetech.sync_write(42, goals)) + len(feetech.sync_read(address, length, servos))
        replies = len(servos) * (FEETECH_STATUS + length)
    return (requests + replies) * 10 / description.baudrate


def _print(rows: list[dict[str, object]]) -> None:
    print(" | ".join(rows[0]))
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
