"""Visual goals: success over seeds and data, and what each part of the recipe is worth. Resumable, one run at a time.

    python benchmarks/visual.py reacher-goal-image          5 seeds, 40 held-out goals each
    python benchmarks/visual.py arm-goal-image              the same for the arm
    python benchmarks/visual.py reacher-planning            what each part of the cost and of the plan is worth
    python benchmarks/visual.py arm-planning
    python benchmarks/visual.py frames --seeds 0 1          success over the number of frames
    python benchmarks/visual.py ablations --seeds 0         what each part of the training is worth
    python benchmarks/visual.py refusals --seeds 0          false alarms and misses of goals that are refused

Runs live in benchmarks/work/, which can be deleted. benchmarks/results/visual-SUITE.csv holds every held-out trial.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / "work" / "visual"
RESULTS = HERE / "results"


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
        for seed in given.seeds:
            if suite == "refusals":
                _count_refusals(seed, given.threads)
                continue
            for name, variant in SUITES[suite].items():
                _run(suite, name, variant, seed, given.trials, given.threads)
                _collect(suite)


def _run(suite: str, name: str, variant: Variant, seed: int, trials: int, threads: int) -> Path:
    folder = _folder(suite, name, seed)
    command = [sys.executable, "-m", "robot_ctrl"]
    if variant.replans:
        trained = _run(variant.replans, "default", SUITES[variant.replans]["default"], seed, trials, threads)
        _take_over(trained, folder, variant.overrides)
    elif not (folder / "config.yaml").exists():
        settings = [f"seed={seed}", f"run_dir={folder}", f"threads={threads}", "learning.show_episodes=0"]
        _call([*command, "run", variant.task, *settings, *variant.overrides], threads)
    elif not (folder / "report.html").exists():
        _call([*command, "resume", str(folder)], threads)
    if not (folder / "evaluation.json").exists():
        _call([*command, "evaluate", str(folder), "--episodes", str(trials)], threads)
    return folder


def _take_over(trained: Path, folder: Path, overrides: tuple[str, ...]) -> None:
    """A run folder with the model of another run and other settings."""
    from robot_ctrl.config import check_config, merge, parse_overrides, read_yaml, write_config

    if (folder / "config.yaml").exists():
        return
    shutil.copytree(trained / "checkpoints", folder / "checkpoints", dirs_exist_ok=True)
    shutil.copy(trained / "summary.json", folder)
    tree = merge(read_yaml(trained / "config.yaml"), parse_overrides(overrides))
    write_config(check_config(tree, str(trained)), folder / "config.yaml")


def _call(command: list[str], threads: int) -> None:
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=True)


def _collect(suite: str) -> None:
    rows = []
    for name in SUITES[suite]:
        for found in sorted((WORK / suite / _slug(name)).glob("seed*/evaluation.json")):
            run = json.loads((found.parent / "summary.json").read_text())
            rows += [
                {"variant": name, "seed": run["seed"], "trial": index, "train_s": round(run["train_s"]), **trial}
                for index, trial in enumerate(json.loads(found.read_text())["each"])
            ]
    _write(RESULTS / f"visual-{suite}.csv", rows)


def _count_refusals(seed: int, threads: int) -> None:
    """Goals of the scene that are refused, and pictures of other scenes that are not."""
    import cv2
    import numpy as np

    from robot_ctrl.build import load_controller
    from robot_ctrl.goals.goal_image_task import GoalImageTask

    run = _run("reacher-goal-image", "default", reacher(), seed, 40, threads)
    task, _, _ = load_controller(run)
    assert isinstance(task, GoalImageTask)
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(200):
        good = task.goal_picture(task.robot.reset(1_000_000 + index))
        empty = good.copy()
        empty[:] = np.median(good.reshape(-1, 3), axis=0).astype(np.uint8)
        strangers = {
            "goal of the scene": good,
            "mirrored brightness": 255 - good,
            "noise": rng.integers(0, 255, good.shape, dtype=np.uint8),
            "scene shifted by a quarter": np.roll(good, good.shape[1] // 4, axis=1),
            "lit half as bright": (good // 2).astype(np.uint8),
            "no robot": empty,
            "half hidden": np.hstack([good[:, : good.shape[1] // 2], np.full_like(good[:, good.shape[1] // 2 :], 200)]),
            "blurred": cv2.GaussianBlur(good, (9, 9), 4),
        }
        for kind, picture in strangers.items():
            found = task.familiarity(np.ascontiguousarray(picture))
            rows.append(
                {
                    "seed": seed,
                    "kind": kind,
                    "refused": int(found.strange),
                    "latent": found.latent,
                    "pixels": found.pixels,
                }
            )
    _write(RESULTS / f"visual-refusals-{seed}.csv", rows)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        refused = [row["refused"] for row in rows if row["kind"] == kind]
        print(f"{kind:<28} refused {sum(map(int, refused))} of {len(refused)}")


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    if not rows:
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _folder(suite: str, name: str, seed: int) -> Path:
    return WORK / suite / _slug(name) / f"seed{seed}"


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


if __name__ == "__main__":
    main()
