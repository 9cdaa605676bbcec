"""The process that draws what the emulated arm's camera sees and serves it as motion JPEG.

It is apart from the bus, so that drawing never delays a reply. Started by the emulator's server as
``python -m hardware.emulator.camera FD``; the file descriptor is one end of a pipe, over which the arm's posture comes.
"""

import contextlib
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.emulator.plant import compile_plant
from hardware.emulator.settings import CameraStream
from hardware.names import unknown
from hardware.rendering import ModelRenderer
from hardware.stream import MjpegServer


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
            command = [sys.executable, "-m", "hardware.emulator.camera", str(theirs.fileno())]
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


class _Painter:
    """Draws the newest posture."""

    def __init__(self, model: Path, payload: float, stream: CameraStream) -> None:
        self._model = compile_plant(model, payload)
        self._data = mujoco.MjData(self._model)
        known = [self._model.camera(index).name for index in range(self._model.ncam)]
        if stream.name not in known:
            raise ValueError(unknown("camera", stream.name, known))
        self._renderer = ModelRenderer(self._model)
        self._stream = stream
        self._fresh = threading.Lock()
        self._posture = self._data.qpos.copy()

    def take(self, posture: NDArray[np.float64]) -> None:
        with self._fresh:
            self._posture = posture

    def draw(self) -> NDArray[np.uint8]:
        with self._fresh:
            self._data.qpos[:] = self._posture
        mujoco.mj_forward(self._model, self._data)
        stream = self._stream
        return self._renderer.render(self._data, stream.name, stream.width, stream.height, fast=True)


def main(descriptor: int) -> None:
    """Serve until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe: Connection[Any, Any] = Connection(descriptor)
    model, payload, stream = pipe.recv()
    try:
        painter = _Painter(model, payload, stream)
        server = MjpegServer(painter.draw, rate=stream.rate, port=stream.port)
    except OSError as error:
        pipe.send((False, f"camera {stream.name!r} cannot be served at port {stream.port}: {error.strerror}"))
        return
    except ValueError as error:
        pipe.send((False, f"{model.name}: {error}"))
        return
    with server, contextlib.suppress(EOFError, OSError):
        pipe.send((True, server.url))
        while True:
            painter.take(pipe.recv())
            pipe.send(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
