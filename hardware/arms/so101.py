"""A six-joint arm of the SO-101 class in simulation that pushes a puck, and numbers of that arm.

Joint names are LeRobot's. Kinematics and limits follow the published design; masses, friction and gains are
plausible for its STS3215 servos and are not identified from a physical arm.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hardware.clock import Clock
from hardware.mujoco_robot import MujocoRobot, ResetFunction
from hardware.robot import CameraSpec

SERVO_IDS: Mapping[str, int] = MappingProxyType(
    {
        "shoulder_pan": 1,
        "shoulder_lift": 2,
        "elbow_flex": 3,
        "wrist_flex": 4,
        "wrist_roll": 5,
        "gripper": 6,
    }
)
"""The bus address of each joint's servo, in the order of actions."""

PUSHING_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex")
"""The joints that push; roll and gripper hold still."""

SPEED_LIMIT = 3.0
"""rad/s; an STS3215 turns at about 4.7 rad/s without a load at 7.4 V."""

PARK_POSE = (0.0, -1.74, 1.68, -1.65, 0.0, 0.0)
"""Folded over the base, where the arm stays when its torque is cut, rad."""

_MODELS = Path(__file__).parent


def so101_push(
    *,
    control_rate: float = 25.0,
    cameras: Sequence[CameraSpec] = (),
    on_reset: ResetFunction | None = None,
    clock: Clock | None = None,
) -> MujocoRobot:
    """The arm with its gripper closed, a puck on the table, and a marker ``target`` for where it should go.

    Four joints are commanded (PUSHING_JOINTS). Observations hold ``gripper_tip`` and ``puck`` (3,) beside
    what every MujocoRobot's hold. The puck's joints are ``puck_x``, ``puck_y`` and ``puck_turn``, in the
    world's frame.

    Args:
        control_rate: commands per second, Hz.
        cameras: of "workspace" and "overhead", those whose pictures go into observations.
        on_reset: draws the start, from the pose "ready" on: the fingertip behind the puck.
        clock: the clock to advance; a VirtualClock of its own if None.
    """
    return MujocoRobot(
        _MODELS / "so101_push.xml",
        control_rate=control_rate,
        actuators=PUSHING_JOINTS,
        velocity_limit=SPEED_LIMIT,
        park_pose=PARK_POSE[: len(PUSHING_JOINTS)],
        points={"gripper_tip": "site:gripper_tip", "puck": "site:puck", "target": "body:target"},
        cameras=cameras,
        keyframe="ready",
        on_reset=on_reset,
        clock=clock,
    )
