"""Pushing by pixels: one run and its held-out trials per seed. Resumable, one process at a time.

    python benchmarks/goal_pixel.py                    5 seeds, 40 held-out trials each
    python benchmarks/goal_pixel.py --seeds 0 1

Runs live in benchmarks/work/goal-pixel/, which can be deleted. benchmarks/results/push-goal-pixel.csv holds every
held-out trial; it is written after every seed.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / "work" / "goal-pixel"
RESULTS = HERE / "results" / "push-goal-pixel.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, default=40, help="held-out trials of each seed")
    given = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    for seed in given.seeds:
        _run(seed, given.trials)
        _collect()


def _run(seed: int, trials: int) -> None:
    folder = WORK / f"seed{seed}"
    if not (folder / "config.yaml").exists():
        settings = [f"seed={seed}", f"run_dir={folder}", "threads=1", "learning.show_episodes=0"]
        _call("run", "push-goal-pixel", *settings)
    elif not (folder / "report.html").exists():
        _call("resume", str(folder))
    if not (folder / "evaluation.json").exists():
        _call("evaluate", str(folder), "--episodes", str(trials))


def _call(*arguments: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "robot_ctrl", *arguments], env=environment, check=True)


def _collect() -> None:
    rows = []
    for found in sorted(WORK.glob("seed*/evaluation.json")):
        run = json.loads((found.parent / "summary.json").read_text())
        rows += [
            {"seed": run["seed"], "trial": index, "train_s": round(run["train_s"]), **trial}
            for index, trial in enumerate(json.loads(found.read_text())["each"])
        ]
    if rows:
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, tuple(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
