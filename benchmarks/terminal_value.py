"""What a terminal value is worth to a planner, with everything else the same.

    python benchmarks/terminal_value.py RUN [--episodes 4]

Takes the dynamics model of a run's last checkpoint, fits a value to the run's recorded episodes, and plans held-out
episodes with and without it; nothing is learned in between. Writes benchmarks/results/terminal-value.csv.
"""

import argparse
import csv
import statistics
from pathlib import Path

import torch

from robot_ctrl.build import complete, make_parts, open_run
from robot_ctrl.config import RunConfig, check_config, merge, parse_overrides
from robot_ctrl.dataset import Dataset, step_costs
from robot_ctrl.loop import run_episode
from robot_ctrl.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "terminal-value.csv"
VARIANTS = {
    "horizon 12": ("planner.horizon=12", "value=null"),
    "horizon 8": ("planner.horizon=8", "value=null"),
    "horizon 8, value": ("planner.horizon=8", "value.discount=0.9"),
}
FITS = 20
FIRST_SEED = 10_000
"""Held out: runs hash theirs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, default=4)
    given = parser.parse_args()
    folder, config = open_run(given.run)
    rows = []
    for name, overrides in VARIANTS.items():
        tree = merge(config.model_dump(), parse_overrides(overrides))
        returns = _returns(folder, complete(check_config(tree, name)), given.episodes)
        rows += [{"variant": name, "episode": number, "return": value} for number, value in enumerate(returns)]
        print(
            f"{name:20} median {statistics.median(returns):6.1f}   each {[round(value) for value in returns]}",
            flush=True,
        )
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _returns(folder: RunFolder, config: RunConfig, episodes: int) -> list[float]:
    checkpoint = folder.load_checkpoint()
    assert checkpoint is not None
    task, model, controller, safety = make_parts(config)
    model.load_state_dict(checkpoint["model"])
    if controller.value is not None:
        dataset = Dataset(task, model.device)
        for number in range(len(checkpoint["rows"])):
            dataset.add(folder.episode_path(number), [])
        transitions = dataset.transitions()
        generator = torch.Generator().manual_seed(config.seed)
        for _ in range(FITS):
            controller.value.fit(transitions, step_costs(task, transitions), generator=generator)
    return [
        run_episode(task, controller, safety, reset_seed=FIRST_SEED + trial, policy_seed=trial).total_reward
        for trial in range(episodes)
    ]


if __name__ == "__main__":
    main()
