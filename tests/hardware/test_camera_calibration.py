import cv2
import numpy as np
import pytest
from boards import BOARD, HEIGHT, MATRIX, WIDTH, apart, rendered, rotation, view

from hardware.camera_calibration import (
    CharucoBoard,
    calibrate_fixed_camera,
    calibrate_hand_eye,
    calibrate_intrinsics,
    pose,
)
from hardware.errors import CameraError


@pytest.fixture(scope="module")
def views() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [view(rng) for _ in range(15)]


@pytest.fixture(scope="module")
def pictures(views: list[np.ndarray]) -> list[np.ndarray]:
    return [rendered(each) for each in views]


def test_intrinsics_of_rendered_boards_are_found(pictures: list[np.ndarray], views: list[np.ndarray]) -> None:
    found = calibrate_intrinsics(pictures, BOARD)
    assert found.error < 0.5
    assert np.abs(found.matrix - MATRIX).max() < 6
    middle = np.array([BOARD.columns, BOARD.rows, 0, 2 / BOARD.square]) * BOARD.square / 2
    for each in views:
        true = MATRIX @ (each @ middle)[:3]
        seen, _ = cv2.projectPoints((each @ middle)[None, :3], np.zeros(3), np.zeros(3), found.matrix, found.distortion)
        assert np.linalg.norm(seen.ravel() - true[:2] / true[2]) < 2


def test_the_boards_pose_is_found(pictures: list[np.ndarray], views: list[np.ndarray]) -> None:
    found = calibrate_intrinsics(pictures, BOARD)
    errors = []
    for picture, true in zip(pictures, views, strict=True):
        corners = BOARD.detect(picture)
        assert corners is not None
        errors.append(apart(found.board_pose(corners), true)[1])
    assert max(errors) < 0.6


@pytest.mark.parametrize("fixed", [False, True])
def test_hand_eye_calibration_finds_the_camera(
    fixed: bool, pictures: list[np.ndarray], views: list[np.ndarray]
) -> None:
    """The board's pose goes through rendering, detection and PnP; the robot's is exact."""
    camera = pose(rotation(0.3, -1.1, 0.4), np.array([0.05, -0.02, 0.08]))
    other = pose(rotation(2.5, 0.3, -0.2), np.array([0.3, 0.1, 0.2]))
    if fixed:  # base_from_camera · camera_from_board = base_from_gripper · gripper_from_board
        grippers = [camera @ each @ np.linalg.inv(other) for each in views]
    else:  # base_from_gripper · gripper_from_camera · camera_from_board = base_from_board
        grippers = [other @ np.linalg.inv(camera @ each) for each in views]
    intrinsics = calibrate_intrinsics(pictures, BOARD)
    boards = []
    for picture in pictures:
        corners = BOARD.detect(picture)
        assert corners is not None
        boards.append(intrinsics.board_pose(corners))
    solve = calibrate_fixed_camera if fixed else calibrate_hand_eye
    distance, angle = apart(solve(grippers, boards), camera)
    assert distance < 0.002
    assert angle < 0.2


def test_too_few_views_of_the_board_are_refused(pictures: list[np.ndarray]) -> None:
    blank = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(CameraError, match="seen in 3 of 7 pictures"):
        calibrate_intrinsics([*pictures[:3], *[blank] * 4], BOARD)


def test_pictures_of_two_sizes_are_refused(pictures: list[np.ndarray]) -> None:
    with pytest.raises(CameraError, match="2 sizes"):
        calibrate_intrinsics([*pictures[:5], pictures[5][::2, ::2]], BOARD)


def test_poses_that_turn_about_one_axis_only_are_refused() -> None:
    about_z = [pose(rotation(0, 0, 0.3 * step), np.zeros(3)) for step in range(6)]
    with pytest.raises(CameraError, match="second axis"):
        calibrate_hand_eye(about_z, about_z)


def test_a_board_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must be smaller"):
        CharucoBoard(square=0.02, marker=0.03)
