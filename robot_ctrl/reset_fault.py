"""`robot-ctrl reset-fault`: the only way out of a latched fault."""

from pathlib import Path

from hardware.clock import MonotonicClock
from hardware.fault_latch import FaultLatch
from robot_ctrl.realtime.sources import RobotSource, described


def reset_fault(robot: str, *, port: str | None = None, latch_folder: Path | None = None) -> str:
    """Look at the robot, and forget its fault if the cause is gone; returns what there is to say.

    The robot is connected, read and released; it is not moved.

    Args:
        robot: a packaged robot's name, or its YAML file.
        port: where it is, instead of what its file says.
        latch_folder: where faults are latched; None takes the user's state folder.

    Raises:
        RobotError: while the fault persists, or the robot cannot be reached; the fault stays latched.
    """
    source = described(robot, port)
    cleared = FaultLatch(source.name, latch_folder).clear(lambda: _check(source))
    if cleared is None:
        return f"{source.name} has no latched fault"
    return f"{source.name} may move again; it was stopped ({cleared.since}): {cleared.reason}"


def _check(source: RobotSource) -> None:
    arm = source.open(MonotonicClock())
    try:
        arm.connect()
        arm.clear_fault()
        arm.get_observation()
    finally:
        arm.disconnect()
