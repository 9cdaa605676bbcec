"""A camera's calibration in a file: its intrinsics, and where it is once that was measured."""

import json
import os
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hardware.camera_calibration import Intrinsics
from hardware.errors import CameraError
from hardware.robot import Array

_Row = tuple[float, ...]


class MeasuredPose(BaseModel):
    """Where a camera is.

    Attributes:
        frame: "base", the world of the robot's twin, or the name of a site of the twin that carries the camera.
        matrix: (4, 4) takes points of the camera (x right, y down, z ahead) to that frame, m.
        pixels: root mean square of the reprojection in pictures that were left out of the fit.
        metres: the largest distance there between the board as seen and as expected.
        degrees: the largest angle likewise.
    """

    model_config = ConfigDict(extra="forbid")

    frame: str
    matrix: tuple[_Row, _Row, _Row, _Row]
    pixels: float
    metres: float
    degrees: float

    @property
    def frame_from_camera(self) -> Array:
        """The matrix (4, 4)."""
        return np.array(self.matrix)


class CameraFile(BaseModel):
    """The calibration of one camera.

    Attributes:
        version: of the file's format.
        width: pixels.
        height: pixels.
        matrix: (3, 3) the camera matrix, pixels.
        distortion: (5,) OpenCV's k1, k2, p1, p2, k3.
        error_pixels: root mean square of the reprojection.
        pose: where the camera is; None while that was not measured.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    width: int
    height: int
    matrix: tuple[_Row, _Row, _Row]
    distortion: _Row
    error_pixels: float
    pose: MeasuredPose | None = None

    @classmethod
    def of(cls, intrinsics: Intrinsics) -> "CameraFile":
        """A calibration without a pose."""
        return cls(
            width=intrinsics.width,
            height=intrinsics.height,
            matrix=intrinsics.matrix.tolist(),
            distortion=tuple(intrinsics.distortion.tolist()),
            error_pixels=intrinsics.error,
        )

    @property
    def intrinsics(self) -> Intrinsics:
        """How the camera maps rays to pixels."""
        matrix, distortion = np.array(self.matrix), np.array(self.distortion)
        return Intrinsics(self.width, self.height, matrix, distortion, self.error_pixels)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            CameraError: if it cannot be written; the old file is still there.
        """
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(self.model_dump(mode="json"), indent=2) + "\n")
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise CameraError(f"calibration {path} cannot be written: {error.strerror}; make room for it") from error


def load_camera_file(path: Path) -> CameraFile:
    """Read a camera's calibration.

    Raises:
        CameraError: if there is none, or it cannot be understood.
    """
    try:
        return CameraFile.model_validate_json(path.read_text())
    except OSError as error:
        raise CameraError(
            f"{path} cannot be read: {error.strerror}; run 'robot-ctrl calibrate --camera' first"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise CameraError(f"{path}: {key}: {first['msg']}; run 'robot-ctrl calibrate --camera' again") from None
