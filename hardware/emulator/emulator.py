"""An emulated arm behind a port that any program can open, run by a process of its own."""

import contextlib
import subprocess
import sys
import threading
from multiprocessing import Pipe
from types import TracebackType
from typing import Any, Self

from hardware.emulator.arm import ArmStatus
from hardware.emulator.faults import Fault
from hardware.emulator.settings import EmulatorSettings
from hardware.errors import RobotError

_PATIENCE = 60.0


class EmulatorError(RobotError):
    """The emulator's process could not be started, or has ended."""


class Emulator:
    """A running emulated arm. It is a process, so that its timing does not hang on what its clients compute.

    Attributes:
        port: the path to open, the same for as long as it runs.
        camera_urls: where its cameras' streams are read from.

    Args:
        settings: the arm.

    Raises:
        EmulatorError: if it cannot run, with the reason.
    """

    def __init__(self, settings: EmulatorSettings) -> None:
        self.port = str(settings.link)
        self._lock = threading.Lock()
        self._control, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-m", "hardware.emulator.server", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        try:
            self._control.send(settings)
            self.camera_urls: tuple[str, ...] = tuple(self._answer("started"))
        except EmulatorError:
            self.close()
            raise

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self._process.poll() is None

    def inject(self, fault: Fault | str) -> None:
        """Let a fault happen now, or at its own time from now on: "stuck-joint:elbow_flex@10+2".

        Raises:
            ValueError: if there is no such fault, or the arm cannot have it.
            EmulatorError: if the emulator has ended.
        """
        self._order("inject", Fault.parse(fault) if isinstance(fault, str) else fault)

    def clear(self, name: str) -> None:
        """End all faults of a name.

        Raises:
            ValueError: if none is in force.
            EmulatorError: if the emulator has ended.
        """
        self._order("clear", name)

    def move(self, joint: str, position: float) -> None:
        """Take a joint by hand, move it slowly to a position, rad, and hold it there; stronger than its servo.

        Raises:
            ValueError: if there is no such joint, or the position is not finite.
            EmulatorError: if the emulator has ended.
        """
        self._order("move", (joint, position))

    def let_go(self) -> None:
        """Let go of every joint.

        Raises:
            EmulatorError: if the emulator has ended.
        """
        self._order("let_go", None)

    def status(self) -> ArmStatus:
        """The truth about the arm, which its bus may hide.

        Raises:
            EmulatorError: if the emulator has ended.
        """
        status: ArmStatus = self._order("status", None)
        return status

    def close(self) -> None:
        """End the emulator; harmless when it has ended."""
        with self._lock, contextlib.suppress(OSError):
            self._control.send(("stop", None))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._control.close()

    def __enter__(self) -> Self:
        """The running emulator."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def _order(self, order: str, argument: Any) -> Any:
        with self._lock:
            try:
                self._control.send((order, argument))
                return self._answer(order)
            except OSError as error:
                raise EmulatorError(f"the emulator behind {self.port} has ended; start it again") from error

    def _answer(self, order: str) -> Any:
        try:
            if not self._control.poll(_PATIENCE):
                raise EmulatorError(f"the emulator behind {self.port} has not {order} for {_PATIENCE:g} s")
            done, answer = self._control.recv()
        except (EOFError, OSError) as error:
            raise EmulatorError(f"the emulator behind {self.port} has ended; start it again") from error
        if done:
            return answer
        if order == "started":
            raise EmulatorError(f"the emulator cannot start: {answer}")
        raise ValueError(answer)
