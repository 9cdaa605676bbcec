"""What the learned policy and its value are worth to a planner, with everything else the same.

    python benchmarks/policy_and_value.py RUN [--episodes 4]

Takes model, policy and value of a run's last checkpoint and drives held-out episodes with the policy alone, and with
the planner with and without either; nothing is learned in between. Adds to benchmarks/results/policy-and-value.csv.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
import torch

from hardware.robot import Observation
from models.actor_critic import ActorCritic
from robot_ctrl.build import complete, make_parts, open_run
from robot_ctrl.config import RunConfig, check_config, merge, parse_overrides
from robot_ctrl.loop import run_episode
from robot_ctrl.policies import Policy
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.task import Array, Task

RESULTS = Path(__file__).parent / "results" / "policy-and-value.csv"
ALONE = "policy alone"
VARIANTS: dict[str, tuple[str, ...]] = {
    ALONE: (),
    "planner with policy and value": (),
    "planner with value": ("value.proposals=0",),
    "planner": ("value=null",),
    "planner, horizon 12": ("value=null", "planner.horizon=12"),
}
FIRST_SEED = 10_000
"""Held out: runs hash theirs."""


class Alone:
    """The policy's mean action, without a planner."""

    def __init__(self, task: Task, policy: ActorCritic) -> None:
        self._task, self._policy = task, policy

    def reset(self, seed: int) -> None:
        """Nothing is kept."""

    def act(self, observation: Observation) -> Array:
        """The command (nu,) for this control period."""
        state = torch.as_tensor(self._task.state(observation), dtype=torch.float32)[None]
        with torch.inference_mode():
            action = self._policy.act(state, noise=torch.zeros(1, self._task.state_spec.action_size))[0]
        command = self._task.previous_command(observation)
        return self._task.action_scale.to_command(action.numpy().astype(np.float64), command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, default=4)
    given = parser.parse_args()
    folder, config = open_run(given.run)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["task", "env_steps", "variant", "episode", "return"])
        for name, overrides in VARIANTS.items():
            tree = merge(config.model_dump(), parse_overrides(overrides))
            steps, returns = _returns(folder, complete(check_config(tree, name)), given.episodes, name == ALONE)
            writer.writerows(
                [config.task["name"], steps, name, number, round(value, 1)] for number, value in enumerate(returns)
            )
            file.flush()
            each = ", ".join(f"{value:.0f}" for value in returns)
            print(f"{name:30} median {statistics.median(returns):6.1f}   each {each}", flush=True)


def _returns(folder: RunFolder, config: RunConfig, episodes: int, alone: bool) -> tuple[int, list[float]]:
    checkpoint = folder.load_checkpoint()
    assert checkpoint is not None
    task, model, controller, safety = make_parts(config)
    model.load_state_dict(checkpoint["model"])
    if controller.value is not None:
        controller.value.load_state_dict(checkpoint["value"])
    policy: Policy = controller
    if alone:
        assert controller.value is not None
        policy = Alone(task, controller.value)
    returns = [
        run_episode(task, policy, safety, reset_seed=FIRST_SEED + trial, policy_seed=trial).total_reward
        for trial in range(episodes)
    ]
    return checkpoint["rows"][-1]["env_steps"], returns


if __name__ == "__main__":
    main()
