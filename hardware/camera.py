"""Cameras whose newest picture can be trusted, or that say why not.

A capture thread takes every picture as it comes and keeps the newest, so that a reader never gets one from a
queue. Each is stamped at the grab, before decoding. A picture that is too old, of another size, or the same as the
ones before while the joints move is an error, never a value: a robot must not act on what it no longer sees.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock, MonotonicClock
from hardware.errors import CameraError
from hardware.robot import CameraSpec

Picture = NDArray[np.uint8]

_OPEN_MS, _READ_MS = 5000, 1000


@dataclass(frozen=True)
class Frame:
    """One picture of a camera.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        grabbed_at: when it was grabbed, seconds on the camera's clock.
        sequence: counts pictures since connect, from 1.
    """

    image: Picture
    grabbed_at: float
    sequence: int


class Camera(Protocol):
    """A source of pictures."""

    @property
    def spec(self) -> CameraSpec:
        """The camera's name and picture size."""
        ...

    def connect(self) -> None:
        """Open the camera."""
        ...

    def disconnect(self) -> None:
        """Release the camera; harmless when disconnected."""
        ...

    def read(self) -> Frame:
        """The newest picture; raises CameraError if there is none that can be trusted."""
        ...


class Capture(Protocol):
    """What a VideoCamera needs of cv2.VideoCapture."""

    def grab(self) -> bool:
        """Wait for the next picture."""
        ...

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the grabbed picture, (h, w, 3) uint8 BGR."""
        ...

    def release(self) -> None:
        """Close the source."""
        ...


def open_capture(source: int | str, width: int, height: int) -> Capture:
    """Open a USB camera by number, or a device path, file or network stream by name.

    Raises:
        CameraError: if it cannot be opened.
    """
    if isinstance(source, int) or source.startswith("/dev/"):
        capture = cv2.VideoCapture(source, cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    else:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise CameraError(
            f"camera source {source!r} cannot be opened; check that it is plugged in, that no other program uses it "
            f"(`fuser /dev/video*`), and that you may read it (group `video`)"
        )
    return PacedFile(capture) if isinstance(source, str) and Path(source).is_file() else capture


class PacedFile:
    """A video file that plays at its own rate, as a camera would."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._period = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or 30.0)
        self._next = time.monotonic()

    def grab(self) -> bool:
        """Wait until the next picture is due."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next += self._period
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the grabbed picture."""
        return self._capture.retrieve()

    def release(self) -> None:
        """Close the file."""
        self._capture.release()


