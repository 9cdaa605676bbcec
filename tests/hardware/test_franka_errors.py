from types import SimpleNamespace

import numpy as np
import pytest

from hardware import franka_limits as limits
from hardware.franka_errors import explain, raised_flags
from hardware.robot_file import load_description

READY = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)


def state(**changed):
    values = {
        "q": np.array(READY),
        "dq": np.zeros(7),
        "tau_J": np.zeros(7),
        "tau_ext_hat_filtered": np.zeros(7),
        "O_F_ext_hat_K": np.zeros(6),
        "control_command_success_rate": 1.0,
    }
    return SimpleNamespace(**values | changed)


def at(joint, value, otherwise=0.0, size=7):
    values = np.full(size, otherwise)
    values[joint] = value
    return values


@pytest.mark.parametrize(
    ("flag", "seen", "said"),
    [
        (
            "joint_position_limits_violation",
            state(q=np.array([0, 0, 0, -3.09, 0, 1.6, 0])),
            ["fr3_joint4", "-3.0900 rad", "-3.077 to -0.1169", "Guide"],
        ),
        ("joint_velocity_violation", state(dq=at(1, 2.7)), ["fr3_joint2", "2.700 rad/s", "2.620 rad/s", "velocity"]),
        ("joint_reflex", state(tau_ext_hat_filtered=at(6, -13.0)), ["fr3_joint7", "-13.0 N·m", "12.0 N·m", "Free"]),
        ("cartesian_reflex", state(O_F_ext_hat_K=at(2, 31.0, size=6)), ["force of 31.0 N about z", "20.0 N"]),
        ("cartesian_reflex", state(O_F_ext_hat_K=at(3, 31.0, size=6)), ["torque of 31.0 N·m about x", "25.0 N·m"]),
        ("tau_j_range_violation", state(tau_J=at(4, 12.5, 10.0)), ["fr3_joint5", "12.5 N·m", "12.0 N·m"]),
        ("communication_constraints_violation", state(control_command_success_rate=0.62), ["62%", "PREEMPT_RT"]),
        ("controller_torque_discontinuity", state(), ["torque", "1000 N·m/s", "SafetyFilter"]),
        ("max_goal_pose_deviation_violation", state(), ["max goal pose deviation violation", "Desk"]),
    ],
)
def test_an_error_names_joint_value_limit_and_remedy(flag, seen, said):
    text = explain(flag, seen)
    for words in [*said, "clear_fault()"]:
        assert words in text


def test_the_joint_closest_to_its_own_limit_is_named_for_speed():
    fast_but_allowed = at(4, 5.0) + at(0, 2.7)
    assert "fr3_joint1" in explain("joint_velocity_violation", state(dq=fast_but_allowed))
    near_the_end = np.array([2.6, *READY[1:]])  # here joint 1 may only move at 1.24 rad/s
    assert "to 1.240 rad/s" in explain("joint_velocity_violation", state(q=near_the_end, dq=at(0, 1.5) + at(4, 5.0)))


def test_only_raised_flags_are_listed():
    errors = SimpleNamespace(joint_reflex=True, joint_velocity_violation=False, instability_detected=True)
    assert raised_flags(errors) == ["instability_detected", "joint_reflex"]


def test_every_flag_of_the_library_is_explained():
    franky = pytest.importorskip("franky", reason="needs pip install robot-ctrl[franka]")
    flags = [name for name in dir(franky.Errors) if not name.startswith("_")]
    assert len(flags) == 41
    for flag in flags:
        assert "clear_fault()" in explain(flag, state())
    assert raised_flags(franky.Errors()) == []


def test_the_robot_file_stays_inside_the_limits_everywhere():
    """Speeds that are allowed at the edges of the box, towards the joint's end, are allowed all over it."""
    spec = load_description("fr3").spec
    low, high = (np.array([joint.position[end] for joint in spec.joints]) for end in (0, 1))
    velocity = np.array([joint.velocity for joint in spec.joints])
    assert (low > limits.POSITION_LOW).all()
    assert (high < limits.POSITION_HIGH).all()
    assert (limits.velocity_limits(high)[1] > velocity).all()
    assert (limits.velocity_limits(low)[0] < -velocity).all()
    assert all(joint.acceleration < limits.ACCELERATION[0] for joint in spec.joints)
    assert all(joint.jerk < limits.JERK[0] for joint in spec.joints)
    assert [joint.effort for joint in spec.joints] == limits.TORQUE.tolist()
    assert tuple(joint.name for joint in spec.joints) == limits.JOINT_NAMES


def test_no_joint_may_move_towards_its_end_when_it_is_there():
    low, high = limits.velocity_limits(limits.POSITION_HIGH)
    assert (high == 0).all()
    assert (low < 0).all()
    low, high = limits.velocity_limits(limits.POSITION_LOW)
    assert (low == 0).all()
    middle = (limits.POSITION_LOW + limits.POSITION_HIGH) / 2
    assert limits.velocity_limits(middle)[1][0] == limits.VELOCITY[0]
