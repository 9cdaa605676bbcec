import math

import pytest
import torch
from known_systems import hand_made
from torch import Generator

from models.calibration import calibrate, contiguous_windows, predicted_trajectories
from models.threads import available_cores, choose_threads
from models.transitions import Transitions


def walk(std: float, episodes: int, length: int) -> Transitions:
    """Random walks: every action of 1 moves by 1, plus noise."""
    generator = Generator().manual_seed(0)
    actions = torch.rand(episodes, length, 1, generator=generator) * 2 - 1
    steps = actions + std * torch.randn(episodes, length, 1, generator=generator)
    states = torch.cat([torch.zeros(episodes, 1, 1), steps.cumsum(1)], 1)
    numbers = torch.arange(episodes).repeat_interleave(length)
    return Transitions(
        states[:, :-1].reshape(-1, 1), actions.reshape(-1, 1), states[:, 1:].reshape(-1, 1), None, None, numbers
    )


def test_a_true_model_is_calibrated():
    report = calibrate(hand_made([0.0, 0.0], std=0.5), walk(0.5, 40, 100), horizon=16)
    assert report.one_step_rmse_states[0] == pytest.approx(0.5, rel=0.05)
    assert report.h_step_rmse_states[0] == pytest.approx(0.5 * 4, rel=0.1)
    assert report.horizon == 16
    for level, covered in report.coverage.items():
        assert covered == pytest.approx(level, abs=0.02)
    scale = (1 / 3 + 0.25) ** 0.5
    entropy = -0.5 * math.log(2 * math.pi) - 0.5 - math.log(0.5 / scale)
    assert report.log_likelihood == pytest.approx(entropy, abs=0.03)
    assert report.one_step_rmse == pytest.approx(0.5 / scale, rel=0.05)
    assert report.epistemic == pytest.approx(0, abs=1e-9)
    assert report.aleatoric == pytest.approx(0.25 / scale**2, rel=0.05)


def test_an_overconfident_model_is_found_out():
    report = calibrate(hand_made([0.0, 0.0], std=0.1), walk(0.5, 10, 100))
    assert report.coverage[0.95] < 0.5


def test_members_that_disagree_are_doubtful():
    report = calibrate(hand_made([0.3, -0.3], std=0.5), walk(0.5, 10, 50))
    scale_squared = 1 / 3 + 0.25
    assert report.epistemic == pytest.approx(0.09 / scale_squared, rel=0.1)


def test_a_deterministic_model_has_errors_but_no_intervals():
    report = calibrate(hand_made([0.0]), walk(0.5, 10, 50))
    assert report.log_likelihood is None
    assert report.coverage == {}


def test_the_horizon_is_no_longer_than_the_longest_episode():
    assert calibrate(hand_made([0.0]), walk(0.5, 10, 7)).horizon == 7


def test_windows_stay_within_an_episode_and_skip_gaps():
    data = walk(0.1, 2, 5)
    assert contiguous_windows(data, 4).tolist() == [0, 1, 5, 6]
    data.states[2] += 1.0
    assert contiguous_windows(data, 2).tolist() == [0, 2, 3, 5, 6, 7, 8]


def test_predicted_trajectories_start_where_they_are_told():
    model = hand_made([0.0, 1.0], std=0.5, propagation="tsinf")
    trajectories = predicted_trajectories(model, torch.tensor([[2.0], [9.0]]), torch.ones(3, 1))
    assert trajectories[:, :, 0].tolist() == [[2, 3, 4, 5], [2, 4, 6, 8]]


def test_threads_follow_the_work_and_the_machine():
    assert choose_threads(1e3) == 1
    assert choose_threads(1e12) == available_cores()
    assert choose_threads(6e7) == 1, "the default planner's steps are too short to share"
