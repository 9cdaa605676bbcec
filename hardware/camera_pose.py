"""Where a camera is: fitted to pictures of a board that a robot's gripper holds, or that its own camera looks at.

Two poses are unknown: the camera's, and the board's on what it is fixed to. A linear hand-eye solution is refined by
the pixels of all corners together, with Levenberg and Marquardt's steps (Tabb and Ahmad Yousef, Solving the robot-world
hand-eye(s) calibration problem with iterative methods, 2017). How good the result is, is told by pictures that it was
not fitted to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hardware.camera_calibration import Corners, Intrinsics, calibrate_fixed_camera, calibrate_hand_eye, pose
from hardware.errors import CameraError
from hardware.robot import Array

_STEPS, _SMALL, _CONVERGED = 30, 1e-6, 1e-6


@dataclass(frozen=True)
class BoardView:
    """One picture of the board.

    Attributes:
        gripper: (4, 4) ``base_from_gripper`` when it was taken.
        corners: the board in it.
    """

    gripper: Array
    corners: Corners


@dataclass(frozen=True)
class CameraPose:
    """Where a camera is, and how well that explains pictures.

    Attributes:
        camera: (4, 4) ``base_from_camera`` of a camera at rest, ``gripper_from_camera`` of one on the gripper.
        board: (4, 4) ``gripper_from_board`` or ``base_from_board``: the board is where the camera is not.
        pixels: root mean square of the reprojection in pictures that were left out of the fit.
        metres: the largest distance there between the board as seen and as expected.
        degrees: the largest angle likewise.
    """

    camera: Array
    board: Array
    pixels: float = np.nan
    metres: float = np.nan
    degrees: float = np.nan


def fit_camera_pose(views: Sequence[BoardView], intrinsics: Intrinsics, *, on_gripper: bool) -> CameraPose:
    """The camera's pose from all views, judged by leaving out each in turn.

    Args:
        views: from different poses of the gripper.
        intrinsics: of the camera.
        on_gripper: whether the camera rides on the gripper and the board is at rest, instead of the other way round.

    Raises:
        CameraError: if there are fewer than 6 views, or they turn too little about two axes.
    """
    if len(views) < 6:
        raise CameraError(f"hand-eye calibration: the board was seen from {len(views)} poses, at least 6 are needed")
    seen = [intrinsics.board_pose(view.corners) for view in views]
    whole = _fit(views, _solved(views, seen, on_gripper), intrinsics, on_gripper)
    errors = []
    for index, view in enumerate(views):
        others = _fit([*views[:index], *views[index + 1 :]], whole, intrinsics, on_gripper)
        errors.append(_apart(others, view, seen[index], intrinsics, on_gripper))
    pixels, metres, degrees = np.array(errors).T
    return CameraPose(
        whole.camera, whole.board, float(np.sqrt(np.mean(pixels**2))), float(metres.max()), float(degrees.max())
    )


def turn_between(first: Array, second: Array) -> float:
    """The angle between two poses (4, 4), rad."""
    return float(np.linalg.norm(cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0]))


def _solved(views: Sequence[BoardView], seen: Sequence[Array], on_gripper: bool) -> CameraPose:
    """Both poses, linearly, from poses of the board (4, 4)."""
    solve = calibrate_hand_eye if on_gripper else calibrate_fixed_camera
    camera = solve([view.gripper for view in views], seen)
    first = views[0].gripper
    carrier = first if on_gripper else np.linalg.inv(first)
    return CameraPose(camera, np.asarray(carrier @ camera @ seen[0]))


def _fit(views: Sequence[BoardView], start: CameraPose, intrinsics: Intrinsics, on_gripper: bool) -> CameraPose:
    """Least squares of all corners' pixels over both poses."""

    def residuals(parameters: Array) -> Array:
        guess = CameraPose(_pose(parameters[:6]), _pose(parameters[6:]))
        return np.concatenate([_misses(guess, view, intrinsics, on_gripper).ravel() for view in views])

    best = _least_squares(residuals, np.concatenate([_vector(start.camera), _vector(start.board)]))
    return CameraPose(_pose(best[:6]), _pose(best[6:]))


def _least_squares(residuals: Callable[[Array], Array], start: Array) -> Array:
    """Parameters (n,) that make the residuals smallest, from near by; Levenberg and Marquardt."""
    best, errors, damping = start, residuals(start), 1e-3
    for _ in range(_STEPS):
        slopes = np.stack([(residuals(best + step) - errors) / _SMALL for step in _SMALL * np.eye(len(best))], axis=1)
        normal = slopes.T @ slopes
        step = np.linalg.solve(normal + damping * np.diag(normal.diagonal()), -slopes.T @ errors)
        moved = residuals(best + step)
        if moved @ moved < errors @ errors:
            best, errors, damping = best + step, moved, damping / 10
        else:
            damping *= 10
        if np.abs(step).max() < _CONVERGED:
            break
    return best


def _expected(guess: CameraPose, gripper: Array, on_gripper: bool) -> Array:
    """``camera_from_board`` (4, 4) at a pose of the gripper."""
    between = np.linalg.inv(gripper) if on_gripper else gripper
    return np.asarray(np.linalg.inv(guess.camera) @ between @ guess.board)


def _misses(guess: CameraPose, view: BoardView, intrinsics: Intrinsics, on_gripper: bool) -> Array:
    """(n, 2) how far corners are seen from where they are expected, pixels."""
    there = _expected(guess, view.gripper, on_gripper)
    turn = cv2.Rodrigues(there[:3, :3])[0]
    pixels = cv2.projectPoints(view.corners.points, turn, there[:3, 3], intrinsics.matrix, intrinsics.distortion)[0]
    return np.asarray(pixels.reshape(-1, 2) - view.corners.pixels, dtype=np.float64)


def _apart(
    guess: CameraPose, view: BoardView, seen: Array, intrinsics: Intrinsics, on_gripper: bool
) -> tuple[float, float, float]:
    """Pixels, metres and degrees between the board as seen and as expected."""
    there = _expected(guess, view.gripper, on_gripper)
    middle = np.append(view.corners.points.mean(axis=0), 1.0)
    pixels = np.sqrt(np.mean(np.square(_misses(guess, view, intrinsics, on_gripper)).sum(axis=1)))
    metres = np.linalg.norm((there @ middle - seen @ middle)[:3])
    return float(pixels), float(metres), float(np.rad2deg(turn_between(there, seen)))


def _vector(matrix: Array) -> Array:
    return np.concatenate([np.ravel(cv2.Rodrigues(matrix[:3, :3])[0]), matrix[:3, 3]])


def _pose(vector: Array) -> Array:
    return pose(np.asarray(cv2.Rodrigues(vector[:3])[0], dtype=np.float64), vector[3:])
