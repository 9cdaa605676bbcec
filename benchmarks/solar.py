"""SOLAR on the reacher: the distance to the goal over iterations of rollouts, from pictures and rewards.

    python benchmarks/solar.py

Every seed has its own start and goal. 40 random rollouts, then 10 iterations of a fit and 40 rollouts of the policy
that it leads to; at last 40 rollouts of the tenth policy without noise. benchmarks/results/solar.csv holds every
rollout; a seed that is there is not run again.
`robot-ctrl run reacher-solar task.scene=1 seed=1` does the same with recordings and a report.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_memory import roll

from models.image.frames import FrameSequences
from models.image.solar import SOLAR
from robot_ctrl.controller import Controller
from robot_ctrl.policies import BasePolicy, Policy
from robot_ctrl.seeds import derive_seed
from robot_ctrl.tasks.reacher_goal_image import REACHED
from robot_ctrl.tasks.solar_reacher import ROLLOUTS, ReacherSolar

CSV = Path(__file__).parent / "results" / "solar.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = list(csv.DictReader(CSV.open())) if CSV.exists() else []
    for seed in given.seeds:
        if any(int(row["seed"]) == seed and row["phase"] == "without noise" for row in rows):
            continue
        rows = [row for row in rows if int(row["seed"]) != seed]
        Search(seed, given.iterations, rows).run()


class Search:
    def __init__(self, seed: int, iterations: int, rows: list[dict[str, Any]]) -> None:
        self.seed, self.iterations, self.rows = seed, iterations, rows
        self.task = ReacherSolar(scene=seed)
        self.task.robot.connect()
        self.model = SOLAR(self.task.image_spec, learn_reward=True, seed=seed, **self.task.defaults["model"])
        self.task.see_with(self.model)
        self.episodes: list[FrameSequences] = []

    def run(self) -> None:
        self.roll("random", 0, BasePolicy(self.task, "uniform"))
        for iteration in range(1, self.iterations + 1):
            self.fit(iteration)
            self.roll("search", iteration, self.policy())
        self.roll("without noise", self.iterations, self.policy(exploration=0.0))

    def policy(self, **changes: float) -> Controller:
        planner = {**self.task.defaults["planner"], "risk": "mean", "risk_parameter": None} | changes
        return Controller(self.task, self.model, planner, replan_every=0)

    def fit(self, iteration: int) -> None:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "fit", iteration))
        self.model.fit(FrameSequences.concatenate(self.episodes), generator=generator)

    def roll(self, phase: str, iteration: int, policy: Policy) -> None:
        finals = []
        for _ in range(ROLLOUTS):
            number = len(self.episodes)
            result, frames = roll(self.task, policy, self.seed, number)
            self.episodes.append(frames)
            measured = self.task.measures(result.observations)
            finals.append(measured["final_distance"])
            self.rows.append(
                {"seed": self.seed, "phase": phase, "iteration": iteration, "rollout": number}
                | {name: round(value, 4) for name, value in measured.items()}
            )
        reached = sum(final < REACHED for final in finals)
        print(
            f"seed {self.seed}  {phase:<13} {iteration:>2}  rollouts {len(self.episodes):>3}  final distance median "
            f"{np.median(finals) * 100:5.1f} cm, {min(finals) * 100:.1f} to {max(finals) * 100:.1f}; "
            f"{reached} of {ROLLOUTS} within 5 cm",
            flush=True,
        )
        with CSV.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)


if __name__ == "__main__":
    main()
