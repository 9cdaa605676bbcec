"""What becomes of an arm in motion when something fails: every case of the fault matrix, on an injected clock and live.

    python benchmarks/fault_matrix.py            the cases of tests/helpers/fault_cases.py, on an injected clock
    python benchmarks/fault_matrix.py --live --run runs/arm-reach
                                                 processes killed and hung in a real deployment, over a pseudo-terminal

For each: the time from the fault to a velocity of zero (commanded on the injected clock, of the joints live), what
happened to the torque, what was lost from the record, and the message; live also when the arm moved last, for some
stops end parked. Writes benchmarks/results/fault-matrix.csv (or fault-matrix-live.csv) and prints a table.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
AT_REST, RESTS = 0.05, 0.1
"""rad/s that a joint at rest may have, and s for which all must."""

sys.path.insert(0, str(ROOT / "tests" / "helpers"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--run", type=Path, help="a trained arm-reach run, for --live")
    given = parser.parse_args()
    name = "fault-matrix-live.csv" if given.live else "fault-matrix.csv"
    rows = []
    for row in live(given.run) if given.live else on_a_clock():
        rows.append(row)
        with (ROOT / "benchmarks" / "results" / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(rows)
    print("| fault | ends | to zero velocity | torque | lost from the record | message |\n|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value).replace("|", "/") for value in row.values()) + " |")


def on_a_clock() -> Iterator[dict[str, Any]]:
    from fault_cases import CASES
    from fault_rig import Rig

    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(Path(folder))
            rig.start()
            since = rig.clock.now()
            try:
                case.strike(rig)
                outcome = rig.outcome(since, case.patience)
            finally:
                rig.undo()
        yield {
            "fault": name,
            "ends": "stopped, latched" if outcome.stopped else "goes on" if outcome.seconds is None else "rests",
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
        yield _strike(run, name, strike)


def _child(name: str) -> int:
    import multiprocessing

    for process in multiprocessing.active_children():
        if process.name == f"robot-ctrl {name}" and process.pid is not None:
            return process.pid
    raise LookupError(name)


def _strike(run: Path, name: str, strike: Callable[[], None]) -> dict[str, Any]:
    from emulated import emulated_arm

    from hardware.errors import RobotError
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
