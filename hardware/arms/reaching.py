"""The packaged arms in simulation, each with a marker to reach for, as their robot files describe them."""

from collections.abc import Sequence
from pathlib import Path

from hardware.clock import Clock
from hardware.mujoco_robot import MujocoRobot, ResetFunction
from hardware.robot import CameraSpec
from hardware.robot_file import load_description

_MODELS = Path(__file__).parent


def reaching_arm(
    name: str,
    *,
    control_rate: float = 25.0,
    cameras: Sequence[CameraSpec] = (),
    on_reset: ResetFunction | None = None,
    clock: Clock | None = None,
) -> MujocoRobot:
    """A packaged arm with position targets for all joints and a marker ``target``.

    Observations hold ``gripper_tip`` and ``target`` (3,) beside what every MujocoRobot's hold. Speed limits and
    park pose are those of the robot's file.

    Args:
        name: of the robot's file: so101, koch, viperx or fr3.
        control_rate: commands per second, Hz.
        cameras: of "workspace", "overhead" and, for the so101, "posture", those whose pictures go into observations.
        on_reset: draws the start, from the pose "ready" on.
        clock: the clock to advance; a VirtualClock of its own if None.

    Raises:
        RobotFileError: if there is no such robot.
    """
    spec = load_description(name).spec
    return MujocoRobot(
        _MODELS / f"{name}.xml",
        control_rate=control_rate,
        velocity_limit=[joint.velocity or float("inf") for joint in spec.joints],
        park_pose=spec.park_pose,
        points={"gripper_tip": "site:gripper_tip", "target": "body:target"},
        cameras=cameras,
        keyframe="ready",
        on_reset=on_reset,
        clock=clock,
    )
