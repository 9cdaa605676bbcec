"""A camera's intrinsics from pictures of a ChArUco board, and where the camera is from a robot's poses.

Poses are 4×4 homogeneous matrices; ``a_from_b`` takes points of frame b to frame a. Lengths are metres.

Source: Z. Zhang, A flexible new technique for camera calibration, 2000; K. Daniilidis, Hand-eye calibration using
dual quaternions, 1999; F. Park and B. Martin, Robot sensor calibration: solving AX = XB, 1994; OpenCV's calib3d.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import CameraError
from hardware.robot import Array

Picture = NDArray[np.uint8]

_FEWEST_CORNERS, _FEWEST_PICTURES, _FEWEST_POSES = 6, 5, 5
_LEAST_ROTATION = np.deg2rad(10)


@dataclass(frozen=True)
class CharucoBoard:
    """A ChArUco board of the dictionary 5X5_100.

    Attributes:
        columns: squares along x.
        rows: squares along y.
        square: side of a square, m.
        marker: side of a marker, m.

    Raises:
        ValueError: if there are too few squares, or markers do not fit into squares.
    """

    columns: int = 7
    rows: int = 5
    square: float = 0.03
    marker: float = 0.022

    def __post_init__(self) -> None:
        if self.columns < 3 or self.rows < 3:
            raise ValueError(f"ChArUco board: {self.columns}×{self.rows} squares; it needs at least 3×3")
        if not 0 < self.marker < self.square:
            raise ValueError(
                f"ChArUco board: markers of {self.marker} m on squares of {self.square} m; markers must be smaller"
            )

    def draw(self, pixels_per_square: int = 100) -> Picture:
        """(h, w) uint8, to print without margins at ``columns * square`` metres of width."""
        size = (self.columns * pixels_per_square, self.rows * pixels_per_square)
        return np.asarray(self._made().generateImage(size), dtype=np.uint8)

    def detect(self, image: Picture) -> "Corners | None":
        """Find the board's corners in an (h, w, 3) RGB or (h, w) grey picture; None if too few are seen."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        board = self._made()
        corners, identifiers, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(grey)
        if identifiers is None or len(identifiers) < _FEWEST_CORNERS:
            return None
        points = np.asarray(board.getChessboardCorners(), dtype=np.float64)[identifiers.ravel()]
        return Corners(points, np.asarray(corners, dtype=np.float64).reshape(-1, 2))

    def _made(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)


@dataclass(frozen=True)
class Corners:
    """Corners of a board seen in a picture.

    Attributes:
        points: (n, 3) on the board, m.
        pixels: (n, 2) in the picture.
    """

    points: Array
    pixels: Array


@dataclass(frozen=True)
class Intrinsics:
    """How a camera maps rays to pixels.

    Attributes:
        width: pixels.
        height: pixels.
        matrix: (3, 3) the camera matrix, pixels.
        distortion: (5,) OpenCV's k1, k2, p1, p2, k3.
        error: root mean square of the reprojection, pixels.
    """

    width: int
    height: int
    matrix: Array
    distortion: Array
    error: float

    def board_pose(self, corners: Corners) -> Array:
        """``camera_from_board``, (4, 4).

        Raises:
            CameraError: if the corners determine no pose.
        """
        found, rotation, translation = cv2.solvePnP(
            corners.points, corners.pixels, self.matrix, self.distortion, flags=cv2.SOLVEPNP_IPPE
        )
        if not found:
            raise CameraError("the board's pose cannot be told from its corners; show more of it, less edge-on")
        rotation, translation = cv2.solvePnPRefineLM(
            corners.points, corners.pixels, self.matrix, self.distortion, rotation, translation
        )
        return pose(_floats(cv2.Rodrigues(rotation)[0]), _floats(translation).ravel())


