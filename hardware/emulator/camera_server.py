"""The process that draws what the emulated arm's camera sees and serves it as motion JPEG.

It is apart from the bus, so that drawing never delays a reply. Started by ``hardware.emulator.camera.CameraProcess`` as
``python -m hardware.emulator.camera_server FD``; the file descriptor is one end of a pipe, over which postures come.
"""

import contextlib
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.emulator.plant import compile_plant
from hardware.emulator.settings import CameraStream
from hardware.rendering import ModelRenderer
from hardware.stream import MjpegServer


class _Painter:
    """Draws the newest posture, without the markers of goals: no camera sees those."""

    def __init__(self, model: Path, payload: float, stream: CameraStream) -> None:
        self._model = compile_plant(model, payload)
        markers = self._model.body_mocapid[self._model.geom_bodyid] >= 0
        self._model.geom_rgba[markers, 3], self._model.geom_matid[markers] = 0.0, -1
        self._data = mujoco.MjData(self._model)
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
    painter = _Painter(model, payload, stream)
    try:
        server = MjpegServer(painter.draw, rate=stream.rate, port=stream.port)
    except OSError as error:
        pipe.send((False, f"camera {stream.name!r} cannot be served at port {stream.port}: {error.strerror}"))
        return
    with server, contextlib.suppress(EOFError, OSError):
        pipe.send((True, server.url))
        while True:
            painter.take(pipe.recv())
            pipe.send(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
