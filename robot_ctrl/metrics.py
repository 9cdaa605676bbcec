"""The rows of metrics.csv and the numbers of summary.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.calibration import CalibrationReport
from models.ensemble import FitReport
from robot_ctrl import __version__
from robot_ctrl.config import RunConfig
from robot_ctrl.loop import EpisodeResult


def episode_row(
    episode: int,
    env_steps: int,
    result: EpisodeResult,
    fit: FitReport | None,
    errors: CalibrationReport | None,
    plan_seconds: Sequence[float],
    wall_seconds: float,
) -> dict[str, Any]:
    """One line of metrics.csv; what does not apply is None.

    ``errors`` are those of the model that drove the episode, on the episode, before it was fitted to it.
    """
    milliseconds = np.array(plan_seconds) * 1e3
    return {
        "episode": episode,
        "env_steps": env_steps,
        "steps": result.steps,
        "return": result.total_reward,
        "success": None if result.success is None else int(result.success),
        "model_loss": fit.holdout_loss if fit else None,
        "one_step_error": errors.one_step_rmse if errors else None,
        "h_step_error": errors.h_step_rmse if errors else None,
        "log_likelihood": errors.log_likelihood if errors else None,
        "coverage_50": errors.coverage.get(0.5) if errors else None,
        "coverage_90": errors.coverage.get(0.9) if errors else None,
        "coverage_95": errors.coverage.get(0.95) if errors else None,
        "epistemic": errors.epistemic if errors else None,
        "aleatoric": errors.aleatoric if errors else None,
        "plan_ms_p50": _percentile(milliseconds, 50),
        "plan_ms_p95": _percentile(milliseconds, 95),
        "plan_ms_p99": _percentile(milliseconds, 99),
        "wall_s": wall_seconds,
    }


def summarise(
    config: RunConfig, rows: Sequence[dict[str, Any]], train_seconds: float, wall_seconds: float
) -> dict[str, Any]:
    """What summary.json says; percentiles of planning times are medians over the planned episodes."""
    planned = [row for row in rows if row["plan_ms_p50"] is not None]
    returns = [row["return"] for row in rows]
    successes = [row["success"] for row in planned if row["success"] is not None]

    def median(key: str) -> float | None:
        return float(np.median([row[key] for row in planned])) if planned else None

    return {
        "task": config.task["name"],
        "seed": config.seed,
        "episodes": len(rows),
        "env_steps": rows[-1]["env_steps"] if rows else 0,
        "return_last": returns[-1] if returns else None,
        "return_best": max(returns, default=None),
        "return_mean_last3": float(np.mean(returns[-3:])) if returns else None,
        "success_rate": float(np.mean(successes)) if successes else None,
        "plan_ms_p50": median("plan_ms_p50"),
        "plan_ms_p95": median("plan_ms_p95"),
        "plan_ms_p99": median("plan_ms_p99"),
        "deadline_misses": 0,
        "train_s": train_seconds,
        "wall_s": wall_seconds,
        "version": __version__,
    }


def _percentile(values: Any, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None
