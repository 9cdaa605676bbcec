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
from robot_ctrl.policies import BasePolicy

RESULTS = Path(__file__).parent / "results" / "picture-states.csv"
LEARNED_FROM, HELD_OUT, STEPS = 40, 40, 100
IN_PICTURE = 0.9
"""Metres from the middle of the rail."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=list(POSITIONS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.tasks:
        data, truth = record(name, given.seed)
        for features, overrides in FEATURES.items():
            explained = explain(name, data, truth, overrides, given.seed)
            rows += [[name, features, given.seed, where, f"{share:.3f}"] for where, share in explained.items()]
            print(name, features, {where: round(share, 3) for where, share in explained.items()}, flush=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([["task", "features", "seed", "position", "r2"], *rows])


def record(name: str, seed: int) -> tuple[FrameSequences, Tensor]:
    """Random episodes, and the positions (F, n) at each frame."""
    task = make_parts(resolve(f"pixels:{name}", ["threads=1"]))[0]
    policy = BasePolicy(task, "coloured", gentle=0.5)
    frames, truth, actions, rewards = [], [], [], []
    for episode in range(LEARNED_FROM + HELD_OUT):
        observation = task.robot.reset(1000 * (seed + 1) + episode)
        policy.reset(1000 * (seed + 1) + episode)
        for _ in range(STEPS):
            command = policy.act(observation)
            frames.append(task.model_spec.see(everything(observation))[0])
            truth.append(positions(name, observation))
            rewards.append(task.reward(observation))
            actions.append(task.action_scale.to_action(command, command))
            task.robot.send_action(command)
            observation = task.robot.get_observation()
    data = FrameSequences(
        frames=torch.stack(frames),
        proprioception=torch.zeros(len(frames), 0),
        actions=torch.tensor(np.array(actions), dtype=torch.float32),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        episodes=torch.arange(LEARNED_FROM + HELD_OUT).repeat_interleave(STEPS),
    )
    return data, torch.tensor(np.array(truth), dtype=torch.float32)


def positions(name: str, observation: Observation) -> list[float]:
    """Where things are, in the order of ``POSITIONS``."""
    first, second = observation.values["qpos"]
    if name == "reacher-easy":
        finger = LINK * np.array([np.cos(first) + np.cos(first + second), np.sin(first) + np.sin(first + second)])
        return [*finger, *(finger + observation.values["to_target"])]
    return [first, np.cos(second), np.sin(second)]


def explain(name: str, data: FrameSequences, truth: Tensor, overrides: tuple[str, ...], seed: int) -> dict[str, float]:
    """The share of the variance of each position that a linear map of the states explains, in held-out episodes."""
    model: Any = make_parts(resolve(f"pixels:{name}", ["threads=1", f"seed={seed}", *overrides]))[1]
    learned = data.episodes < LEARNED_FROM
    model.fit(part(data, learned), generator=Generator().manual_seed(seed))
    states = model.encode(data)
    states = torch.cat([states, torch.ones(len(states), 1)], 1)
    seen = truth[:, 0].abs() < IN_PICTURE if name == "cartpole-swingup" else torch.ones(len(truth), dtype=torch.bool)
    known, new = learned & seen, ~learned & seen
    line = torch.linalg.lstsq(states[known], truth[known]).solution
    unexplained = (states[new] @ line - truth[new]).square().mean(0) / truth[new].var(0, correction=0)
    return dict(zip(POSITIONS[name], (1 - unexplained).tolist(), strict=True))


def part(data: FrameSequences, rows: Tensor) -> FrameSequences:
    assert data.rewards is not None
    return FrameSequences(
        data.frames[rows], data.proprioception[rows], data.actions[rows], data.rewards[rows], data.episodes[rows]
    )


if __name__ == "__main__":
    main()
