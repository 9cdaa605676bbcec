"""Pictures in the size that a model wants: their middle, in its proportions, averaged down."""

import cv2
import numpy as np

from hardware.camera import Camera, Frame, Picture
from hardware.robot import CameraSpec


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """The largest part (h, w, 3) around a picture's middle that has these proportions, scaled to width × height."""
    tall, wide = picture.shape[:2]
    rows, columns = min(tall, round(wide * height / width)), min(wide, round(tall * width / height))
    top, left = (tall - rows) // 2, (wide - columns) // 2
    part = picture[top : top + rows, left : left + columns]
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    method = cv2.INTER_AREA if rows >= height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), dtype=np.uint8)


class FittedCamera:
    """A camera whose pictures are cut and scaled to another size, each once.

    Args:
        camera: gives the pictures.
        spec: the name and the size that they are wanted in.
    """

    def __init__(self, camera: Camera, spec: CameraSpec) -> None:
        self._camera, self._spec = camera, spec
        self._frame: Frame | None = None

    @property
    def spec(self) -> CameraSpec:
        """The name and the size of the fitted pictures."""
        return self._spec

    def connect(self) -> None:
        """Open the camera."""
        self._camera.connect()
        self._frame = None

    def disconnect(self) -> None:
        """Release the camera."""
        self._camera.disconnect()

    def read(self) -> Frame:
        """The newest picture, fitted; raises CameraError as the camera does."""
        frame = self._camera.read()
        if self._frame is None or self._frame.sequence != frame.sequence:
            image = fitted(frame.image, self._spec.width, self._spec.height)
            self._frame = Frame(image, frame.grabbed_at, frame.sequence)
        return self._frame
