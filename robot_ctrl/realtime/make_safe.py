"""What the supervisor does with an arm whose control process is gone: win the port, apply the safe policy."""

import logging

from hardware.clock import Clock
from hardware.errors import RobotError, ServoFaultError
from hardware.robot import Robot
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.control import ControlTick
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import DescribedArm, RobotSource

logger = logging.getLogger(__name__)
PARK_SECONDS = 30.0


def make_safe(source: RobotSource, clock: Clock, reason: str, park_speed: float) -> None:
    """Connect, which makes the arm hold where it stands; then hold, park or cut the torque, and release the port.

    The arm must not be held by another process any more. Cutting the torque, where that is the policy, is what the
    robot's own ``stop`` does; an arm that does not let itself be connected has it cut servo by servo.

    Args:
        source: makes the robot.
        clock: paces the motion.
        reason: why.
        park_speed: rad/s.

    Raises:
        RobotError: if the arm cannot be reached.
    """
    robot = source.open(clock)
    try:
        robot.connect()
    except RobotError as error:
        _cut_torque(source, clock, error)
        return
    try:
        if source.safe_policy == "park":
            _park(source, robot, clock, park_speed)
        robot.stop(reason)
    finally:
        try:
            robot.disconnect()
        except RobotError as error:
            logger.error("%s: could not be released: %s", source.name, error)


def _cut_torque(source: RobotSource, clock: Clock, error: RobotError) -> None:
    """Switch every servo off that answers, where that is the policy and the arm has servos.

    Raises:
        RobotError: why the arm cannot be reached, or which servos may still hold.
    """
    if not isinstance(source, DescribedArm) or source.safe_policy != "torque_off":
        raise error
    if source.description.driver == "franka":
        raise error
    from hardware.servo_arm import release

    failures = release(source.description, source.port, clock)
    if failures:
        raise ServoFaultError(f"{error} The other servos were switched off, but {'; '.join(failures)}") from error
    logger.warning("%s: its servos were switched off without connecting, for %s", source.name, error)


def _park(source: RobotSource, robot: Robot, clock: Clock, speed: float) -> None:
    """Go to the park pose; a robot that cannot is left where it stands."""
    pose = robot.spec.park_pose
    if pose is None:
        return
    control = ControlTick(
        robot,
        source.filter(robot, clock),
        clock,
        scale=ActionScale.delta(robot.spec, speed, 1.0),
        rules=LatePlanRules(),
    )
    control.move_to(pose, speed)
    due = clock.now()
    until = due + PARK_SECONDS
    while not control.done and control.fault is None and clock.now() < until:
        control.tick(lambda observation: None)
        due += control.period
        clock.sleep_until(due)
