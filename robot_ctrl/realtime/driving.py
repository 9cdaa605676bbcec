"""What every command that moves an arm does alike; free of torch, so that parking starts at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hardware.errors import StoppedError
from hardware.fault_latch import FaultLatch
from robot_ctrl.errors import Interrupted
from robot_ctrl.realtime.supervisor import StoppedByFault, StoppedOnRequest, Supervisor

MOVE_SECONDS = 60.0
"""Seconds that a motion to a pose may take."""


def refuse_while_latched(robot: str, folder: Path | None = None) -> None:
    """Refuse to move a robot that was stopped by a fault.

    Raises:
        StoppedError: while a fault is latched.
    """
    fault = FaultLatch(robot, folder).read()
    if fault is not None:
        raise StoppedError(_latched(robot, f"was stopped ({fault.since})", fault.reason))


def what_stopped(supervisor: Supervisor, robot: str, fault: StoppedByFault) -> str:
    """What to tell a person, with the remedy; a robot that could not even be connected has nothing to reset."""
    if supervisor.has_latched:
        return _latched(robot, "was stopped", str(fault))
    return f"{robot}: {_without_name(robot, str(fault))}."


def _latched(robot: str, what: str, reason: str) -> str:
    return f"{robot} {what}: {_without_name(robot, reason)}. Remove the cause, then `robot-ctrl reset-fault {robot}`."


def _without_name(robot: str, reason: str) -> str:
    return reason.removeprefix(f"{robot}: ").removeprefix(f"{robot} was stopped: ").rstrip(".")


@contextmanager
def ending_at_rest(supervisor: Supervisor, robot: str) -> Iterator[None]:
    """Drive; a signal brings the arm to rest first, and a fault is told with its remedy.

    Raises:
        StoppedError: when the arm had to be stopped.
        Interrupted: after SIGINT or SIGTERM.
    """
    try:
        yield
    except StoppedByFault as fault:
        raise StoppedError(what_stopped(supervisor, robot, fault)) from None
    except StoppedOnRequest as request:
        supervisor.come_to_rest("asked to stop")
        raise Interrupted(request.number) from None
