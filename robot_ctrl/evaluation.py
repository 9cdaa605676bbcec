"""Fixed-budget evaluation of a run's last model on starts and targets that it has never seen."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from robot_ctrl.build import load_controller
from robot_ctrl.loop import run_episode
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed


def evaluate(run: Path, episodes: int, seed: int) -> str:
    """Run trials with the model fixed, write RUN/evaluation.json, and say the result in a line or two.

    Raises:
        RunError: if the run has no checkpoint yet.
    """
    task, controller, safety = load_controller(run)
    folder, config = RunFolder.open(run)
    checkpoint = folder.load_checkpoint()
    assert checkpoint is not None
    trials: list[dict[str, Any]] = []
    for trial in range(episodes):
        result = run_episode(
            task,
            controller,
            safety,
            reset_seed=derive_seed(config.seed, f"evaluation {seed}", trial),
            policy_seed=derive_seed(config.seed, f"evaluation policy {seed}", trial),
        )
        trials.append(
            {
                "return": result.total_reward,
                "success": result.success,
                "steps": result.steps,
                **task.measures(result.observations),
            }
        )
    returns = np.array([trial["return"] for trial in trials])
    report: dict[str, Any] = {
        "task": config.task["name"],
        "seed": config.seed,
        "evaluation_seed": seed,
        "env_steps": checkpoint["rows"][-1]["env_steps"],
        "trials": len(trials),
        "return_median": float(np.median(returns)),
        "return_worst": float(returns.min()),
        "return_best": float(returns.max()),
    }
    line = f"return: median {report['return_median']:.2f}, worst {report['return_worst']:.2f} of {len(trials)} trials"
    successes = [trial["success"] for trial in trials if trial["success"] is not None]
    if successes:
        low, high = wilson_interval(sum(successes), len(successes))
        report |= {
            "successes": sum(successes),
            "success_rate": float(np.mean(successes)),
            "success_interval_95": [low, high],
        }
        line = f"success: {sum(successes)} of {len(successes)} (95 % interval {low:.1%} to {high:.1%})\n{line}"
    folder.write_json("evaluation.json", report | {"each": trials})
    return line


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a success rate (Wilson 1927); z = 1.96 gives 95 %."""
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)
