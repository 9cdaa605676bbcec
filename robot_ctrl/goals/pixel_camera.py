"""A calibrated camera: from points to pixels, and from pixels to where their rays meet a plane."""

from dataclasses import dataclass

import numpy as np

from hardware.robot import Array


@dataclass(frozen=True)
class PixelCamera:
    """A pinhole camera with a known pose: what a camera calibration finds.

    Attributes:
        position: (3,) in the world, m.
        rotation: (3, 3) from the camera's axes (right, up, backwards) to the world's.
        focal: focal length, pixels.
        width: pixels.
        height: pixels.
    """

    position: Array
    rotation: Array
    focal: float
    width: int
    height: int

    @classmethod
    def looking(cls, position: Array, at: Array, fovy: float, width: int, height: int) -> "PixelCamera":
        """A camera at a position that looks at a point with the horizon level; fovy is its vertical angle, rad."""
        back = (position - at) / np.linalg.norm(position - at)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(back, right), back], axis=1)
        return cls(position, rotation, 0.5 * height / np.tan(0.5 * fovy), width, height)

    @property
    def centre(self) -> Array:
        """(2,) the pixel on the optical axis."""
        return 0.5 * np.array([self.width - 1.0, self.height - 1.0])

    def project(self, points: Array) -> Array:
        """The pixels (..., 2) of points (..., 3) in front of the camera."""
        seen = (points - self.position) @ self.rotation
        return self.centre + self.focal * seen[..., :2] * [1.0, -1.0] / -seen[..., 2:]

    def on_plane(self, pixels: Array, height: float) -> Array:
        """Where in the plane at a height the rays of pixels (..., 2) arrive: x and y (..., 2), m."""
        offset = (pixels - self.centre) / self.focal
        directions = np.concatenate([offset * [1.0, -1.0], -np.ones_like(offset[..., :1])], axis=-1) @ self.rotation.T
        length = (height - self.position[2]) / directions[..., 2:]
        return np.asarray((self.position + length * directions)[..., :2])
