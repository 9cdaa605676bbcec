"""What becomes of an arm in motion when something fails: every case of the fault matrix, on an injected clock and live.

    python benchmarks/fault_matrix.py                the cases of tests/helpers/fault_cases.py, on an injected clock
    python benchmarks/fault_matrix.py --real-time    the same in real time, over a pseudo-terminal; about ten minutes
    python benchmarks/fault_matrix.py --live --run runs/arm-reach
                                                     processes killed and hung in a real deployment

For each: the time from the fault to a velocity of zero (commanded; of the joints live), what happened to the torque,
what was lost from the record, and the message; live also when the arm moved last, for some stops end parked. Writes
benchmarks/results/fault-matrix.csv (-real-time, -live) and prints a table; exits with an error if a case ended
otherwise than the tests demand. In real time the driver has more patience with the emulator than with an arm's
servos (``emulated.PATIENCE``), so that silent servos are noticed later than on the injected clock.
"""

import argparse
import csv
import logging
import logging.handlers
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulated import emulated_arm

from hardware.clock import Clock, MonotonicClock
from hardware.emulator import PlantOptions
from hardware.errors import RobotError
from hardware.robot_file import RobotDescription
from robot_ctrl.realtime.sources import DescribedArm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from fault_cases import CASES, Case
from fault_rig import RATE, Rig

ROOT = Path(__file__).parent.parent
AT_REST, RESTS = 0.05, 0.1
"""rad/s that a joint at rest may have, and s for which all must."""

ENDS = {"stops": "stopped, latched", "rides": "goes on", "rests": "rests"}


