"""E2C on its paper's tasks: train on random episodes, plan by iLQR in the latent from held-out starts to goal pictures.

    python benchmarks/e2c.py planar-image --seeds 0 1 2 3 4 --trials 40
    python benchmarks/e2c.py pendulum-image --seeds 0 1 2 3 4 --trials 40

benchmarks/results/e2c.csv holds every trial, docs/images/e2c-TASK-seedN.png the latent over the true state.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from in_memory import roll

from models.image.frames import FrameSequences
from robot_ctrl.build import make_model, resolve
from robot_ctrl.controller import Controller
from robot_ctrl.evaluation import wilson_interval
from robot_ctrl.goals.goal_image_task import GoalImageTask
from robot_ctrl.policies import BasePolicy
from robot_ctrl.seeds import derive_seed
from robot_ctrl.tasks import make_task

CSV = Path(__file__).parent / "results" / "e2c.csv"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
HELD_OUT = 1_000_000
PLOTTED = 30
DIRECTIONS = ("widest", "second", "third")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["planar-image", "pendulum-image"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--trials", type=int, default=100, help="held-out starts and goals of each seed")
    parser.add_argument("--replan-every", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for seed in given.seeds:
        measure(given.task, seed, given.trials, given.replan_every)


def measure(name: str, seed: int, trials: int, replan_every: int) -> None:
    config = resolve(name, [f"seed={seed}"])
    task: Any = make_task(config.task)
    task.robot.connect()
    base = BasePolicy(task, config.learning.base_policy, config.learning.base_policy_colour)
    recorded = [roll(task, base, seed, number) for number in range(config.learning.random_episodes)]
    model = make_model(config, task)
    started = time.process_time()
    data = FrameSequences.concatenate([frames for _, frames in recorded])
    model.fit(data, generator=torch.Generator().manual_seed(derive_seed(seed, "fit", 0)))
    train_seconds = time.process_time() - started
    controller = Controller(task, model, config.planner, replan_every=replan_every)
    rows: list[dict[str, Any]] = []
    tested = []
    for trial in range(trials):
        result, frames = roll(task, controller, seed, HELD_OUT + trial)
        tested.append((result, frames))
        measured = {key: round(value, 3) for key, value in task.measures(result.observations).items()}
        rows.append({"task": name, "seed": seed, "trial": trial, "success": int(bool(result.success)), **measured})
    write(name, seed, [{**row, "train_s": round(train_seconds)} for row in rows])
    reached = sum(row["success"] for row in rows)
    low, high = wilson_interval(reached, trials)
    print(
        f"{name} seed {seed}: {reached} of {trials} (95 % interval {low:.0%} to {high:.0%}), median final distance "
        f"{np.median([row['final_distance'] for row in rows]):.2f}, {train_seconds:.0f} s of training"
    )
    unseen = [roll(task, base, seed, 2 * HELD_OUT + number) for number in range(PLOTTED)]
    plot(task, name, seed, model, unseen)


def write(name: str, seed: int, rows: list[dict[str, Any]]) -> None:
    kept = list(csv.DictReader(CSV.open())) if CSV.exists() else []
    kept = [row for row in kept if (row["task"], row["seed"]) != (name, str(seed))]
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*kept, *rows])


def plot(task: GoalImageTask, name: str, seed: int, model: Any, episodes: list[Any]) -> None:
    """The latent's principal directions, coloured by the two numbers of the true state: a speed over the narrowest."""
    latents = torch.cat([model.encode(frames) for _, frames in episodes]).numpy()
    states = np.array([seen.values["state"] for result, _ in episodes for seen in result.observations])
    centred = latents - latents.mean(0)
    shown = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    names, colours = {
        "planar-image": (("x, pixels", "y, pixels"), ("viridis", "viridis")),
        "pendulum-image": (("angle, rad", "speed, rad/s"), ("twilight", "viridis")),
    }[name]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), constrained_layout=True)
    axes[0].scatter(states[:, 0], states[:, 1], c=states[:, 0], s=4, cmap=colours[0])
    axes[0].set(title="true state", xlabel=names[0], ylabel=names[1])
    for axis, values, title, across, colour in zip(
        axes[1:], states.T, names, (1, shown.shape[1] - 1), colours, strict=True
    ):
        points = axis.scatter(shown[:, 0], shown[:, across], c=values, s=4, cmap=colour)
        figure.colorbar(points, ax=axis, label=title)
        axis.set(title=f"latent, coloured by {title.partition(',')[0]}", xlabel="widest", ylabel=DIRECTIONS[across])
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"e2c-{name.removesuffix('-image')}-seed{seed}.png", dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
