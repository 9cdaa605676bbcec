"""A pixel of a robot's own camera, told as the simulated camera would see it; a lost one stops the robot."""

import cv2
import numpy as np
import pytest

from hardware.camera_file import CameraFile, MeasuredPose
from hardware.errors import PixelLostError
from hardware.robot import Observation
from robot_ctrl.goals.pixel_camera import PixelCamera
from robot_ctrl.goals.pixel_follower import FollowingRobot, FollowPixel
from robot_ctrl.goals.table_view import TableView

HEIGHT = 0.03
REAL = PixelCamera.looking(np.array([0.7, -0.4, 0.5]), np.array([0.22, 0.0, 0.03]), np.radians(40), 320, 240)
SIMULATED = PixelCamera.looking(np.array([0.79, 0.0, 0.57]), np.array([0.235, 0.0, 0.02]), np.radians(40), 128, 128)
SCALED = (171, 128)


def calibration(distortion: tuple[float, ...] = (0.0,) * 5) -> CameraFile:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = REAL.rotation @ np.diag([1, -1, -1]), REAL.position
    matrix = [[REAL.focal, 0, REAL.centre[0]], [0, REAL.focal, REAL.centre[1]], [0, 0, 1]]
    measured = MeasuredPose(frame="base", matrix=pose.tolist(), pixels=0.1, metres=0.0, degrees=0.0)
    return CameraFile(width=320, height=240, matrix=matrix, distortion=distortion, error_pixels=0.1, pose=measured)


def test_pixels_and_places_are_those_of_the_calibrated_camera() -> None:
    places = np.array([[0.2, 0.1], [0.3, -0.1], [0.25, 0.0]])
    seen = REAL.project(np.column_stack([places, np.full(3, HEIGHT)]))
    view = TableView(calibration(), 320, HEIGHT)
    np.testing.assert_allclose(view.pixels(places), seen, atol=1e-6)
    np.testing.assert_allclose(view.places(seen), places, atol=1e-8)
    bent = TableView(calibration((-0.2, 0.05, 0.001, 0.001, 0.0)), SCALED[0], HEIGHT)
    np.testing.assert_allclose(bent.places(bent.pixels(places)), places, atol=1e-4)
    assert np.isnan(view.places(np.array([[160.0, -2000.0]]))).all()


def drawn(place: np.ndarray | None) -> np.ndarray:
    """The table with a marked puck at a place."""
    view = TableView(calibration(), SCALED[0], HEIGHT)
    picture = np.full((SCALED[1], SCALED[0], 3), 90, np.uint8)
    if place is not None:
        u, v = view.pixels(place[None])[0]
        cv2.circle(picture, (round(u * 16), round(v * 16)), 7 * 16, (220, 60, 40), -1, cv2.LINE_AA, 4)
        cv2.circle(picture, (round(u * 16), round(v * 16)), 3 * 16, (250, 240, 230), -1, cv2.LINE_AA, 4)
    return picture


class Arm:
    """Sees what it is shown."""

    def __init__(self) -> None:
        self.picture, self.time, self.stopped = drawn(None), 0.0, ""

    def get_observation(self) -> Observation:
        return Observation(0, {"joint_position": np.zeros(4)}, {"front": self.picture}, {}, {"front": self.time})

    def stop(self, reason: str) -> None:
        self.stopped = reason


def test_a_moving_thing_is_told_where_the_simulated_camera_would_see_it() -> None:
    start, goal = np.array([0.22, 0.02]), np.array([0.30, 0.05])
    view = TableView(calibration(), SCALED[0], HEIGHT)
    pixel, to = view.pixels(np.stack([start, goal]))
    arm = Arm()
    follow = FollowPixel("front", view, SIMULATED, drawn(start), pixel, to, 0.05)
    robot = FollowingRobot(arm, follow)  # type: ignore[arg-type]
    for step in range(12):
        place = start + np.array([0.004 * step, 0.0])
        arm.picture, arm.time = drawn(place), 0.05 * step
        values = robot.get_observation().values
    expected = SIMULATED.project(np.append(place, HEIGHT))
    before = SIMULATED.project(np.append(place - np.array([0.004, 0.0]), HEIGHT))
    np.testing.assert_allclose(values["pixel"], expected, atol=0.7)
    np.testing.assert_allclose(values["pixel_rate"], (expected - before) / 0.05, atol=12)
    np.testing.assert_allclose(values["goal_pixel"], SIMULATED.project(np.append(goal, HEIGHT)), atol=1e-4)
    assert values["pixel_confidence"] > 0.5
    same = robot.get_observation().values
    np.testing.assert_array_equal(same["pixel"], values["pixel"])

    def lose() -> None:
        for step in range(60):
            arm.picture, arm.time = drawn(None), 1.0 + 0.05 * step
            robot.get_observation()

    with pytest.raises(PixelLostError, match="lost"):
        lose()
    assert "lost" in arm.stopped
