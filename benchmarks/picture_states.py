"""What states that are made of pictures tell of where things are, in episodes that were not learned from.

    python benchmarks/picture_states.py reacher-easy cartpole-swingup

Fits the model of ``pixels:TASK`` to random episodes, once with states of codes and once with keypoints, and then a
linear map from the states of the same episodes to the simulator's positions. Frames in which the cart is out of the
picture are left out.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from hardware.robot import Observation
from models.image.frames import FrameSequences
from robot_ctrl.build import make_parts, resolve
from robot_ctrl.goals.perception import everything
from robot_ctrl.loop import run_episode
from robot_ctrl.policies import BasePolicy

RESULTS = Path(__file__).parent / "results" / "picture-states.csv"
EPISODES, STEPS = 40, 100
IN_PICTURE = 0.9
"""Metres from the middle: the cart's rail is longer, and a fingertip never gets there."""

LINK = 0.12
"""Metres, from dm_control's reacher.xml."""

POSITIONS = {
    "reacher-easy": ("fingertip x", "fingertip y", "target x", "target y"),
    "cartpole-swingup": ("cart", "pole, cosine", "pole, sine"),
}
FEATURES = {
    "codes": (
        *("model.features=codes", "model.encoding=stochastic", "model.latent_size=16", "model.widths=[16,32,64]"),
        *("model.dynamics_weight=3", "model.batch_size=50", "model.learning_rate=1e-3", "model.far_steps=1500"),
    ),
    "keypoints": (),
}
"""Codes with the settings that were best with codes."""

Recording = tuple[FrameSequences, Tensor, Tensor]
"""Frames, the positions (F, n) that they show, and whether they show them, (F,)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=list(POSITIONS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.tasks:
        first = 1000 * (given.seed + 1)
        learned_from, held_out = record(name, first), record(name, first + EPISODES)
        for features, overrides in FEATURES.items():
            model = make_parts(resolve(f"pixels:{name}", ["threads=1", f"seed={given.seed}", *overrides]))[1]
            model.fit(learned_from[0], generator=Generator().manual_seed(given.seed))
            explained = dict(zip(POSITIONS[name], explain(model, learned_from, held_out), strict=True))
            rows += [[name, features, given.seed, where, f"{share:.3f}"] for where, share in explained.items()]
            print(name, features, {where: round(share, 3) for where, share in explained.items()}, flush=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([["task", "features", "seed", "position", "r2"], *rows])


def record(name: str, first_seed: int) -> Recording:
    """Random episodes; frames in which the cart is out of the picture are not to be explained."""
    task, _, _, safety = make_parts(resolve(f"pixels:{name}", ["threads=1"]))
    task.episode_steps = STEPS
    policy = BasePolicy(task, "coloured", gentle=0.5)
    observations, actions = [], []
    for seed in range(first_seed, first_seed + EPISODES):
        result = run_episode(task, policy, safety, reset_seed=seed, policy_seed=seed)
        observations += result.observations
        actions += [*result.actions, np.zeros(task.state_spec.action_size)]
    data = FrameSequences(
        frames=torch.stack([task.model_spec.see(everything(observation))[0] for observation in observations]),
        proprioception=torch.zeros(len(observations), 0),
        actions=torch.tensor(np.array(actions), dtype=torch.float32),
        rewards=torch.tensor([task.reward(observation) for observation in observations], dtype=torch.float32),
        episodes=torch.arange(EPISODES).repeat_interleave(STEPS + 1),
    )
    truth = torch.tensor(np.array([positions(name, each) for each in observations]), dtype=torch.float32)
    shown = truth[:, 0].abs() < IN_PICTURE
    return data, truth, shown


def positions(name: str, observation: Observation) -> list[float]:
    """Where things are, in the order of ``POSITIONS``."""
    first, second = observation.values["qpos"]
    if name == "reacher-easy":
        finger = LINK * np.array([np.cos(first) + np.cos(first + second), np.sin(first) + np.sin(first + second)])
        return [*finger, *(finger + observation.values["to_target"])]
    return [first, np.cos(second), np.sin(second)]


def explain(model: Any, learned_from: Recording, held_out: Recording) -> list[float]:
    """The share of the variance of each position that a linear map of the states explains, in held-out episodes."""
    (states, truth), (new_states, new_truth) = (
        (with_one(model.encode(data))[shown], truth[shown]) for data, truth, shown in (learned_from, held_out)
    )
    line = torch.linalg.lstsq(states, truth).solution
    unexplained = (new_states @ line - new_truth).square().mean(0) / new_truth.var(0, correction=0)
    shares: list[float] = (1 - unexplained).tolist()
    return shares


def with_one(states: Tensor) -> Tensor:
    return torch.cat([states, torch.ones(len(states), 1)], 1)


if __name__ == "__main__":
    main()
