"""A robot's own calibrated camera: from its pixels to places on the table, and back."""

from dataclasses import dataclass

import cv2
import numpy as np

from hardware.camera_file import CameraFile
from hardware.robot import Array


@dataclass(frozen=True)
class TableView:
    """What a calibrated camera at rest sees of a horizontal plane, in pictures that were scaled, not cut.

    Attributes:
        calibration: with its pose in the robot's base.
        width: of the scaled pictures, pixels.
        height: above the base that the plane has, m.
    """

    calibration: CameraFile
    width: int
    height: float

    def places(self, pixels: Array) -> Array:
        """Where in the plane the rays of pixels (n, 2) arrive: x and y (n, 2), m; NaN above the horizon."""
        intrinsics, pose = self.calibration.intrinsics, self._pose
        full = (np.asarray(pixels, dtype=np.float64) + 0.5) / self._scale - 0.5
        flat = cv2.undistortPoints(full.reshape(-1, 1, 2), intrinsics.matrix, intrinsics.distortion).reshape(-1, 2)
        rays = np.column_stack([flat, np.ones(len(flat))]) @ pose[:3, :3].T
        with np.errstate(divide="ignore"):
            length = (self.height - pose[2, 3]) / rays[:, 2:]
        return np.asarray(np.where(length > 0, pose[:2, 3] + length * rays[:, :2], np.nan))

    def pixels(self, places: Array) -> Array:
        """Where places (n, 2) of the plane are seen: (n, 2) pixels."""
        points = np.column_stack([places, np.full(len(places), self.height)])
        world = np.linalg.inv(self._pose)
        turn, intrinsics = cv2.Rodrigues(world[:3, :3])[0], self.calibration.intrinsics
        full = cv2.projectPoints(points, turn, world[:3, 3], intrinsics.matrix, intrinsics.distortion)[0]
        return np.asarray((full.reshape(-1, 2) + 0.5) * self._scale - 0.5)

    @property
    def _pose(self) -> Array:
        assert self.calibration.pose is not None
        return self.calibration.pose.frame_from_camera

    @property
    def _scale(self) -> float:
        return self.width / self.calibration.width
