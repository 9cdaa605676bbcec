"""From simulation to an arm that differs from it, over the wire: success at the start, and after learning there.

    robot-ctrl run arm-reach
    python benchmarks/sim_to_real.py --runs runs/arm-reach          half an hour, with nothing else to do
    python benchmarks/sim_to_real.py --runs runs/koch-reach --robot koch --payload 0.03
    python benchmarks/sim_to_real.py --runs runs/fr3-reach --robot fr3

It is `robot-ctrl deploy` itself, in real time: a computer that is too slow shows. The arm is emulated behind a
pseudo-terminal, with a payload of 200 g, 30 % more friction, 15 ms more delay and encoder noise; its servos are driven
over their wire protocol, within the limits of its robot file. The FR3 is franky-sim (pip install
'robot-ctrl[franka]' franky-sim): a MuJoCo arm that others wrote, behind libfranka's real protocol, as it is. The model
has only seen our simulation. Every seed draws its own targets and noise: trials before, 10 episodes of learning,
trials after. Seeds take the runs in turn. A trial in which the arm is stopped is missed.

Writes benchmarks/results/sim-to-real-ROBOT.csv, trial by trial, and prints a table of what it holds. Seeds that are not
asked for stay in the file, so a measurement can be taken seed by seed.
"""

import argparse
import csv
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from emulated import emulated_arm, franky_sim

from hardware.emulator import PlantOptions
from hardware.errors import RobotError
from robot_ctrl.deploy import deploy
from robot_ctrl.evaluation import wilson_interval
from robot_ctrl.realtime.sources import DescribedArm
from robot_ctrl.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
PLANT = PlantOptions(payload=0.2, friction=1.3, delay=0.015, noise=0.0008)
LEARNING_EPISODES = 10
MOVE_SPEED = 1.2
RATE = 40.0
"""Hz: twice the model's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="trained arm-reach runs")
    parser.add_argument("--robot", default="so101", help="so101, koch, viperx, fr3, or a YAML file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--before", type=int, default=10, help="trials before learning, of each seed")
    parser.add_argument("--after", type=int, default=40, help="trials after learning, of each seed")
    parser.add_argument("--payload", type=float, default=PLANT.payload, help="kg in the gripper")
    given = parser.parse_args()
    path = ROOT / "benchmarks" / "results" / f"sim-to-real-{Path(given.robot).stem}.csv"
    rows = [row for row in _read(path) if int(row["seed"]) not in given.seeds]
    for seed in given.seeds:
        run = given.runs[seed % len(given.runs)]
        with tempfile.TemporaryDirectory() as folder, _arm(given, seed) as arm:
            for row in _trials(given, run, arm, seed, Path(folder)):
                rows.append({"seed": seed, "run": run.name, **row})
                rows.sort(key=lambda row: int(row["seed"]))
                _write(rows, path)
    print(table(rows))


@contextmanager
def _arm(given: argparse.Namespace, seed: int) -> Iterator[DescribedArm]:
    if given.robot == "fr3":
        with franky_sim(RATE) as arm:
            yield arm
    else:
        plant = replace(PLANT, payload=given.payload)
        with emulated_arm(given.robot, rate=RATE, plant=plant, seed=seed) as (_, arm):
            yield arm


def _trials(
    given: argparse.Namespace, trained: Path, arm: DescribedArm, seed: int, folder: Path
) -> Iterator[dict[str, Any]]:
    run = folder / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("deployments"))
    for phase, name, episodes in (
        ("before", "as simulated", given.before),
        ("learning", "learned", LEARNING_EPISODES),
        ("after", "learned", given.after),
    ):
        deployment = RunFolder(run / "deployments" / name)
        earlier, stops = len(deployment.read_metrics()), 0
        while (done := len(deployment.read_metrics()) - earlier) + stops < episodes:
            try:
                deploy(
                    run,
                    arm,
                    episodes=episodes - stops - done,
                    learn=phase == "learning",
                    park=False,
                    seed=seed,
                    name=name,
                    start_speed=MOVE_SPEED,
                    latch_folder=folder / f"{phase} {stops}",
                )
            except RobotError as error:
                stops += 1
                print(f"seed {seed}, {phase}: stop {stops}: {error}", file=sys.stderr)
                yield {"phase": phase, "final_distance": "", "success": 0, "plan_ms": "", "one_step_error": ""}
        for row in deployment.read_metrics()[earlier:]:
            yield {
                "phase": phase,
                "final_distance": row["final_distance"],
                "success": int(row["success"]),
                "plan_ms": row["plan_ms_p50"],
                "one_step_error": row["one_step_error"],
            }


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, Any]]) -> str:
    """Success and distances of each phase, pooled over seeds."""
    phases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        phases[row["phase"]].append(row)
    lines = [
        "| phase | trials | success (2 cm) | 95 % interval | by seed | final distance, median / 95 % / worst | stops "
        "| plan, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for phase, trials in phases.items():
        outcomes = [int(row["success"]) for row in trials]
        low, high = wilson_interval(sum(outcomes), len(outcomes))
        seeds = [
            f"{statistics.mean(int(row['success']) for row in trials if row['seed'] == seed):.0%}"
            for seed in dict.fromkeys(row["seed"] for row in trials)
        ]
        ended = [row for row in trials if row["final_distance"] != ""]
        p50, p95, worst = np.percentile([float(row["final_distance"]) * 1e3 for row in ended], (50, 95, 100))
        lines.append(
            f"| {phase} | {len(trials)} | **{statistics.mean(outcomes):.1%}** | {low:.1%} to {high:.1%} "
            f"| {', '.join(seeds)} | {p50:.0f} / {p95:.0f} / {worst:.0f} mm | {len(trials) - len(ended)} "
            f"| {statistics.median(float(row['plan_ms']) for row in ended):.0f} ms |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
