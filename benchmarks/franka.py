"""The nominal transfer to a Franka FR3: a run from simulation, deployed over libfranka's real protocol to franky-sim.

    robot-ctrl run arm-reach task.arm=fr3 run_dir=runs/fr3
    pip install 'robot-ctrl[franka]' franky-sim
    python benchmarks/franka.py --run runs/fr3 [--episodes 25]

It is `robot-ctrl deploy` in real time, without learning; franky-sim is an FR3 in MuJoCo that others wrote. How fast its
time ran is printed: below 1 the arm lags, and what is missed may be this computer's fault.

Writes benchmarks/results/franka.csv, trial by trial, and prints a table.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hardware.errors import RobotError
from hardware.robot_file import load_description
from robot_ctrl.deploy import deploy
from robot_ctrl.evaluation import wilson_interval
from robot_ctrl.realtime.sources import DescribedArm
from robot_ctrl.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
RATE = 40.0
"""Hz: twice the model's."""

PRIORITY = 30
ADDRESS = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained arm-reach run with task.arm=fr3")
    parser.add_argument("--episodes", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of start poses and targets")
    parser.add_argument("--seconds", type=float, help="that a plan may take, where two periods are too few")
    given = parser.parse_args()
    update = {"realtime": "ignore", "control_rate": RATE}
    arm = DescribedArm(load_description("fr3").model_copy(update=update), ADDRESS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, franky_sim():
        speed = _speed_of_time(arm)
        run, stops = Path(folder) / "run", 0
        shutil.copytree(given.run, run, ignore=shutil.ignore_patterns("deployments"))
        while len(rows) < given.episodes:
            try:
                deploy(
                    run,
                    arm,
                    episodes=given.episodes - len(rows),
                    learn=False,
                    park=False,
                    seed=given.seed,
                    budget=given.seconds,
                    latch_folder=Path(folder) / f"latch {stops}",
                )
            except RobotError as error:
                stops += 1
                print(f"stop {stops}: {error}", file=sys.stderr)
                if stops > given.episodes:
                    raise
            rows = [_row(row) for row in RunFolder(run / "deployments" / arm.name).read_metrics()]
            _write(rows)
        speed = (speed + _speed_of_time(arm)) / 2
    print(_table(rows))
    print(f"stops: {stops}; the simulator's time ran at {speed:.2f} of real time beside an idle client")


@contextmanager
def franky_sim() -> Iterator[None]:
    """An FR3 in a process of its own. An arm does not wait for this computer's scheduler, so it asks for real time."""
    command = [sys.executable, "-m", "franky_sim.run_server", "--simulator", "mujoco", "--hostname", ADDRESS]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if line.startswith("Connect to the server"):
                break
        else:
            raise SystemExit("franky-sim did not start: pip install franky-sim")
        for thread in (Path("/proc") / str(server.pid) / "task").iterdir():
            with suppress(PermissionError, ProcessLookupError):
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))
        yield
    finally:
        server.kill()
        server.wait(10)


def _speed_of_time(arm: DescribedArm, seconds: float = 3.0) -> float:
    """Seconds of the simulated arm's per second of this computer's."""
    import franky

    robot = franky.Robot(arm.port, realtime_config=franky.RealtimeConfig.Ignore)
    begun, started = robot.state.time.to_sec(), time.monotonic()
    time.sleep(seconds)
    return float((robot.state.time.to_sec() - begun) / (time.monotonic() - started))


def _row(row: dict[str, str]) -> dict[str, Any]:
    names = ("plan_ms_p50", "plan_age_ms_p95", "state_age_ms_p95", "jitter_ms_p99")
    return {
        "episode": int(row["episode"]),
        "success": row["success"] == "1",
        "start_distance": round(float(row["start_distance"]), 4),
        "final_distance": round(float(row["final_distance"]), 4),
        **{name: round(float(row[name]), 2) for name in names},
        "missed_deadlines": int(row["missed_deadlines"]),
    }


def _write(rows: list[dict[str, Any]]) -> None:
    if rows:
        with (ROOT / "benchmarks" / "results" / "franka.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _table(rows: list[dict[str, Any]]) -> str:
    reached = sum(row["success"] for row in rows)
    low, high = wilson_interval(reached, len(rows))
    distances = " / ".join(
        f"{d:.0f}" for d in np.percentile([row["final_distance"] * 1e3 for row in rows], (50, 95, 100))
    )
    plan_ms = statistics.median(row["plan_ms_p50"] for row in rows)
    return (
        "| trials | success (2 cm) | 95 % interval | final distance, median / 95 % / worst | plan, median |\n"
        "|---|---|---|---|---|\n"
        f"| {len(rows)} | **{reached / len(rows):.0%}** | {low:.0%} to {high:.0%} | {distances} mm | {plan_ms:.0f} ms |"
    )


if __name__ == "__main__":
    main()