class VideoCamera:
    """A USB camera, a video file or a network stream, read by a thread of its own.

    Args:
        spec: the camera's name and picture size; pictures of another size are refused, not scaled.
        source: a number, device path, file name or URL, for OpenCV.
        max_age: the oldest picture that ``read`` returns, s.
        clock: stamps pictures and tells their age.
        opener: opens the source.

    Raises:
        ValueError: if ``max_age`` is not positive.
    """

    def __init__(
        self,
        spec: CameraSpec,
        source: int | str,
        *,
        max_age: float = 0.2,
        clock: Clock | None = None,
        opener: Callable[[int | str, int, int], Capture] = open_capture,
    ) -> None:
        if not max_age > 0:
            raise ValueError(f"camera {spec.name!r}: max_age is {max_age} s; it must be above 0")
        self._spec, self._source, self._max_age = spec, source, max_age
        self._clock = clock or MonotonicClock()
        self._opener = opener
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._failure: str | None = None
        self._stopping = False

    @property
    def spec(self) -> CameraSpec:
        """The camera's name and picture size."""
        return self._spec

    def connect(self) -> None:
        """Open the source and wait for the first picture.

        Raises:
            CameraError: if it cannot be opened, or its first picture does not come or has another size.
        """
        if self._thread is not None:
            return
        capture = self._opener(self._source, self._spec.width, self._spec.height)
        self._frame, self._failure, self._stopping = None, None, False
        self._thread = threading.Thread(target=self._capture, args=(capture,), name=f"camera {self._spec.name}")
        self._thread.daemon = True
        self._thread.start()
        with self._changed:
            came = self._changed.wait_for(lambda: self._frame is not None or self._failure is not None, _OPEN_MS / 1e3)
        try:
            if not came:
                raise CameraError(self._says(f"no picture came within {_OPEN_MS / 1e3:g} s; plug it in again"))
            self.read()
        except CameraError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Release the source; harmless when disconnected."""
        if self._thread is None:
            return
        self._stopping = True
        self._thread.join(_READ_MS / 1e3 + 1)
        self._thread = None

    def read(self) -> Frame:
        """The newest picture.

        Raises:
            CameraError: if the camera is not connected, was unplugged or changed its size, or the newest picture is
                older than ``max_age``.
        """
        with self._changed:
            frame, failure = self._frame, self._failure
        if failure is not None:
            raise CameraError(self._says(failure))
        if self._thread is None or frame is None:
            raise CameraError(self._says("it is not connected; call connect()"))
        age = self._clock.now() - frame.grabbed_at
        if age > self._max_age:
            raise CameraError(
                self._says(f"the newest picture is {age:.2f} s old, the limit is {self._max_age:g} s; check its cable")
            )
        return frame

    def _capture(self, capture: Capture) -> None:
        count = 0
        while not self._stopping:
            if not capture.grab():
                self._publish(None, "it gives no more pictures; check its cable, then connect again")
                break
            grabbed_at = self._clock.now()
            decoded, image = capture.retrieve()
            if not decoded:
                self._publish(None, "a picture cannot be decoded; check its cable, then connect again")
                break
            height, width = image.shape[:2]
            if (width, height) != (self._spec.width, self._spec.height):
                expected = f"{self._spec.width}×{self._spec.height}"
                self._publish(None, f"pictures are {width}×{height} pixels, expected {expected}; set its size to that")
                break
            count += 1
            self._publish(Frame(np.ascontiguousarray(image[..., ::-1]), grabbed_at, count), None)
        capture.release()

    def _publish(self, frame: Frame | None, failure: str | None) -> None:
        with self._changed:
            if frame is not None:
                self._frame = frame
            self._failure = failure
            self._changed.notify_all()

    def _says(self, what: str) -> str:
        return f"camera {self._spec.name!r} ({self._source}): {what}"


class RenderedCamera:
    """A simulated camera behind the same seam: draws when it is read.

    Args:
        spec: the camera's name and picture size.
        draw: returns an (h, w, 3) uint8 RGB picture of now.
        clock: stamps pictures.
    """

    def __init__(self, spec: CameraSpec, draw: Callable[[], Picture], clock: Clock) -> None:
        self._spec, self._draw, self._clock = spec, draw, clock
        self._count = 0

    @property
    def spec(self) -> CameraSpec:
        """The camera's name and picture size."""
        return self._spec

    def connect(self) -> None:
        """Nothing to open."""

    def disconnect(self) -> None:
        """Nothing to release."""

    def read(self) -> Frame:
        """A picture of now."""
        grabbed_at = self._clock.now()
        self._count += 1
        return Frame(self._draw(), grabbed_at, self._count)


class FreezeDetector:
    """Notices a camera that goes on sending the same picture, or none, while the robot moves.

    A camera's own noise changes every picture; a driver that hangs repeats one with fresh times. Pictures are taken for
    frozen when they have been equal for longer than ``patience`` by their own stamps, while a joint has been at places
    further apart than ``motion``. A joint that trembles in one place does not move, and a network that hands out a
    picture twice is not frozen; a camera whose stamps stand still is stale, which its ``read`` says.

    Args:
        camera: the camera's name, for messages.
        motion: how far any joint may move while the picture stays the same, rad or m.
        patience: how long it may stay the same while joints move, s.

    Raises:
        ValueError: if a limit is not positive.
    """

    def __init__(self, camera: str, motion: float = 0.15, patience: float = 0.5) -> None:
        if not motion > 0:
            raise ValueError(f"camera {camera!r}: motion is {motion} rad; it must be above 0")
        if not patience > 0:
            raise ValueError(f"camera {camera!r}: patience is {patience} s; it must be above 0")
        self._camera, self._motion, self._patience = camera, motion, patience
        self._first: Frame | None = None
        self._low = self._high = np.zeros(0)

    def check(self, frame: Frame, joint_position: NDArray[np.float64]) -> None:
        """Compare a picture with those before.

        Args:
            frame: the newest picture.
            joint_position: (nu,) where the joints are now, rad or m.

        Raises:
            CameraError: if the picture has not changed while a joint moved further than the limit.
        """
        position, first = np.asarray(joint_position, dtype=np.float64), self._first
        if first is None or not (frame.image is first.image or np.array_equal(frame.image, first.image)):
            self._first, self._low, self._high = frame, position, position
            return
        self._low, self._high = np.minimum(self._low, position), np.maximum(self._high, position)
        moved, lasted = float((self._high - self._low).max()), frame.grabbed_at - first.grabbed_at
        if moved > self._motion and lasted > self._patience:
            raise CameraError(
                f"camera {self._camera!r}: the picture is frozen: it stayed the same for {lasted:.1f} s while a joint "
                f"moved {moved:.2f} rad, the limits are {self._patience:g} s and {self._motion:g} rad; connect the "
                f"camera again"
            )
