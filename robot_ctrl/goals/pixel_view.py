"""A camera's picture as if seen straight from above: scaled cells of a plane, for models that predict pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.robot import Array
from robot_ctrl.goals.pixel_camera import PixelCamera

_OVERSAMPLED = 3


@dataclass(frozen=True)
class PlaneView:
    """A rectangle of a horizontal plane; rows go along x and columns along y, as the camera across the table sees them.

    Attributes:
        centre: (2,) of the rectangle: x and y, m.
        height: of the plane, m.
        cell: side of a pixel on the plane, m.
        rows: pixels along x.
        columns: pixels along y.
    """

    centre: tuple[float, float]
    height: float
    cell: float
    rows: int
    columns: int

    def pixels(self, places: Array) -> Array:
        """The pixels (..., 2), column and row, that show places (..., 2), x and y, of the plane."""
        offset = (np.asarray(places) - self.centre) / self.cell
        return np.asarray(offset[..., ::-1] + self._middle)

    def places(self, pixels: Array) -> Array:
        """The places (..., 2) of the plane that pixels (..., 2) show: the inverse of ``pixels``."""
        offset = np.asarray(pixels) - self._middle
        return np.asarray(offset[..., ::-1] * self.cell + self.centre)

    def picture(self, camera: PixelCamera, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What a calibrated camera's picture (h, w, 3) shows of it, (rows, columns, 3); things above the plane lean."""
        fine = (np.arange(self.columns * _OVERSAMPLED) + 0.5) / _OVERSAMPLED - 0.5
        grid = np.stack(np.meshgrid(fine, fine[: self.rows * _OVERSAMPLED]), axis=-1)
        places = self.places(grid)
        points = np.concatenate([places, np.full_like(places[..., :1], self.height)], axis=-1)
        seen = camera.project(points).astype(np.float32)
        warped = cv2.remap(picture, seen[..., 0], seen[..., 1], cv2.INTER_LINEAR)
        return np.asarray(cv2.resize(warped, (self.columns, self.rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    @property
    def _middle(self) -> Array:
        return 0.5 * np.array([self.columns - 1.0, self.rows - 1.0])
