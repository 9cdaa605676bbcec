import threading

import numpy as np
import pytest

from hardware.camera import VideoCamera
from hardware.errors import CameraError
from hardware.robot import CameraSpec
from hardware.stream import MjpegServer


def test_a_camera_reads_the_newest_picture_of_a_stream_and_sees_it_end() -> None:
    shade = [40]
    server = MjpegServer(lambda: np.full((48, 64, 3), (shade[0], 0, 0), np.uint8), rate=50)
    camera = VideoCamera(CameraSpec("net", 64, 48), server.url, max_age=30)
    camera.connect()
    assert abs(int(camera.read().image[20, 20, 0]) - 40) < 8
    shade[0] = 200
    for _ in range(500):
        if camera.read().image[20, 20, 0] > 180:
            break
        threading.Event().wait(0.02)
    red, green, _ = camera.read().image[20, 20].tolist()
    assert red > 180
    assert green < 20
    server.close()

    def read_to_the_end() -> None:
        for _ in range(1000):
            camera.read()
            threading.Event().wait(0.02)

    with pytest.raises(CameraError, match="no more pictures"):
        read_to_the_end()
    camera.disconnect()


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="rate is 0"):
        MjpegServer(lambda: np.zeros((4, 4, 3), np.uint8), rate=0)
