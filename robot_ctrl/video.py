"""Writes videos that every browser plays: H.264, yuv420p, with the index at the front."""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_BT709 = 1  # the number that H.264 gives to the colours of HD video, which players assume of untagged files too


class VideoWriter:
    """Writes frames one by one; the file appears under its name when the video is complete.

    A context manager: an exception inside leaves no file, and an older one of that name untouched.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        """Start a video.

        Args:
            path: the file, ending in ``.mp4``.
            fps: frames per second.
            size: (width, height) of the frames; odd sizes are padded by one pixel, as H.264 needs even ones.

        Raises:
            ValueError: if the rate or the size is not positive.
            RuntimeError: if the installed PyAV cannot write H.264.
        """
        if not (fps > 0 and min(size) > 0):
            raise ValueError(f"{path}: a video of {size[0]}x{size[1]} at {fps} frames/s: all must be above 0")
        if "libx264" not in av.codecs_available:
            raise RuntimeError(f"{path}: the installed av has no libx264; install its wheel: pip install av")
        self._path = path
        self._size = size
        self._frames = 0
        self._temporary = path.with_name(path.name + ".tmp")
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        self._stream.width = size[0] + size[0] % 2
        self._stream.height = size[1] + size[1] % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "20", "preset": "veryfast"}
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1

    def __enter__(self) -> Self:
        """Use the writer in a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the video, or drop it after an exception."""
        if error is None:
            self.close()
        else:
            self._drop()

    def write(self, frame: Image) -> None:
        """Add a frame, (height, width, 3) uint8 RGB.

        Raises:
            ValueError: if the frame has another size or type.
        """
        expected = (self._size[1], self._size[0], 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ValueError(
                f"{self._path}: frame {self._frames} has shape {frame.shape} and type {frame.dtype}; "
                f"this video needs {expected} and uint8"
            )
        odd = ((0, expected[0] % 2), (0, expected[1] % 2), (0, 0))
        padded = np.pad(frame, odd, mode="edge") if any(after for _, after in odd) else frame
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        picture.pts = self._frames
        self._frames += 1
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Complete the video and put it in its place.

        Raises:
            ValueError: if there was no frame.
        """
        if self._frames == 0:
            self._drop()
            raise ValueError(f"{self._path}: a video needs at least one frame")
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
        except BaseException:
            self._drop()
            raise
        os.replace(self._temporary, self._path)

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._container.close()
        self._temporary.unlink(missing_ok=True)


def write_video(frames: Iterable[Image], path: Path, fps: float) -> None:
    """Write (height, width, 3) uint8 RGB frames as a video.

    Raises:
        ValueError: if there is no frame, or frames differ in size.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError(f"{path}: a video needs at least one frame")
    with VideoWriter(path, fps, (first.shape[1], first.shape[0])) as video:
        video.write(first)
        for frame in remaining:
            video.write(frame)


def with_caption(frame: Image, text: str) -> Image:
    """A copy of the frame with a line of text (ASCII) in a shaded strip along its lower edge."""
    height, width = frame.shape[:2]
    scale = max(0.3, min(height, width * 0.75) / 800)
    (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    margin = text_height
    scale *= min(1.0, (width - 2 * margin) / max(1, text_width))
    captioned = frame.copy()
    top = max(0, height - text_height - below - margin)
    captioned[top:] = (captioned[top:] * 0.4).astype(np.uint8)
    origin = (margin, (top + height + text_height) // 2)
    cv2.putText(captioned, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (245, 245, 245), 1, cv2.LINE_AA)
    return captioned