@dataclass
class RealTimeRig(Rig):
    """In real time, in front of an emulated arm behind a pseudo-terminal, which lasts as long as ``stack``."""

    stack: ExitStack = field(default_factory=ExitStack)

    def make_clock(self) -> Clock:
        return MonotonicClock()

    def emulated(self, description: RobotDescription, plant: PlantOptions) -> DescribedArm:
        self.emulator, source = self.stack.enter_context(emulated_arm("so101", rate=RATE, plant=plant))
        policy = {"safe_policy": description.safe_policy}
        return replace(source, description=source.description.model_copy(update=policy))

    def inject(self, fault: str) -> None:
        self.emulator.inject(fault)

    def torque_on(self) -> tuple[bool, ...]:
        return self.emulator.status().torque_on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-time", action="store_true")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--run", type=Path, help="a trained arm-reach run, for --live")
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="NAME", help="only these; writes no csv")
    given = parser.parse_args()
    if given.live:
        name, found = "fault-matrix-live.csv", live(given.run)
    elif given.real_time:
        name, found = "fault-matrix-real-time.csv", (strike(each, real_time=True) for each in given.cases)
    else:
        name, found = "fault-matrix.csv", (strike(each, real_time=False) for each in given.cases)
    rows = []
    for row in found:
        rows.append(row)
        if len(given.cases) == len(CASES):
            write(rows, name)
    print("| fault | ends | to zero velocity | torque | lost from the record | message |\n|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value).replace("|", "/") for value in row.values()) + " |")
    otherwise = [
        row["fault"] for row in rows if row["fault"] in CASES and row["ends"] != ENDS[CASES[row["fault"]].ends]
    ]
    if otherwise:
        sys.exit(f"these ended otherwise than they must: {', '.join(otherwise)}")


def write(rows: list[dict[str, Any]], name: str) -> None:
    with (ROOT / "benchmarks" / "results" / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def strike(name: str, *, real_time: bool, attempts: int = 10) -> dict[str, Any]:
    """Strike an arm in motion; where an overloaded computer stops it before, try again."""
    case: Case = CASES[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        try:
            rig = RealTimeRig(Path(folder), stack=stack) if real_time else Rig(Path(folder))
            rig.start()
            before = rig.control.fault
        except RobotError as error:
            before = str(error)
        if before is not None:
            if attempts == 1:
                raise SystemExit(f"the arm was stopped before {name}: {before}")
            return strike(name, real_time=real_time, attempts=attempts - 1)
        since = rig.clock.now()
        stack.callback(lambda: rig.undo())
        case.strike(rig)
        outcome = rig.outcome(since, case.patience)
    return {
        "fault": name,
        "ends": ENDS["stops" if outcome.stopped else "rides" if outcome.seconds is None else "rests"],
        "to zero velocity": "—" if outcome.seconds is None else f"{outcome.seconds * 1e3:.0f} ms",
        "torque": f"on in {sum(outcome.torque_on)} of {len(outcome.torque_on)}",
        "lost from the record": f"{outcome.unrecorded * 1e3:.0f} ms",
        "message": outcome.message,
    }


def live(run: Path) -> Iterator[dict[str, Any]]:
    """Kill and hang the processes of a deployment on the emulated arm."""

    def send(process: str, number: int) -> Callable[[], None]:
        return lambda: os.kill(_child(process), number)

    strikes: dict[str, Callable[[], None]] = {
        "kill -9 of control": send("control", signal.SIGKILL),
        "control hangs": send("control", signal.SIGSTOP),
        "kill -9 of the planner": send("planner", signal.SIGKILL),
        "the planner hangs": send("planner", signal.SIGSTOP),
        "kill -9 of the recorder": send("recorder", signal.SIGKILL),
        "kill -9 of the learner": send("learner", signal.SIGKILL),
        "SIGTERM to the planner": send("planner", signal.SIGTERM),
        "SIGTERM to the supervisor": lambda: os.kill(os.getpid(), signal.SIGTERM),
    }
    for name, strike in strikes.items():
        yield _strike_deployment(run, name, strike)


def _child(name: str) -> int:
    import multiprocessing

    for process in multiprocessing.active_children():
        if process.name == f"robot-ctrl {name}" and process.pid is not None:
            return process.pid
    raise LookupError(name)


def _strike_deployment(run: Path, name: str, strike: Callable[[], None]) -> dict[str, Any]:
    from robot_ctrl.deploy import deploy
    from robot_ctrl.episodes import read_episode
    from robot_ctrl.errors import Interrupted

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("deployments"))
        episodes = copy / "deployments" / "live" / "episodes"
        seen: dict[str, float] = {}
        with emulated_arm() as (emulator, source):

            def watch() -> None:
                while not any(episodes.glob("*.mcap")):
                    time.sleep(0.05)
                time.sleep(1.0)
                seen["struck"] = seen["moved"] = time.monotonic()
                strike()
                while "over" not in seen:
                    now = time.monotonic()
                    if max(map(abs, emulator.status().velocity)) > AT_REST:
                        seen["moved"] = now
                    elif now - seen["moved"] > RESTS:
                        seen.setdefault("rested", seen["moved"])
                    time.sleep(0.02)

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            warnings = logging.handlers.BufferingHandler(100)
            logging.getLogger("robot_ctrl.realtime").addHandler(warnings)
            stopped = True
            try:
                deploy(copy, source, episodes=2, name="live", park=False, latch_folder=Path(folder))
                stopped, message = False, "; ".join(record.getMessage() for record in warnings.buffer)
            except (RobotError, Interrupted) as error:
                message = str(error)
            ended = time.monotonic()
            if "struck" not in seen:
                raise SystemExit(f"the deployment ended before {name}: {message}")
            time.sleep(1.0)
            seen["over"] = 1.0
            watcher.join(5)
            torque = emulator.status().torque_on
        files = sorted(episodes.glob("*.mcap"))
        recorded = read_episode(files[-1]) if files else None
        lost = "—"
        if recorded is not None and recorded.outcome != "finished":
            lost = f"{max(0.0, seen['struck'] - recorded.observations[-1].read_end['motion']) * 1e3:.0f} ms"

        def after(event: str) -> float:
            return seen[event] - seen["struck"]

        return {
            "fault": name,
            "ends": f"over after {ended - seen['struck']:.1f} s" if stopped else "goes on",
            "to zero velocity": f"{after('rested') * 1e3:.0f} ms" if stopped else "—",
            "moved last": f"after {after('moved'):.1f} s" if stopped else "—",
            "torque": f"on in {sum(torque)} of {len(torque)}",
            "lost from the record": lost,
            "message": message,
        }


if __name__ == "__main__":
    main()
