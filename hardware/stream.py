"""A network camera: serves pictures as motion JPEG over HTTP, which OpenCV, browsers and ffmpeg read."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.clock import MonotonicClock

_BOUNDARY = "picture"
_QUALITY = 90
_PATIENCE = 5.0


class MjpegServer:
    """Draws at a rate in a thread of its own and serves the newest picture to any number of readers.

    Args:
        draw: returns an (h, w, 3) uint8 RGB picture of now; always called from the same thread, as OpenGL wants.
        rate: pictures per second, Hz.
        port: TCP port on this machine; 0 takes a free one.

    Raises:
        ValueError: if the rate is not positive.
        OSError: if the port is taken.
    """

    def __init__(self, draw: Callable[[], NDArray[np.uint8]], *, rate: float, port: int = 0) -> None:
        if not rate > 0:
            raise ValueError(f"camera stream: the rate is {rate} Hz; it must be above 0")
        self._draw, self._period = draw, 1.0 / rate
        self._changed = threading.Condition()
        self._picture = b""
        self._count = 0
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._threads = [
            threading.Thread(target=self._draw_pictures, name="camera stream: drawing", daemon=True),
            threading.Thread(target=self._server.serve_forever, name="camera stream: serving", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """Where the stream is read from."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/stream.mjpg"

    def close(self) -> None:
        """Stop drawing and hang up on every reader; harmless when closed."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        """The running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def next_picture(self, after: int) -> tuple[int, bytes]:
        """The newest JPEG and its number once there is one past ``after``; empty when the server closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > after or self._closing.is_set(), _PATIENCE)
            if self._closing.is_set() or self._count <= after:
                return after, b""
            return self._count, self._picture

    def _draw_pictures(self) -> None:
        clock = MonotonicClock()
        due = clock.now()
        while not self._closing.is_set():
            encoded, data = cv2.imencode(
                ".jpg", cv2.cvtColor(self._draw(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
            )
            assert encoded
            with self._changed:
                self._picture = data.tobytes()
                self._count += 1
                self._changed.notify_all()
            due = max(due + self._period, clock.now())
            self._closing.wait(due - clock.now())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], stream: MjpegServer) -> None:
        self.stream = stream
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that hangs up is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        count = 0
        while True:
            count, picture = self.server.stream.next_picture(count)
            if not picture:
                return
            self.wfile.write(
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            )
            self.wfile.write(picture + b"\r\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not worth a line."""
