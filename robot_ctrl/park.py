"""`robot-ctrl park`: bring an arm to where it can rest, and release it."""

from pathlib import Path

import numpy as np

from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import UserError
from robot_ctrl.realtime.control_process import ControlSettings, GoTo
from robot_ctrl.realtime.driving import MOVE_SECONDS, ending_at_rest, refuse_while_latched
from robot_ctrl.realtime.sources import RobotSource, described
from robot_ctrl.realtime.supervisor import READY_SECONDS, Supervisor


def park(
    robot: str | RobotSource, port: str | None = None, *, speed: float = 0.5, latch_folder: Path | None = None
) -> str:
    """Move to the park pose through the safety filter; returns what there is to say.

    Args:
        robot: a packaged robot's name, its YAML file, or whatever makes the robot.
        port: where it is, instead of what its file says.
        speed: of the joint that has the farthest to go, rad/s.
        latch_folder: where faults are latched; None takes the user's state folder.

    Raises:
        UserError: if the robot has no park pose.
        StoppedError: while a fault is latched, or when the arm had to be stopped.
        Interrupted: after SIGINT or SIGTERM, when the arm is at rest.
    """
    source = described(robot, port) if isinstance(robot, str) else robot
    pose = source.spec.park_pose
    if pose is None:
        raise UserError(f"{source.name} has no park_pose: put one into its file.")
    refuse_while_latched(source.name, latch_folder)
    period = 1 / source.spec.control_rate
    settings = ControlSettings(source, ActionScale.delta(source.spec, speed, period), period, latch=latch_folder)
    with Supervisor(settings) as supervisor, ending_at_rest(supervisor, source.name):
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
        supervisor.carry_out(lambda order: GoTo(order, np.array(pose), speed), MOVE_SECONDS, "parking")
    return f"{source.name} is parked."
