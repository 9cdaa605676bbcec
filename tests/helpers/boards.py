"""Rendered ChArUco boards in front of a pinhole camera, and how far two poses are apart."""

import cv2
import numpy as np

from hardware.camera_calibration import CharucoBoard, pose

BOARD = CharucoBoard()
WIDTH, HEIGHT = 640, 480
MATRIX = np.array([[620.0, 0, 325], [0, 615.0, 236], [0, 0, 1]])
PER_SQUARE = 120


def rotation(*vector: float) -> np.ndarray:
    return cv2.Rodrigues(np.array(vector))[0]


def rendered(camera_from_board: np.ndarray, oversampling: int = 3) -> np.ndarray:
    """The board as a pinhole camera sees it, drawn large and averaged down."""
    scale = BOARD.square / PER_SQUARE
    metres = np.array([[scale, 0, scale / 2], [0, scale, scale / 2], [0, 0, 1]])
    finer = np.diag([oversampling, oversampling, 1.0])
    finer[:2, 2] = (oversampling - 1) / 2
    flat = camera_from_board[:3][:, [0, 1, 3]]
    size = (WIDTH * oversampling, HEIGHT * oversampling)
    large = cv2.warpPerspective(
        BOARD.draw(PER_SQUARE), finer @ MATRIX @ flat @ metres, size, flags=cv2.INTER_LINEAR, borderValue=127
    )
    return cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def view(rng: np.random.Generator) -> np.ndarray:
    """A board that fills a good part of the picture, tilted by up to 30°."""
    turn = rotation(*rng.uniform(-0.5, 0.5, 3))
    centre = np.array([rng.uniform(-0.03, 0.03), rng.uniform(-0.02, 0.02), rng.uniform(0.22, 0.32)])
    middle = np.array([BOARD.columns, BOARD.rows, 0]) * BOARD.square / 2
    return pose(turn, centre - turn @ middle)


def apart(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """How far two poses are apart, m and degrees."""
    angle = np.linalg.norm(cv2.Rodrigues(found[:3, :3].T @ true[:3, :3])[0])
    return float(np.linalg.norm(found[:3, 3] - true[:3, 3])), float(np.rad2deg(angle))
