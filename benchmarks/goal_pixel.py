"""Pushing by pixels: one run and its held-out trials per seed. Resumable, one process at a time.

    python benchmarks/goal_pixel.py                    5 seeds, 40 held-out trials each
    python benchmarks/goal_pixel.py --seeds 0 1
    python benchmarks/goal_pixel.py --model foresight          through predicted pictures instead of the tracked place

Runs live in benchmarks/work/goal-pixel/, those of foresight in goal-pixel-foresight/; both can be deleted.
benchmarks/results/push-goal-pixel.csv (push-goal-pixel-foresight.csv) holds every held-out trial; it is written after
every seed. With foresight, push-goal-pixel-foresight-prediction.csv says for each seed and number of steps how far
predicted frames and the designated pixel's expected place are off on ten fresh random episodes, against taking the last
frame, and what imagining costs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from robot_ctrl.loop import run_episode

HERE = Path(__file__).parent
PREDICTED_EPISODES, PREDICTED_STEPS = 10, 7
MODELS = ("ensemble", "foresight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, default=40, help="held-out trials of each seed")
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    given = parser.parse_args()
    suffix = "" if given.model == MODELS[0] else f"-{given.model}"
    work, results = HERE / "work" / f"goal-pixel{suffix}", HERE / "results" / f"push-goal-pixel{suffix}.csv"
    results.parent.mkdir(exist_ok=True)
    for seed in given.seeds:
        _run(work / f"seed{seed}", given.model, seed, given.trials)
        _collect(work, results)
        if given.model == "foresight":
            _predict(work / f"seed{seed}", results.with_name("push-goal-pixel-foresight-prediction.csv"))


def _run(folder: Path, model: str, seed: int, trials: int) -> None:
    if not (folder / "config.yaml").exists():
        settings = [f"model.name={model}", f"seed={seed}", f"run_dir={folder}", "threads=1", "learning.show_episodes=0"]
        _call("run", "push-goal-pixel", *settings)
    elif not (folder / "report.html").exists():
        _call("resume", str(folder))
    if not (folder / "evaluation.json").exists():
        _call("evaluate", str(folder), "--episodes", str(trials))


def _call(*arguments: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "robot_ctrl", *arguments], env=environment, check=True)


def _collect(work: Path, results: Path) -> None:
    rows = []
    for found in sorted(work.glob("seed*/evaluation.json")):
        run = json.loads((found.parent / "summary.json").read_text())
        rows += [
            {"seed": run["seed"], "trial": index, "train_s": round(run["train_s"]), **trial}
            for index, trial in enumerate(json.loads(found.read_text())["each"])
        ]
    if rows:
        with results.open("w", newline="") as file:
            writer = csv.DictWriter(file, tuple(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _predict(folder: Path, results: Path) -> None:
    """Replace a seed's rows in the table of prediction errors."""
    import torch

    from robot_ctrl.build import load_controller, open_run
    from robot_ctrl.policies import BasePolicy
    from robot_ctrl.seeds import derive_seed

    torch.set_num_threads(1)
    task, _, safety = load_controller(folder)
    seed = open_run(folder)[1].seed
    policy = BasePolicy(task, "coloured", 1.0)
    states, actions = [], []
    for number in range(PREDICTED_EPISODES):
        seeds = {name: derive_seed(seed, f"prediction {name}", number) for name in ("reset", "policy")}
        result = run_episode(task, policy, safety, reset_seed=seeds["reset"], policy_seed=seeds["policy"])
        seen = [torch.as_tensor(task.state(observation), dtype=torch.float32) for observation in result.observations]
        states.append(torch.stack(seen))
        actions.append(torch.as_tensor(np.stack(result.actions), dtype=torch.float32))
    rows = [{"seed": seed, **row} for row in prediction_errors(task.model, states, actions)]
    before = list(csv.DictReader(results.open())) if results.exists() else []
    rows = [row for row in before if int(row["seed"]) != seed] + rows
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prediction_errors(model: Any, states: list[Any], actions: list[Any]) -> list[dict[str, float]]:
    """A row for each number of steps; places in pixels of the view, where the designated pixel moved at least one."""
    import torch

    from models.image.foresight_motion import expected_pixel

    starts = [(s, t) for s, episode in enumerate(states) for t in range(0, len(episode) - PREDICTED_STEPS, 2)]
    begin = torch.stack([states[s][t] for s, t in starts])
    sent = torch.stack([actions[s][t : t + PREDICTED_STEPS] for s, t in starts])
    happened = torch.stack([states[s][t : t + PREDICTED_STEPS + 1] for s, t in starts])
    with torch.inference_mode():
        began = time.process_time()
        predicted = model.rollout(begin, sent).states
        cost = (time.process_time() - began) / (len(begin) * PREDICTED_STEPS)
    rows = []
    for step in range(1, PREDICTED_STEPS + 1):
        wanted, copied = model.frames(happened[:, step]), model.frames(begin)
        there, before = expected_pixel(model.beliefs(happened[:, step])), expected_pixel(model.beliefs(begin))
        place = expected_pixel(model.beliefs(predicted[:, :, step])).mean(0)
        moved = (there - before).norm(dim=-1) > 1
        rows.append(
            {
                "steps": step,
                "windows": len(begin),
                "frame_rmse": _rms(model.frames(predicted[:, :, step]).mean(0) - wanted),
                "copied_frame_rmse": _rms(copied - wanted),
                "windows_moved": int(moved.sum()),
                "pixel_error": float((place - there)[moved].norm(dim=-1).mean()),
                "copied_pixel_error": float((before - there)[moved].norm(dim=-1).mean()),
                "still_pixel_error": float((place - there)[~moved].norm(dim=-1).mean()),
                "cpu_us_per_candidate_and_step": round(1e6 * cost),
            }
        )
    return rows


def _rms(error: Any) -> float:
    return float(error.square().mean().sqrt())


if __name__ == "__main__":
    main()
