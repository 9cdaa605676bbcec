"""Cameras of a robot's file, over the network, beside its emulated servo bus."""

import numpy as np
import pytest

from hardware.camera_robot import CameraRobot
from hardware.errors import CameraError
from hardware.robot_file import RobotDescription, load_description, make_robot
from hardware.stream import MjpegServer


def with_camera(source: str, width: int = 64) -> RobotDescription:
    tree = load_description("so101").model_dump()
    camera = {"name": "front", "source": source, "width": width, "height": 48, "max_age": 30.0}
    return RobotDescription.model_validate(tree | {"cameras": [camera]})


def test_a_described_camera_is_part_of_the_robot() -> None:
    with MjpegServer(lambda: np.full((48, 64, 3), 90, np.uint8), rate=20) as server:
        robot = make_robot(with_camera(server.url))
        assert isinstance(robot, CameraRobot)
        assert [(camera.name, camera.width) for camera in robot.spec.cameras] == [("front", 64)]
        (camera,) = robot._cameras
        camera.connect()
        assert abs(int(camera.read().image.mean()) - 90) < 5
        camera.disconnect()


def test_the_arm_is_left_alone_when_its_camera_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with MjpegServer(lambda: np.zeros((48, 64, 3), np.uint8), rate=20) as server:
        robot = make_robot(with_camera(server.url, width=128), port="/dev/nowhere")
        with pytest.raises(CameraError, match="64×48 pixels, expected 128×48"):
            robot.connect()
