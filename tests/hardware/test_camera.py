import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.camera import Frame, FreezeDetector, RenderedCamera, VideoCamera
from hardware.camera_robot import CameraRobot
from hardware.clock import VirtualClock
from hardware.errors import CameraError, StoppedError
from hardware.robot import CameraSpec

SPEC = CameraSpec("front", 8, 6)


def picture(shade: int, width: int = 8, height: int = 6) -> np.ndarray:
    image = np.full((height, width, 3), shade, np.uint8)
    image[..., 0] = 7
    return image


@dataclass
class ScriptedCapture:
    """Gives the pictures of a script, then waits; None in it is an unplugged camera."""

    script: list[np.ndarray | None]
    more: threading.Event = field(default_factory=threading.Event)
    shown: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: bool = False
    image: np.ndarray | None = None

    def grab(self) -> bool:
        while not self.script:
            self.shown.release()
            self.more.wait(10)
            self.more.clear()
        self.image = self.script.pop(0)
        return self.image is not None

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return True, self.image

    def release(self) -> None:
        self.released = True

    def show(self, *images: np.ndarray | None) -> None:
        self.shown.acquire(timeout=10)
        self.script.extend(images)
        self.more.set()


def camera_with(capture: ScriptedCapture, clock: VirtualClock) -> VideoCamera:
    return VideoCamera(SPEC, 0, max_age=0.2, clock=clock, opener=lambda *_: capture)


def test_the_newest_picture_is_read_in_rgb_with_its_time() -> None:
    clock = VirtualClock(5.0)
    capture = ScriptedCapture([picture(1), picture(2)])
    camera = camera_with(capture, clock)
    camera.connect()
    capture.shown.acquire(timeout=10)
    frame = camera.read()
    assert frame.image[0, 0].tolist() == [2, 2, 7]
    assert (frame.grabbed_at, frame.sequence) == (5.0, 2)
    capture.script.append(None)
    capture.more.set()
    camera.disconnect()
    assert capture.released


def test_a_stale_picture_is_an_error() -> None:
    clock = VirtualClock()
    camera = camera_with(ScriptedCapture([picture(1)]), clock)
    camera.connect()
    clock.advance(0.19)
    camera.read()
    clock.advance(0.5)
    with pytest.raises(CameraError, match=r"'front'.*0\.69 s old, the limit is 0\.2 s"):
        camera.read()


def wait_for_failure(camera: VideoCamera) -> CameraError:
    for _ in range(1000):
        try:
            camera.read()
        except CameraError as error:
            return error
        threading.Event().wait(0.01)
    raise AssertionError("the camera never failed")


def test_an_unplugged_camera_is_an_error() -> None:
    capture = ScriptedCapture([picture(1)])
    camera = camera_with(capture, VirtualClock())
    camera.connect()
    capture.show(None)
    assert "no more pictures" in str(wait_for_failure(camera))


def test_a_resized_picture_is_an_error() -> None:
    capture = ScriptedCapture([picture(1)])
    camera = camera_with(capture, VirtualClock())
    camera.connect()
    capture.show(picture(1, width=16))
    assert "16×6 pixels, expected 8×6" in str(wait_for_failure(camera))


def test_connecting_to_a_camera_of_another_size_fails_and_releases_it() -> None:
    capture = ScriptedCapture([picture(1, height=12)])
    with pytest.raises(CameraError, match="8×12 pixels, expected 8×6"):
        camera_with(capture, VirtualClock()).connect()
    assert capture.released


def test_reading_before_connect_is_an_error() -> None:
    with pytest.raises(CameraError, match="not connected"):
        camera_with(ScriptedCapture([]), VirtualClock()).read()


def test_a_source_that_is_not_there_is_named() -> None:
    with pytest.raises(CameraError, match=r"nowhere\.mp4.*cannot be opened"):
        VideoCamera(SPEC, "/tmp/nowhere.mp4").connect()


def test_a_video_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 100, (64, 48))
    for shade in range(20):
        writer.write(np.full((48, 64, 3), 5 * shade, np.uint8))
    writer.release()
    camera = VideoCamera(CameraSpec("clip", 64, 48), path, max_age=60)
    camera.connect()
    assert "no more pictures" in str(wait_for_failure(camera))


def test_a_picture_that_stays_while_joints_move_is_frozen() -> None:
    detector = FreezeDetector("front", motion=0.1, patience=0.3)
    for step in range(3):
        detector.check(Frame(picture(1), 0.1 * step, step), np.array([0.04 * step]))
    with pytest.raises(CameraError, match="frozen"):
        detector.check(Frame(picture(1), 0.4, 4), np.array([0.16]))


def test_trembling_and_pictures_that_come_twice_are_no_freeze() -> None:
    detector = FreezeDetector("front", motion=0.1, patience=0.3)
    for step in range(100):
        detector.check(Frame(picture(1), 0.1 * step, step), np.array([0.04 * (step % 2)]))
    detector = FreezeDetector("front", motion=0.1, patience=0.3)
    for step in range(100):
        detector.check(Frame(picture(step // 3), 0.1 * step, step), np.array([0.3 * step]))


@pytest.mark.parametrize("still", ["joints", "nothing"])
def test_stillness_of_both_or_motion_of_both_is_fine(still: str) -> None:
    detector = FreezeDetector("front", motion=0.1)
    for step in range(50):
        shade = 1 if still == "joints" else step
        position = 0.0 if still == "joints" else 0.05 * step
        detector.check(Frame(picture(shade), 0.1 * step, step), np.array([position]))


def test_pictures_join_the_observation_and_a_frozen_camera_stops_the_robot() -> None:
    robot = reaching_arm("so101")
    shade = [0]

    def draw() -> np.ndarray:
        return picture(shade[0])

    seen = CameraRobot(robot, [RenderedCamera(SPEC, draw, robot.clock)])
    assert [camera.name for camera in seen.spec.cameras] == ["front"]
    seen.connect()
    robot.reset(0)
    observation = seen.get_observation()
    assert observation.images["front"].shape == (6, 8, 3)
    assert observation.read_end["front"] == robot.clock.now()
    command = observation.values["command"].copy()

    def move_until_it_stops() -> None:
        for _ in range(20):
            command[0] += 0.05
            seen.send_action(command)
            seen.get_observation()

    with pytest.raises(CameraError, match="frozen"):
        move_until_it_stops()
    with pytest.raises(StoppedError, match="frozen"):
        seen.send_action(command)
    seen.clear_fault()
    seen.send_action(command)


def test_two_cameras_of_one_name_are_refused() -> None:
    robot = reaching_arm("so101")
    twice = [RenderedCamera(SPEC, lambda: picture(0), robot.clock)] * 2
    with pytest.raises(ValueError, match="share a name"):
        CameraRobot(robot, twice)
