"""What a Franka Research 3 allows: its limits and the box in which this project drives it.

Source: Franka Robotics, "Control Interface Specification and Robot Limits", section "Limits for Franka Research 3
(FR3)", https://frankarobotics.github.io/docs/robot_specifications.html. The same page suggests a rectangle of
positions and speeds inside the limits that depend on the position; ``DRIVEN_POSITION`` is that rectangle.
``DRIVEN_VELOCITY`` is lower than suggested there: at the rectangle's edges the suggestion exceeds the page's own
formula by up to 4 %. Acceleration and jerk are 70 % of what is allowed.
"""

import numpy as np

from hardware.robot import Array, CommandMode, JointSpec, RobotSpec

JOINT_NAMES = tuple(f"fr3_joint{number}" for number in range(1, 8))

POSITION_LOW = np.array([-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508])
POSITION_HIGH = np.array([2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508])
VELOCITY = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
ACCELERATION = np.full(7, 10.0)
JERK = np.full(7, 5000.0)
TORQUE = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
TORQUE_RATE = 1000.0
"""N·m/s, of every joint."""

DRIVEN_LOW = np.array([-2.3476, -1.5454, -2.4937, -2.7714, -2.5100, 0.7773, -2.7045])
DRIVEN_HIGH = np.array([2.3476, 1.5454, 2.4937, -0.4226, 2.5100, 4.2841, 2.7045])
DRIVEN_VELOCITY = np.array([1.8, 0.9, 1.35, 1.1, 2.6, 1.3, 2.6])
DRIVEN_ACCELERATION = 0.7 * ACCELERATION
DRIVEN_JERK = 0.7 * JERK

PARK_POSE = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
"""rad; Franka's usual ready pose."""

_OFFSET = np.array([0.6599, 0.2517, 0.2000, 0.3533, 0.5757, 0.4878, 0.4628])
_DECELERATION = np.array([6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0])


def velocity_limits(position: Array) -> tuple[Array, Array]:
    """The lowest and the highest joint velocities (7,) in rad/s that the robot allows at joint positions (7,) in rad.

    Close to a joint's end the speed towards it is limited, so that the robot can brake in front of it.
    """
    above = np.sqrt(np.maximum(0.0, 2 * _DECELERATION * (POSITION_HIGH - position)))
    below = np.sqrt(np.maximum(0.0, 2 * _DECELERATION * (position - POSITION_LOW)))
    high = np.minimum(VELOCITY, np.maximum(0.0, above - _OFFSET))
    low = np.maximum(-VELOCITY, np.minimum(0.0, _OFFSET - below))
    return low, high


def fr3_spec(command_mode: CommandMode = "position", control_rate: float = 50.0) -> RobotSpec:
    """The specification of an FR3 driven inside the box."""
    joints = tuple(
        JointSpec(name, (float(low), float(high)), float(velocity), float(acceleration), float(torque))
        for name, low, high, velocity, acceleration, torque in zip(
            JOINT_NAMES, DRIVEN_LOW, DRIVEN_HIGH, DRIVEN_VELOCITY, DRIVEN_ACCELERATION, TORQUE, strict=True
        )
    )
    return RobotSpec("fr3", joints, command_mode, control_rate, park_pose=PARK_POSE)
