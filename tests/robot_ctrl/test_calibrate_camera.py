import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.camera import RenderedCamera
from hardware.camera_calibration import CharucoBoard, calibrate_intrinsics
from hardware.clock import VirtualClock
from hardware.errors import CameraError
from hardware.robot import CameraSpec
from robot_ctrl.calibrate_camera import calibrate_camera, take_pictures, write_intrinsics
from robot_ctrl.errors import ConfigError

BOARD = CharucoBoard()
WIDTH, HEIGHT, FOCUS = 640, 480, 600.0


def view(rng: np.random.Generator) -> np.ndarray:
    """The board, tilted, in front of a pinhole camera."""
    turn = cv2.Rodrigues(rng.uniform(-0.5, 0.5, 3))[0]
    middle = np.array([BOARD.columns, BOARD.rows, 0]) * BOARD.square / 2
    moved = np.array([0, 0, rng.uniform(0.24, 0.32)]) - turn @ middle
    scale = BOARD.square / 100
    flat = np.column_stack([turn[:, :2], moved]) @ np.array([[scale, 0, scale / 2], [0, scale, scale / 2], [0, 0, 1]])
    camera = np.array([[FOCUS, 0, WIDTH / 2], [0, FOCUS, HEIGHT / 2], [0, 0, 1]])
    picture = cv2.warpPerspective(
        BOARD.draw(100), camera @ flat, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=127
    )
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)


def test_pictures_are_taken_at_enter_until_the_board_was_seen_often_enough(tmp_path: Path) -> None:
    rng, clock = np.random.default_rng(0), VirtualClock()
    scenes = [np.zeros((HEIGHT, WIDTH, 3), np.uint8), *(view(rng) for _ in range(8))]
    camera = RenderedCamera(CameraSpec("front", WIDTH, HEIGHT), lambda: scenes.pop(0), clock)
    typed = iter(["", "x", *["\n"] * 9])
    lines: list[str] = []
    seen = take_pictures(camera, BOARD, 8, lambda: next(typed), lines.append, clock)
    assert len(seen) == 8
    assert "not seen" in lines[1]
    assert lines[-1] == "8 of 8"
    assert clock.now() == pytest.approx(0.1)
    intrinsics = calibrate_intrinsics(seen, BOARD)
    write_intrinsics(intrinsics, tmp_path / "front.json")
    written = json.loads((tmp_path / "front.json").read_text())
    assert written["matrix"][0][0] == pytest.approx(FOCUS, rel=0.03)
    with pytest.raises(CameraError, match="1 is the limit"):
        write_intrinsics(replace(intrinsics, error=1.2), tmp_path / "worse.json")
    assert not (tmp_path / "worse.json").exists()


def test_a_camera_that_the_robot_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown camera 'front'"):
        calibrate_camera("so101", "front")
