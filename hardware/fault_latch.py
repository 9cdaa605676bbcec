"""Faults that outlive the process: a robot that was stopped by one moves again only after an explicit reset."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hardware.errors import RobotError


@dataclass(frozen=True)
class LatchedFault:
    """Why a robot was stopped, and when (ISO 8601, UTC)."""

    reason: str
    since: str


class FaultLatch:
    """One robot's latched fault, in a file of its own.

    Args:
        robot: the robot's name, or the serial number of its adapter.
        folder: where faults are kept; None takes ``$XDG_STATE_HOME/robot-ctrl/faults``, and
            ``~/.local/state`` where that is not set.
    """

    def __init__(self, robot: str, folder: Path | None = None) -> None:
        self.robot = robot
        self.path = (folder or state_folder() / "faults") / f"{re.sub(r'[^A-Za-z0-9._-]', '_', robot)}.json"

    def latch(self, reason: str) -> None:
        """Keep a fault; the first one stays until it is cleared, for it is the cause of the others.

        Raises:
            OSError: if it cannot be written.
        """
        if self.read() is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with temporary.open("w") as file:
            json.dump(asdict(LatchedFault(reason, datetime.now(UTC).isoformat(timespec="seconds"))), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def read(self) -> LatchedFault | None:
        """The latched fault; None while there is none. A file that cannot be read counts as a fault."""
        try:
            return LatchedFault(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            return LatchedFault(f"{self.path} cannot be read ({error}); nobody knows why the robot was stopped", "")

    def clear(self, check: Callable[[], None]) -> LatchedFault | None:
        """Forget the fault, if a check finds that its cause is gone.

        Args:
            check: raises RobotError while the fault persists; then the fault stays latched.

        Returns:
            The fault that was cleared; None if there was none.

        Raises:
            RobotError: what the check raised.
        """
        fault = self.read()
        if fault is None:
            return None
        try:
            check()
        except RobotError as error:
            error.add_note(f"The fault stays latched: {fault.reason}")
            raise
        self.path.unlink(missing_ok=True)
        return fault


def state_folder() -> Path:
    """Where robot-ctrl keeps what must outlive a process, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "robot-ctrl"
