"""The monitor: what trips it, after how long, what it says, and when it is over."""

import numpy as np
import pytest

from hardware.monitor import Monitor
from hardware.robot import JointSpec, Observation, RobotSpec

SPEC = RobotSpec("arm", (JointSpec("shoulder"), JointSpec("elbow")), "position", 50.0)


def reading(**values: list[float]) -> Observation:
    return Observation(0, {"joint_position": np.zeros(2)} | {name: np.array(value) for name, value in values.items()})


def test_a_joint_may_lag_for_a_while() -> None:
    monitor = Monitor(SPEC, tracking_error=0.2, tracking_time=0.3)
    command = np.array([0.0, -0.5])
    assert monitor.check(reading(), command, 1.0) is None
    assert monitor.check(reading(), command, 1.25) is None
    wrong = monitor.check(reading(), command, 1.3)
    assert wrong is not None
    for part in ("tracking error", "elbow", "0.5 rad", "0.2 rad is the limit", "look for what blocks"):
        assert part in wrong


def test_a_joint_that_catches_up_begins_anew() -> None:
    monitor = Monitor(SPEC, tracking_error=0.2, tracking_time=0.3)
    late = np.array([0.3, 0.0])
    assert monitor.check(reading(), late, 0.0) is None
    assert monitor.check(reading(), np.zeros(2), 0.2) is None
    assert monitor.check(reading(), late, 0.4) is None
    assert monitor.check(reading(), late, 0.6) is None
    assert monitor.check(reading(), late, 0.75) is not None


def test_joints_are_timed_each_for_itself() -> None:
    monitor = Monitor(SPEC, tracking_error=0.2, tracking_time=0.3)
    assert monitor.check(reading(), np.array([0.3, 0.0]), 0.0) is None
    assert monitor.check(reading(), np.array([0.0, 0.3]), 0.2) is None
    assert monitor.check(reading(), np.array([0.0, 0.3]), 0.4) is None
    assert "elbow" in (monitor.check(reading(), np.array([0.0, 0.3]), 0.5) or "")


def test_effort_counts_in_both_directions_and_per_joint() -> None:
    monitor = Monitor(SPEC, effort=[1.0, 2.0], effort_time=0.0)
    assert monitor.check(reading(effort=[-0.9, 1.9]), np.zeros(2), 0.0) is None
    assert "shoulder is 1.5, and 1 is the limit" in (monitor.check(reading(effort=[-1.5, 1.9]), np.zeros(2), 0.1) or "")


def test_a_hot_motor_trips_at_once_and_must_cool_down() -> None:
    monitor = Monitor(SPEC, temperature=65.0)
    assert monitor.check(reading(temperature=[np.nan, 64.0]), np.zeros(2), 0.0) is None
    wrong = monitor.check(reading(temperature=[66.0, 64.0]), np.zeros(2), 0.1)
    assert wrong is not None
    assert "temperature of shoulder is 66 °C, and 65 °C is the limit" in wrong
    assert "cool down" in wrong
    assert monitor.persists(reading(temperature=[63.0, 30.0])) is not None
    assert monitor.persists(reading(temperature=[59.0, 30.0])) is None


def test_what_a_robot_does_not_report_is_not_watched() -> None:
    monitor = Monitor(SPEC, effort=1.0, effort_time=0.0, temperature=65.0)
    assert monitor.check(reading(), np.zeros(2), 0.0) is None
    assert monitor.persists(reading()) is None


def test_a_position_that_is_no_number_is_no_small_error() -> None:
    monitor = Monitor(SPEC, tracking_error=0.2, tracking_time=0.0)
    assert monitor.check(reading(joint_position=[0.0, np.nan]), np.zeros(2), 0.0) is not None


def test_what_persists_is_measured_against_the_command_in_force() -> None:
    monitor = Monitor(SPEC, tracking_error=0.2)
    assert monitor.persists(reading(command=[0.0, 0.5])) is not None
    assert monitor.persists(reading(command=[0.0, 0.1])) is None
    assert monitor.persists(reading()) is None


@pytest.mark.parametrize("limit", [0.0, -1.0, [1.0, np.nan], [1.0, 1.0, 1.0]])
def test_limits_that_make_no_sense_are_refused(limit: float | list[float]) -> None:
    with pytest.raises(ValueError, match="tracking error; give one number above 0, or 2"):
        Monitor(SPEC, tracking_error=limit)
