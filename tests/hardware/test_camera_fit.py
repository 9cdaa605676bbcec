import numpy as np
import pytest

from hardware.camera import Frame
from hardware.camera_fit import FittedCamera, fitted
from hardware.errors import CameraError
from hardware.robot import CameraSpec


def test_the_middle_is_kept_and_averaged() -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:4], picture[:, 4:6] = 100, 200
    assert fitted(picture, 2, 2)[..., 0].tolist() == [[100, 200], [100, 200]]
    assert fitted(picture.transpose(1, 0, 2).copy(), 2, 2)[..., 0].tolist() == [[100, 100], [200, 200]]


def test_a_picture_that_fits_is_not_changed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(fitted(picture, 8, 6), picture)


class Counting:
    spec = CameraSpec("raw", 8, 4)

    def __init__(self) -> None:
        self.frames: list[Frame | None] = []

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> Frame:
        frame = self.frames.pop(0)
        if frame is None:
            raise CameraError("camera 'raw': unplugged")
        return frame


def test_each_picture_is_fitted_once_and_keeps_its_stamp() -> None:
    raw = Counting()
    image = np.zeros((4, 8, 3), np.uint8)
    raw.frames = [Frame(image, 1.5, 1), Frame(image, 1.5, 1), Frame(image + 7, 1.6, 2), None]
    camera = FittedCamera(raw, CameraSpec("posture", 2, 2))
    first = camera.read()
    assert first.image.shape == (2, 2, 3)
    assert first.grabbed_at == 1.5
    assert camera.read() is first
    assert camera.read().image.min() == 7
    with pytest.raises(CameraError, match="unplugged"):
        camera.read()
