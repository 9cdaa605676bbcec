"""Visual goals: success over seeds and data, and what each part of the recipe is worth. Resumable, one run at a time.

    python benchmarks/visual.py reacher-goal-image          5 seeds, 40 held-out goals each
    python benchmarks/visual.py arm-goal-image              the same for the arm
    python benchmarks/visual.py reacher-planning            what each part of the cost and of the plan is worth
    python benchmarks/visual.py arm-planning
    python benchmarks/visual.py frames --seeds 0 1          success over the number of frames
    python benchmarks/visual.py ablations --seeds 0         what each part of the training is worth
    python benchmarks/visual.py refusals --seeds 0          false alarms and misses of goals that are refused

Every suite prints its table from benchmarks/results/visual-SUITE.csv, which holds every trial. What is there is
not measured again: to repeat a measurement, delete its rows. Runs live in benchmarks/work/, which can be deleted.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import visual_refusals

from robot_ctrl.evaluation import wilson_interval

HERE = Path(__file__).parent
WORK = HERE / "work" / "visual"
RESULTS = HERE / "results"

Row = dict[str, object]


@dataclass(frozen=True)
class Variant:
    """A run with overrides; ``replans`` takes the model of that suite's default run, and only plans differently."""

    task: str
    overrides: tuple[str, ...] = ()
    replans: str | None = None


def reacher(*overrides: str, frames: int = 25_000) -> Variant:
    """Random episodes of 50 frames each."""
    count = frames // 50
    return Variant("reacher-goal-image", (f"learning.random_episodes={count}", f"episodes={count}", *overrides))


def arm(*overrides: str, frames: int = 30_000) -> Variant:
    """Random episodes of 50 frames each."""
    count = frames // 50
    return Variant("arm-goal-image", (f"learning.random_episodes={count}", f"episodes={count}", *overrides))


PLANNING = {
    "default": (),
    "latent L2": ("model.distance_steps=0", "task.proposals=false"),
    "temporal distance alone": ("model.latent_weight=0",),
    "last step only": ("task.last_step_only=true",),
    "no doubt in the cost": ("task.doubt=0",),
    "no proposals": ("task.proposals=false",),
    "one iteration": ("planner.iterations=1",),
    "one iteration, no proposals": ("planner.iterations=1", "task.proposals=false"),
}


def replanned(task: str) -> dict[str, Variant]:
    """Other ways to plan through one and the same model."""
    return {name: Variant(task, overrides, replans=task) for name, overrides in PLANNING.items()}


SUITES: dict[str, dict[str, Variant]] = {
    "reacher-goal-image": {"default": reacher()},
    "arm-goal-image": {"default": arm()},
    "reacher-planning": replanned("reacher-goal-image"),
    "arm-planning": replanned("arm-goal-image"),
    "frames": {f"{count}": reacher(frames=count) for count in (2_500, 5_000, 10_000)},
    "ablations": {
        "single head": reacher("model.heads=1"),
        "no inverse dynamics": reacher("model.inverse_weight=0"),
        "heads see 4 steps only": reacher("model.far_steps=0"),
        "arm without proprioception": arm("task.proprioception=false", "model.stack=2"),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="+", choices=[*SUITES, "refusals"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, default=40, help="held-out goals of each run")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for suite in given.suites:
        results = RESULTS / f"visual-{suite}.csv"
        for seed in given.seeds:
            if suite == "refusals":
                if not any(row["seed"] == str(seed) for row in _read(results)):
                    run = _run("reacher-goal-image", "default", reacher(), seed, given.threads)
                    _add(results, visual_refusals.count(run, seed))
                continue
            for name, variant in SUITES[suite].items():
                if not any(row["variant"] == name and row["seed"] == str(seed) for row in _read(results)):
                    folder = _run(suite, name, variant, seed, given.threads)
                    _add(results, _evaluated(folder, name, given.trials, given.threads))
        rows = _read(results)
        print(visual_refusals.table(rows) if suite == "refusals" else _table(rows, list(SUITES[suite])))


def _run(suite: str, name: str, variant: Variant, seed: int, threads: int) -> Path:
    """Learn, where that has not been done yet."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    folder = WORK / suite / slug / f"seed{seed}"
    if variant.replans:
        trained = _run(variant.replans, "default", SUITES[variant.replans]["default"], seed, threads)
        _take_over(trained, folder, variant.overrides)
    elif not (folder / "config.yaml").exists():
        settings = [f"seed={seed}", f"run_dir={folder}", f"threads={threads}", "learning.show_episodes=0"]
        _call("run", variant.task, *settings, *variant.overrides, threads=threads)
    elif not (folder / "report.html").exists():
        _call("resume", str(folder), threads=threads)
    return folder


def _take_over(trained: Path, folder: Path, overrides: tuple[str, ...]) -> None:
    """A run folder with the model of another run and other settings."""
    from robot_ctrl.config import check_config, merge, parse_overrides, read_yaml, write_config

    shutil.copytree(trained / "checkpoints", folder / "checkpoints", dirs_exist_ok=True)
    shutil.copy(trained / "summary.json", folder)
    tree = merge(read_yaml(trained / "config.yaml"), parse_overrides(overrides))
    write_config(check_config(tree, str(trained)), folder / "config.yaml")


def _evaluated(folder: Path, name: str, trials: int, threads: int) -> list[Row]:
    _call("evaluate", str(folder), "--episodes", str(trials), threads=threads)
    run = json.loads((folder / "summary.json").read_text())
    learned = {
        "variant": name,
        "seed": run["seed"],
        "frames": 50 * run["episodes"],
        "train_s": round(run["train_s"]),
        "train_cpu_s": round(run["train_cpu_s"]),
    }
    each = json.loads((folder / "evaluation.json").read_text())["each"]
    return [{**learned, "trial": index, **trial} for index, trial in enumerate(each)]


def _call(*arguments: str, threads: int) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "robot_ctrl", *arguments], env=environment, check=True)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _add(path: Path, rows: Sequence[Row]) -> None:
    before = _read(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), restval="", extrasaction="raise")
        writer.writeheader()
        writer.writerows([*before, *rows])


def _table(rows: list[dict[str, str]], variants: list[str]) -> str:
    """Success at the task's own tolerance and closer, in a row for each variant that was measured."""
    lines = [
        "| variant | seeds | trials | success (95 % interval) | by seed | within 2.5 cm (95 % interval) "
        "| distance at the end: median, worst | training, CPU minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in variants:
        own = [row for row in rows if row["variant"] == name]
        if not own:
            continue
        seeds = sorted({row["seed"] for row in own}, key=int)
        each = [sum(row["success"] == "True" for row in own if row["seed"] == seed) for seed in seeds]
        near = sum(float(row["final_distance"]) < 0.025 for row in own)
        distances = sorted(1e3 * float(row["final_distance"]) for row in own)
        minutes = statistics.median(float(row["train_cpu_s"]) / 60 for row in own)
        lines.append(
            f"| {name} | {len(seeds)} | {len(own)} | {_rate(sum(each), len(own))} | {', '.join(map(str, each))} "
            f"| {_rate(near, len(own))} | {statistics.median(distances):.0f} mm, {distances[-1] / 10:.0f} cm "
            f"| {minutes:.1f} |"
        )
    return "\n".join(lines)


def _rate(successes: int, trials: int) -> str:
    low, high = wilson_interval(successes, trials)
    return f"**{successes / trials:.1%}** ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
