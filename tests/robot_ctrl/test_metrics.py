import pytest

from robot_ctrl.config import check_config
from robot_ctrl.loop import EpisodeResult
from robot_ctrl.metrics import episode_row, summarise

CONFIG = check_config({"task": {"name": "x"}, "seed": 5}, "test")

COLUMNS = "episode env_steps return success model_loss one_step_error plan_ms_p50 plan_ms_p95 wall_s"
SUMMARY = (
    "task seed episodes env_steps return_last return_best return_mean_last3 success_rate plan_ms_p50 plan_ms_p95 "
    "plan_ms_p99 deadline_misses train_s wall_s version"
)


def row(episode: int, total: float, *, success: bool | None, plans: list[float]) -> dict[str, object]:
    result = EpisodeResult(steps=10, total_reward=total, success=success)
    return episode_row(episode, 10 * (episode + 1), result, None, None, plans, 1.0)


def test_rows_have_the_promised_columns_and_percentiles_in_milliseconds() -> None:
    planned = row(0, 1.0, success=True, plans=[0.001 * number for number in range(1, 101)])
    assert set(COLUMNS.split()) <= set(planned)
    assert planned["plan_ms_p50"] == pytest.approx(50.5)
    assert planned["plan_ms_p95"] == pytest.approx(95.05)
    assert planned["success"] == 1
    unplanned = row(0, 1.0, success=None, plans=[])
    assert unplanned["plan_ms_p50"] is None
    assert unplanned["success"] is None


def test_a_summary_leaves_random_episodes_out_of_the_success_rate() -> None:
    rows = [row(0, -9.0, success=True, plans=[])]
    rows += [row(n, float(n), success=n > 2, plans=[0.01 * n]) for n in (1, 2, 3, 4)]
    summary = summarise(CONFIG, rows, 2.0, 3.0)
    assert set(SUMMARY.split()) <= set(summary)
    assert (summary["return_last"], summary["return_best"], summary["return_mean_last3"]) == (4.0, 4.0, 3.0)
    assert summary["success_rate"] == 0.5
    assert summary["plan_ms_p50"] == pytest.approx(25.0)
    assert (summary["episodes"], summary["env_steps"], summary["seed"]) == (5, 50, 5)


def test_a_run_without_episodes_has_a_summary_too() -> None:
    summary = summarise(CONFIG, [], 0.0, 0.0)
    assert (summary["episodes"], summary["env_steps"], summary["return_last"]) == (0, 0, None)
