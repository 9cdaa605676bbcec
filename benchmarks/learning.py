"""Learning suites: one command each, resumable seed by seed, results as csv.

    python benchmarks/learning.py cartpole-swingup              5 seeds, two at a time
    python benchmarks/learning.py --list                        every suite
    python benchmarks/learning.py ablations --seeds 0 1 2
    python benchmarks/learning.py cheetah-run finger-spin       seed 0 of both, then seed 1 of both, and so on

Runs live in benchmarks/work/, which can be deleted; a run that was cut off goes on from its last finished episode.
benchmarks/results/SUITE.csv holds every episode of every seed, benchmarks/results/evaluations.csv the held-out trials.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / "work"
RESULTS = HERE / "results"
COLUMNS = (
    "variant", "seed", "episode", "env_steps", "return", "success", "model_loss", "one_step_error", "h_step_error",
    "coverage_90", "plan_ms_p50", "plan_ms_p95", "wall_s",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One row of a suite: a task with overrides, and how many held-out trials per seed end it."""

    task: str
    overrides: tuple[str, ...] = ()
    trials: int = 0


# In the ablations every planner costs as many candidates per plan as iCEM by default, 194.
SUITES: dict[str, dict[str, Variant]] = {
    "cartpole-swingup": {"default": Variant("cartpole-swingup", ("env_steps=10000",), trials=5)},
    "reacher-hard": {"default": Variant("reacher-hard", ("env_steps=25000",), trials=5)},
    "finger-spin": {"default": Variant("finger-spin", ("env_steps=50000",), trials=5)},
    "cheetah-run": {"default": Variant("cheetah-run", ("env_steps=40000",), trials=5)},
    "half-cheetah": {
        "default": Variant("half-cheetah", ("env_steps=40000",), trials=5),
        "upright": Variant("half-cheetah", ("env_steps=40000", "task.lean_weight=10"), trials=5),
    },
    "arm-reach": {"default": Variant("arm-reach", trials=40)},
    "arm-push": {"default": Variant("arm-push", trials=40)},
    "learned-reward": {
        "dmc:cartpole-swingup": Variant("dmc:cartpole-swingup", ("env_steps=15000",)),
        "dmc:reacher-easy": Variant("dmc:reacher-easy", ("env_steps=15000",)),
        "gym:Pusher-v5": Variant("gym:Pusher-v5", ("env_steps=10000",)),
    },
    "ablations": {
        "default": Variant("cartpole-swingup", ("env_steps=5000",)),
        "single network": Variant("cartpole-swingup", ("env_steps=5000", "model.members=1")),
        "expectation": Variant("cartpole-swingup", ("env_steps=5000", "model.propagation=expectation")),
        "TS∞": Variant("cartpole-swingup", ("env_steps=5000", "model.propagation=tsinf")),
        "CEM, 196 candidates": Variant(
            "cartpole-swingup",
            (
                "env_steps=5000",
                "planner.name=cem",
                "planner.population=49",
                "planner.elites=10",
                "planner.iterations=4",
                "planner.variance_threshold=0",
            ),
        ),
        "random shooting, 194 candidates": Variant(
            "cartpole-swingup", ("env_steps=5000", "planner.name=random-shooting", "planner.population=194")
        ),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES])
    parser.add_argument("--list", action="store_true", help="name every suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each")
    given = parser.parse_args()
    if given.list:
        print("\n".join(SUITES))
        return
    RESULTS.mkdir(exist_ok=True)
    jobs = [(suite, name, seed) for seed in given.seeds for suite in given.suites for name in SUITES[suite]]
    with ThreadPoolExecutor(given.jobs) as pool:
        for suite, _ in zip((job[0] for job in jobs), pool.map(_run, jobs), strict=True):
            _collect(suite)


def _run(job: tuple[str, str, int]) -> None:
    suite, name, seed = job
    variant = SUITES[suite][name]
    folder = _folder(*job)
    command = [sys.executable, "-m", "robot_ctrl"]
    if not (folder / "config.yaml").exists():
        command += ["run", variant.task, f"seed={seed}", f"run_dir={folder}", "threads=1", *variant.overrides]
        command += ["learning.show_episodes=0"]
    elif not (folder / "report.html").exists():
        command += ["resume", str(folder)]
    else:
        command = []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if command:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.log").open("a") as log:
            subprocess.run(command, stdout=log, stderr=log, env=environment, check=True)
    if variant.trials and not (folder / "evaluation.json").exists():
        evaluate = [
            sys.executable,
            "-m",
            "robot_ctrl",
            "evaluate",
            str(folder),
            "--episodes",
            str(variant.trials),
        ]
        subprocess.run(evaluate, env=environment, check=True)


def _collect(suite: str) -> None:
    rows = []
    evaluations = []
    for name in SUITES[suite]:
        for metrics in sorted((WORK / suite / _slug(name)).glob("seed*/metrics.csv")):
            seed = metrics.parent.name.removeprefix("seed")
            with metrics.open(newline="") as file:
                rows += [{"variant": name, "seed": seed, **row} for row in csv.DictReader(file)]
            evaluation = metrics.parent / "evaluation.json"
            if evaluation.exists():
                found = json.loads(evaluation.read_text())
                evaluations += [
                    {"variant": name, "seed": seed, "trial": index, **trial}
                    for index, trial in enumerate(found["each"])
                ]
    _write(RESULTS / f"{suite}.csv", rows, COLUMNS)
    if evaluations:
        _write(RESULTS / f"{suite}-evaluation.csv", evaluations, tuple(evaluations[0]))


def _write(path: Path, rows: list[dict[str, object]], columns: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _folder(suite: str, name: str, seed: int) -> Path:
    return WORK / suite / _slug(name) / f"seed{seed}"


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


if __name__ == "__main__":
    main()
