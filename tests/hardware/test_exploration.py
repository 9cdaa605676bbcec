"""Exploration: the box and the speed, what trust does to them, and what makes no sense."""

import numpy as np
import pytest

from hardware.exploration import Exploration
from hardware.robot import Array, JointSpec, RobotSpec

SPEC = RobotSpec("arm", (JointSpec("left", (-1.0, 1.0)), JointSpec("right", (-2.0, 2.0))), "position", 50.0)
LOW, HIGH, VELOCITY = np.array([-1.0, -2.0]), np.array([1.0, 2.0]), np.array([3.0, 0.1])


def bounds(trust: float) -> tuple[Array, Array, Array]:
    exploration = Exploration(np.array([-0.5, -3.0]), np.array([0.25, 0.0]), 0.2, lambda: trust)
    return exploration.bounds(LOW, HIGH, VELOCITY)


@pytest.mark.parametrize("trust", [0.0, -1.0, np.nan])
def test_without_trust_the_box_and_the_speed_hold_inside_the_robots_limits(trust: float) -> None:
    low, high, velocity = bounds(trust)
    np.testing.assert_array_equal(low, [-0.5, -2.0])
    np.testing.assert_array_equal(high, [0.25, 0.0])
    np.testing.assert_array_equal(velocity, [0.2, 0.1])


def test_half_the_trust_frees_half_the_way() -> None:
    low, high, velocity = bounds(0.5)
    np.testing.assert_allclose(low, [-0.75, -2.0])
    np.testing.assert_allclose(high, [0.625, 1.0])
    np.testing.assert_allclose(velocity, [1.6, 0.1])


@pytest.mark.parametrize("trust", [1.0, 7.0])
def test_full_trust_leaves_the_robots_own_limits(trust: float) -> None:
    for bound, own in zip(bounds(trust), (LOW, HIGH, VELOCITY), strict=True):
        np.testing.assert_array_equal(bound, own)


@pytest.mark.parametrize(
    ("low", "high", "speed", "message"),
    [
        ([0.5, 0.0], [-0.5, 0.1], 0.2, "'left' is to explore"),
        ([np.nan, 0.0], [0.5, 0.1], 0.2, "'left' is to explore"),
        ([0.0, 3.0], [0.5, 4.0], 0.2, "'right' is to explore"),
        ([0.0], [0.5], 0.2, "give 2 each"),
        ([0.0, 0.0], [0.5, 0.1], 0.0, "speed to explore with is 0.0"),
        ([0.0, 0.0], [0.5, 0.1], np.nan, "speed to explore with is nan"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(low: list[float], high: list[float], speed: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Exploration(np.array(low), np.array(high), speed).check(SPEC)
