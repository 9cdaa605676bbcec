"""Stop trajectories: known distances and durations, and rest at the end."""

import numpy as np
import pytest

from hardware.stopping import Brakes, MotionState


def stop_from(
    velocity: float, acceleration: float = 0.0, *, most: float = 10.0, jerk: float = 100.0, at: float = 0.3
) -> tuple[float, float, float]:
    """Duration, final position and farthest position of a stop from a position of 0.3."""
    state = MotionState(np.array([at]), np.array([velocity]), np.array([acceleration]))
    stop = Brakes(np.array([most]), np.array([jerk])).stop_from(state)
    assert stop is not None
    return stop.duration, float(stop.at(np.inf).position[0]), float(stop.highest[0])


def test_braking_takes_the_time_and_the_way_that_kinematics_say() -> None:
    duration, end, farthest = stop_from(2.0)
    assert duration == pytest.approx(2.0 / 10 + 10 / 100)
    assert end - 0.3 == pytest.approx(2.0**2 / (2 * 10) + 2.0 * 10 / (2 * 100))
    assert farthest == pytest.approx(end)


def test_a_slow_joint_brakes_without_reaching_the_acceleration_limit() -> None:
    duration, end, _ = stop_from(0.25)
    assert duration == pytest.approx(2 * np.sqrt(0.25 / 100))
    assert end - 0.3 == pytest.approx(0.25 * duration / 2)


def test_without_a_jerk_limit_the_acceleration_jumps() -> None:
    duration, end, _ = stop_from(-2.0, jerk=np.inf)
    assert duration == pytest.approx(0.2)
    assert end - 0.3 == pytest.approx(-0.2)


def test_a_joint_that_speeds_up_goes_farther() -> None:
    assert stop_from(1.0, 5.0)[1] > stop_from(1.0)[1] > stop_from(1.0, -5.0)[1]


def test_every_joint_rests_at_the_end_and_never_leaves_the_range_that_was_stated() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = 6
        most, jerk = rng.uniform(1, 30, size), rng.uniform(20, 2000, size)
        state = MotionState(
            rng.uniform(-2, 2, size), rng.uniform(-3, 3, size), rng.uniform(-1, 1, size) * np.minimum(most, 5)
        )
        stop = Brakes(most, jerk).stop_from(state)
        assert stop is not None
        path = np.array([stop.at(time).position for time in np.linspace(0, stop.duration * 1.2, 200)])
        assert (path >= stop.lowest - 1e-9).all()
        assert (path <= stop.highest + 1e-9).all()
        np.testing.assert_allclose(path[0], state.position)
        end = stop.at(stop.duration)
        assert not end.velocity.any()
        assert not end.acceleration.any()
        np.testing.assert_allclose(stop.positions(5)[[0, -1]], [state.position, end.position], atol=1e-9)


def test_from_what_is_not_finite_there_is_no_stop() -> None:
    nowhere = MotionState(np.array([0.0]), np.array([np.nan]), np.array([0.0]))
    assert Brakes(np.array([10.0]), np.array([100.0])).stop_from(nowhere) is None
