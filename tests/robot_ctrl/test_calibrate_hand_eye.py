"""Where a camera is, from rendered boards on a posed arm: within a pixel, 2 mm and 0.2 degrees of the truth."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from boards import BOARD, HEIGHT, MATRIX, WIDTH, apart, rendered, rotation

from hardware.camera_calibration import Corners, Intrinsics, pose
from hardware.camera_file import CameraFile, load_camera_file
from hardware.camera_pose import BoardView, fit_camera_pose
from hardware.errors import CameraError
from hardware.robot import Observation
from hardware.robot_file import load_description, make_twin
from robot_ctrl.calibrate_hand_eye import PoseCollector, calibrate_hand_eye, write_pose
from robot_ctrl.errors import ConfigError

INTRINSICS = Intrinsics(WIDTH, HEIGHT, MATRIX, np.zeros(5), 0.1)
TWIN = make_twin(load_description("so101"))
POSES = 8


def scenes(on_gripper: bool, count: int = POSES) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """The camera's true pose, and joints with ``camera_from_board`` in which all of the board is seen."""
    rng = np.random.default_rng(3)
    middle = pose(np.eye(3), np.array([BOARD.columns, BOARD.rows, 0]) * BOARD.square / 2)
    ready = np.array([0.0, -0.65, 0.75, 0.5, 0.0, 0.2])
    gripper = TWIN.site_poses(ready)["gripper_tip"]
    facing = pose(rotation(0.1, -0.2, 0.3), np.array([0.01, 0.02, 0.3]))
    if on_gripper:
        camera = pose(rotation(0.3, -0.2, 0.4), np.array([0.05, -0.02, 0.03]))
        board = gripper @ camera @ facing @ np.linalg.inv(middle)
    else:
        board = pose(rotation(0.2, 0.5, -0.3), np.array([0.02, 0.01, 0.04])) @ np.linalg.inv(middle)
        camera = gripper @ board @ middle @ np.linalg.inv(facing)
    found = []
    while len(found) < count:
        joints = ready + rng.uniform(-0.35, 0.35, 6)
        there = TWIN.site_poses(joints)["gripper_tip"]
        seen = np.linalg.inv(camera) @ (np.linalg.inv(there) if on_gripper else there) @ board
        corners = seen @ np.array([[0, 0, 0, 1], [0.21, 0, 0, 1], [0, 0.15, 0, 1], [0.21, 0.15, 0, 1]]).T
        pixels = (MATRIX @ corners[:3] / corners[2])[:2]
        if (pixels > 5).all() and (pixels[0] < WIDTH - 5).all() and (pixels[1] < HEIGHT - 5).all():
            found.append((joints, seen))
    return camera, found


def collector(said: list[str], on_gripper: bool, count: int = POSES) -> PoseCollector:
    return PoseCollector(BOARD, INTRINSICS, TWIN, "gripper_tip", count, said.append, on_gripper=on_gripper)


def shown(joints: np.ndarray, picture: np.ndarray) -> Observation:
    return Observation(0, {"joint_position": joints}, {"front": cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)})


@pytest.mark.parametrize("on_gripper", [False, True])
def test_the_camera_is_found_where_it_is(on_gripper: bool, tmp_path: Path) -> None:
    camera, views = scenes(on_gripper, 40)
    said: list[str] = []
    collecting = collector(said, on_gripper)
    assert not collecting.take(shown(views[0][0], np.full((HEIGHT, WIDTH), 127, np.uint8)))
    assert "not seen" in said[-1]
    for joints, seen in views:
        if collecting.take(shown(joints, rendered(seen))):
            break
    assert f"{POSES} of {POSES}" in said
    found = collecting.result()
    metres, degrees = apart(found.camera, camera)
    assert metres < 0.002
    assert degrees < 0.2
    assert found.pixels < 1
    assert found.metres < 0.002
    assert found.degrees < 0.5
    path = tmp_path / "front.json"
    write_pose(CameraFile.of(INTRINSICS), found, "base", path)
    written = load_camera_file(path)
    assert written.pose is not None
    np.testing.assert_allclose(written.pose.frame_from_camera, found.camera)
    np.testing.assert_array_equal(written.intrinsics.matrix, MATRIX)


def exact(views: list[tuple[np.ndarray, np.ndarray]]) -> list[BoardView]:
    """Views without pictures: what a perfect detector would find."""
    points = np.array([[x, y, 0.0] for x in np.linspace(0.03, 0.18, 6) for y in np.linspace(0.03, 0.12, 4)])
    made = []
    for joints, seen in views:
        turn = cv2.Rodrigues(seen[:3, :3])[0]
        pixels = cv2.projectPoints(points, turn, seen[:3, 3], MATRIX, np.zeros(5))[0].reshape(-1, 2)
        made.append(BoardView(TWIN.site_poses(joints)["gripper_tip"], Corners(points, pixels)))
    return made


def test_exact_views_are_explained_exactly_and_a_slipped_board_is_told(tmp_path: Path) -> None:
    camera, views = scenes(False, 14)
    made = exact(views)
    found = fit_camera_pose(made, INTRINSICS, on_gripper=False)
    assert apart(found.camera, camera)[0] < 1e-6
    assert found.pixels < 1e-3
    slip = pose(np.eye(3), np.array([0.03, 0.0, 0.0]))
    slipped = exact([(joints, seen @ slip) for joints, seen in views[7:]])
    worse = fit_camera_pose([*made[:7], *slipped], INTRINSICS, on_gripper=False)
    assert worse.metres > 0.02
    with pytest.raises(CameraError, match="nothing was written"):
        write_pose(CameraFile.of(INTRINSICS), worse, "base", tmp_path / "front.json")
    assert not (tmp_path / "front.json").exists()
    with pytest.raises(CameraError, match="at least 6"):
        fit_camera_pose(made[:5], INTRINSICS, on_gripper=False)


def test_poses_that_are_alike_are_asked_for_again() -> None:
    _, views = scenes(False, 1)
    said: list[str] = []
    collecting = collector(said, False)
    seen = shown(views[0][0], rendered(views[0][1]))
    assert not collecting.take(seen)
    assert not collecting.take(seen)
    assert said == [f"1 of {POSES}", "Too like an earlier pose (0 degrees): turn the wrist further."]
    with pytest.raises(CameraError, match=f"1 of {POSES} poses"):
        collecting.result()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="unknown camera 'front'"):
        calibrate_hand_eye("so101", "front", latch_folder=tmp_path)
    text = (Path(load_description.__code__.co_filename).parent / "robots" / "so101.yaml").read_text()
    (tmp_path / "arm.yaml").write_text(text + "cameras: [{name: front, source: 0}]\n")
    with pytest.raises(CameraError, match=r"so101-front.json cannot be read.*robot-ctrl calibrate"):
        calibrate_hand_eye("arm.yaml", "front", latch_folder=tmp_path)
