"""An hour at 100 Hz with random faults: no leak, no drift, no stop without a stated cause.

    python benchmarks/soak.py [--minutes 60] [--seed 0]

The control tick drives the emulated SO-101 over a pseudo-terminal, along a slow swing, while faults of the bus and of
the servos are injected at random. A fault that stops the arm must say why; it is then reset, and the soak goes on.
Writes benchmarks/results/soak.csv, one line per minute, and prints a summary: ticks, lateness, stops, and what would
grow or wander if something leaked or drifted (memory of both processes, open files, threads, and the joint farthest
from its command on average).
"""

import argparse
import csv
import gc
import os
import re
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from emulated import emulated_arm

from hardware.clock import MonotonicClock
from hardware.errors import RobotError
from hardware.robot import Array, Observation
from planners.plan import Plan
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.control import ControlTick
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.schedule import PlanFrom

ROOT = Path(__file__).parent.parent
READY = (0.0, -0.65, 0.75, 0.5, 0.0, 0.2)
MODEL_PERIOD = 0.05
BETWEEN_FAULTS = 5.0
EXPLAINS = 3.0
"""s for which an injected fault explains a stop."""

FAULTS = (
    "partial-frame",
    "garbage",
    "crc-flip",
    "lost-request",
    "lost-reply",
    "late-reply",
    "wrong-id",
    "reordered-replies",
    "lost-reply+0.5",
    "overload:elbow_flex",
    "missing-id:wrist_roll+0.5",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    clock = MonotonicClock()
    rows: list[dict[str, Any]] = []
    causes: Counter[tuple[str, str]] = Counter()
    with emulated_arm() as (emulator, source):
        robot = source.open(clock)
        robot.connect()
        control = _begin(robot, source, clock)
        end, next_fault, next_row = clock.now() + 60 * given.minutes, clock.now() + BETWEEN_FAULTS, clock.now() + 60
        due, ticks, late, injected, troubles = clock.now(), 0, [0.0], 0, 0
        latest, struck, apart = "", -EXPLAINS, []
        while clock.now() < end:
            late.append(max(0.0, clock.now() - due))
            tick = control.tick(partial(_sway, control, clock))
            ticks += 1
            troubles += tick.trouble is not None
            if control.fault is not None:
                causes[latest if clock.now() - struck < EXPLAINS else "nothing", _cause(control.fault)] += 1
                control = _reset(robot, source, clock)
                due = clock.now()
            elif tick.observation is not None:
                apart.append(tick.observation.values["joint_position"] - control.sent)
            if clock.now() >= next_fault:
                latest, struck = str(rng.choice(FAULTS)), clock.now()
                emulator.inject(latest)
                injected += 1
                next_fault = clock.now() + rng.uniform(0.5, 1.5) * BETWEEN_FAULTS
            if clock.now() >= next_row or clock.now() >= end:
                gc.collect()
                counts = {"ticks": ticks, "faults": injected, "troubles": troubles, "stops": sum(causes.values())}
                rows.append(counts | _state(late, apart, emulator._process.pid))
                _write(rows)
                late, apart, next_row = [0.0], [], clock.now() + 60
            due = max(due + control.period, clock.now() - control.period)
            clock.sleep_until(due)
        robot.disconnect()
    print(f"{ticks} ticks, {injected} faults, {sum(causes.values())} stops, each with its cause:")
    for (fault, cause), count in causes.most_common():
        print(f"  {count:4d}  after {fault}: {cause}")
    for name in ("rss_mib", "emulator_rss_mib", "open_files", "threads", "apart_mrad"):
        print(f"{name}: {rows[0][name]} in the first minute, {rows[-1][name]} in the last")
    if any(not cause for _, cause in causes):
        sys.exit("a stop had no stated cause")


def _cause(fault: str) -> str:
    """What a fault's message says happened, without readings and remedies."""
    _, _, told = re.sub(r" \([^)]*\)", "", fault).partition(": ")
    return re.split(r"[:;.] ", re.sub(r"\d+\.\d+", "…", told))[0]


def _begin(robot: Any, source: Any, clock: MonotonicClock) -> ControlTick:
    scale = ActionScale.delta(robot.spec, 1.0, MODEL_PERIOD)
    control = ControlTick(robot, source.filter(robot, clock), clock, scale=scale, rules=LatePlanRules(5.0))
    control.move_to(READY, 0.8)
    due = clock.now()
    while not control.done and control.fault is None:
        control.tick(lambda seen: None)
        due = max(due + control.period, clock.now() - control.period)
        clock.sleep_until(due)
    if control.fault is None:
        control.follow()
    return control


def _reset(robot: Any, source: Any, clock: MonotonicClock) -> ControlTick:
    """What a person does after a stop: wait until the cause is gone, then reset."""
    for _ in range(100):
        time.sleep(0.2)
        try:
            robot.clear_fault()
            control = _begin(robot, source, clock)
        except RobotError:
            continue
        if control.fault is None:
            return control
    raise SystemExit(f"the fault cannot be reset: {robot.fault}")


def _sway(control: ControlTick, clock: MonotonicClock, seen: Observation | None) -> PlanFrom | None:
    now, newest = clock.now(), control.schedule.newest
    if newest is not None and now < newest.start_time + MODEL_PERIOD:
        return None
    times = now + MODEL_PERIOD * np.arange(8)
    actions = np.zeros((8, 6), np.float32)
    actions[:, 0], actions[:, 2] = 0.4 * np.cos(2 * times), 0.2 * np.sin(2 * times)
    pull = np.clip(3.0 * (np.array(READY) - control.sent), -0.3, 0.3).astype(np.float32)
    return PlanFrom(
        Plan(now, MODEL_PERIOD, np.clip(actions + pull, -1, 1), np.zeros(6, np.float32), computed_at=now), control.sent
    )


def _state(late: list[float], apart: list[Array], emulator: int) -> dict[str, Any]:
    p50, p99 = np.percentile(late, (50, 99)) * 1e3
    return {
        "late_ms_p50": round(float(p50), 3),
        "late_ms_p99": round(float(p99), 3),
        "rss_mib": _rss("self"),
        "emulator_rss_mib": _rss(str(emulator)),
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "apart_mrad": round(float(np.abs(np.mean(apart, axis=0)).max()) * 1e3, 2),
    }


def _rss(process: str) -> float:
    pages = int((Path("/proc") / process / "statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _write(rows: list[dict[str, Any]]) -> None:
    with (ROOT / "benchmarks" / "results" / "soak.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