def calibrate_intrinsics(pictures: Sequence[Picture], board: CharucoBoard) -> Intrinsics:
    """Fit intrinsics to pictures of a board held at different angles and distances.

    Args:
        pictures: (h, w, 3) RGB or (h, w) grey, all of one size; those without a board are left out.
        board: what is in them.

    Raises:
        CameraError: if pictures differ in size, or the board is seen in fewer than 5.
    """
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) > 1:
        raise CameraError(f"calibration pictures have {len(sizes)} sizes, {sorted(sizes)}; take all with one")
    seen = [corners for picture in pictures if (corners := board.detect(picture)) is not None]
    if len(seen) < _FEWEST_PICTURES:
        raise CameraError(
            f"the board is seen in {len(seen)} of {len(pictures)} pictures, at least {_FEWEST_PICTURES} are needed; "
            f"show it from more sides, in focus, and check that it has {board.columns}×{board.rows} squares"
        )
    height, width = sizes.pop()
    error, matrix, distortion, _, _ = cv2.calibrateCamera(
        [corners.points.astype(np.float32) for corners in seen],
        [corners.pixels.astype(np.float32) for corners in seen],
        (width, height),
        np.eye(3),
        np.zeros(5),
    )
    return Intrinsics(width, height, _floats(matrix), _floats(distortion).ravel()[:5], float(error))


def calibrate_hand_eye(base_from_gripper: Sequence[Array], camera_from_board: Sequence[Array]) -> Array:
    """``gripper_from_camera`` (4, 4) of a camera on the gripper that looks at a board at rest.

    Args:
        base_from_gripper: (4, 4) the gripper's pose at each picture.
        camera_from_board: (4, 4) the board's pose in each picture.

    Raises:
        CameraError: if there are fewer than 5 poses or they turn by less than 10° about two axes.
    """
    _check_motion(base_from_gripper, camera_from_board)
    return _solve(base_from_gripper, camera_from_board)


def calibrate_fixed_camera(base_from_gripper: Sequence[Array], camera_from_board: Sequence[Array]) -> Array:
    """``base_from_camera`` (4, 4) of a camera at rest that looks at a board on the gripper.

    Args:
        base_from_gripper: (4, 4) the gripper's pose at each picture.
        camera_from_board: (4, 4) the board's pose in each picture.

    Raises:
        CameraError: if there are fewer than 5 poses or they turn by less than 10° about two axes.
    """
    _check_motion(base_from_gripper, camera_from_board)
    return _solve([_floats(np.linalg.inv(gripper)) for gripper in base_from_gripper], camera_from_board)


def pose(rotation: Array, translation: Array) -> Array:
    """A (4, 4) pose of a (3, 3) rotation and a (3,) translation."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation, translation
    return made


def _solve(frame_from_gripper: Sequence[Array], camera_from_board: Sequence[Array]) -> Array:
    rotation, translation = cv2.calibrateHandEye(
        [gripper[:3, :3] for gripper in frame_from_gripper],
        [gripper[:3, 3] for gripper in frame_from_gripper],
        [board[:3, :3] for board in camera_from_board],
        [board[:3, 3] for board in camera_from_board],
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    return pose(_floats(rotation), _floats(translation).ravel())


def _check_motion(grippers: Sequence[Array], boards: Sequence[Array]) -> None:
    if len(grippers) != len(boards) or len(grippers) < _FEWEST_POSES:
        raise CameraError(
            f"hand-eye calibration has {len(grippers)} poses of the gripper and {len(boards)} of the board; it needs "
            f"as many of both, at least {_FEWEST_POSES}"
        )
    turns = [_floats(cv2.Rodrigues(grippers[0][:3, :3].T @ gripper[:3, :3])[0]).ravel() for gripper in grippers[1:]]
    second = float(np.linalg.svd(np.array(turns), compute_uv=False)[1]) / np.sqrt(len(turns))
    if second < _LEAST_ROTATION / 2:
        raise CameraError(
            f"hand-eye calibration: the gripper turns by {np.rad2deg(second):.1f}° about its second axis, at least "
            f"{np.rad2deg(_LEAST_ROTATION / 2):.0f}° are needed; take poses that turn about two axes"
        )


def _floats(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)
