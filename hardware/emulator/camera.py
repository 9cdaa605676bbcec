"""The emulated arm's camera, as the emulator's server sees it: a process that draws and serves by itself."""

import contextlib
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.emulator.settings import CameraStream


class CameraProcess:
    """One camera's process, as its starter sees it.

    Attributes:
        url: where the stream is read from.

    Args:
        model: the MJCF file.
        payload: kg that the gripper holds.
        stream: the camera.

    Raises:
        ValueError: if the camera cannot be served, with the reason.
    """

    def __init__(self, model: Path, payload: float, stream: CameraStream) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-m", "hardware.emulator.camera_server", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._period = 1.0 / stream.rate
        self._due = 0.0
        self._pipe.send((model, payload, stream))
        try:
            served, answer = self._pipe.recv()
        except EOFError:
            served, answer = False, f"the process of camera {stream.name!r} ended"
        if not served:
            self.close()
            raise ValueError(answer)
        self.url = str(answer)
        self._taken = True

    def show(self, posture: NDArray[np.float64], now: float) -> None:
        """Let it draw a posture, unless it is too early for the next picture, or it still draws the last."""
        if now < self._due:
            return
        self._due = now + self._period
        with contextlib.suppress(OSError, EOFError):
            while self._pipe.poll():
                self._pipe.recv()
                self._taken = True
            if self._taken:
                self._pipe.send(posture)
                self._taken = False

    def close(self) -> None:
        """End it; harmless when it has ended."""
        self._pipe.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
