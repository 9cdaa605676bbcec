import numpy as np
import pytest

from hardware.robot import JointSpec, RobotSpec
from robot_ctrl.action_scale import ActionScale

ARM = RobotSpec(
    "arm",
    (JointSpec("a", position=(-1, 2), velocity=3.0), JointSpec("b", position=(0, 1), velocity=0.5)),
    "position",
    20,
)
MOTOR = RobotSpec("motor", (JointSpec("m", command=(-2, 6)),), "effort", 20)


def test_absolute_actions_span_the_limits_and_come_back() -> None:
    scale = ActionScale.absolute(ARM)
    none = np.zeros(2)
    assert scale.to_command(np.array([-1.0, 1.0]), none).tolist() == [-1, 1]
    command = np.array([0.3, 0.9])
    np.testing.assert_allclose(scale.to_command(scale.to_action(command, none), none), command)


def test_delta_actions_move_the_previous_command_at_the_slower_speed_and_stay_inside() -> None:
    scale = ActionScale.delta(ARM, speed=1.0, period=0.05)
    np.testing.assert_allclose(scale.to_command(np.array([1.0, -1.0]), np.array([0.0, 0.5])), [0.05, 0.475])
    np.testing.assert_allclose(scale.to_command(np.array([1.0, 1.0]), np.array([2.0, 1.0])), [2, 1])


def test_holding_keeps_a_robot_where_it_is() -> None:
    command = np.array([0.4, 0.2])
    for scale in (ActionScale.absolute(ARM), ActionScale.delta(ARM, 1.0, 0.05)):
        np.testing.assert_allclose(scale.to_command(scale.hold_action(command), command), command)
    effort = ActionScale.absolute(MOTOR)
    np.testing.assert_allclose(effort.to_command(effort.hold_action(np.array([5.0])), np.array([5.0])), [0])


def test_a_joint_without_limits_is_named() -> None:
    free = RobotSpec("cart", (JointSpec("wheel"),), "effort", 20)
    with pytest.raises(ValueError, match="cart: joint 'wheel'"):
        ActionScale.absolute(free)
