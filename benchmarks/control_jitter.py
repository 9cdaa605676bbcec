"""How evenly control ticks while a planner works at full load, beside an idle loop on the same computer.

    python benchmarks/control_jitter.py --run runs/arm-reach [--seconds 60]

Three loops at 100 Hz, each in a process of its own and one after the other: one that only sleeps, one that only sleeps
beside a process that computes without a pause, and control in a deployment that plans without a pause. For each, how
late its ticks began. Writes benchmarks/results/control-jitter.csv and prints a table with the ratio to the idle loop.
"""

import argparse
import csv
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
PERIOD = 0.01
PERCENTILES = (50, 99, 99.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained arm-reach run")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    rows = [
        {"loop": "idle", **_sleeper(given.seconds, busy=False)},
        {"loop": "idle, beside a busy process", **_sleeper(given.seconds, busy=True)},
        {"loop": "control, planner at full load", **_deployed(given.run, given.seconds)},
    ]
    with (ROOT / "benchmarks" / "results" / "control-jitter.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| loop | late by p50 | p99 | p99.9 | ratio to idle, p99 |\n|---|---|---|---|---|")
    for row in rows:
        cells = " | ".join(f"{row[f'p{percent:g}_us']:.0f} µs" for percent in PERCENTILES)
        print(f"| {row['loop']} | {cells} | {row['p99_us'] / rows[0]['p99_us']:.1f} |")


def _sleeper(seconds: float, *, busy: bool) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    loop = context.Process(target=_sleep, args=(seconds, theirs), daemon=True)
    worker = context.Process(target=_work, daemon=True)
    if busy:
        worker.start()
    loop.start()
    late = ours.recv()
    loop.join()
    if busy:
        worker.terminate()
    return _percentiles(late)


def _sleep(seconds: float, answer: Any) -> None:
    from robot_ctrl.realtime.control_process import _raise_priority

    _raise_priority()
    due, late = time.monotonic(), []
    end = due + seconds
    while due < end:
        due += PERIOD
        time.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
    answer.send(late)


def _work() -> None:
    values = np.ones((300, 300))
    while True:
        values = np.tanh(values @ values)


def _deployed(run: Path, seconds: float) -> dict[str, Any]:
    from mcap.reader import make_reader

    from robot_ctrl.deploy import deploy
    from robot_ctrl.realtime.sources import SimulatedArm

    late: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("deployments"))
        episodes = max(1, round(seconds / 2.5))
        deploy(copy, SimulatedArm(), episodes=episodes, name="jitter", stop_after=5.0, latch_folder=Path(folder))
        for path in sorted((copy / "deployments" / "jitter" / "episodes").glob("*.mcap")):
            with path.open("rb") as file:
                for _, _, message in make_reader(file).iter_messages(topics=["/control"]):
                    late.append(json.loads(message.data)["late"])
    return _percentiles(late)


def _percentiles(late: list[float]) -> dict[str, Any]:
    values = np.percentile(late, PERCENTILES) * 1e6
    return {"ticks": len(late)} | {
        f"p{percent:g}_us": round(float(value), 1) for percent, value in zip(PERCENTILES, values, strict=True)
    }


if __name__ == "__main__":
    main()
