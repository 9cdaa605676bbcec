"""What a Franka Research 3 allows; ``hardware/robots/fr3.yaml`` keeps well inside.

Source: Franka Robotics, "Control Interface Specification and Robot Limits", section "Limits for Franka Research 3
(FR3)", https://frankarobotics.github.io/docs/robot_specifications.html.
"""

import numpy as np

from hardware.robot import Array

JOINT_NAMES = tuple(f"fr3_joint{number}" for number in range(1, 8))

POSITION_LOW = np.array([-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508])
POSITION_HIGH = np.array([2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508])
VELOCITY = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
ACCELERATION = np.full(7, 10.0)
JERK = np.full(7, 5000.0)
TORQUE = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
TORQUE_RATE = 1000.0
"""N·m/s, of every joint."""

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
