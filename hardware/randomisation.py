"""Domain randomisation: the same scene under other light, in other colours, from a slightly moved camera.

Source: J. Tobin et al., Domain randomization for transferring deep neural networks from simulation to the real
world, 2017.
"""

from typing import Any

import mujoco
import numpy as np

_FIELDS = ("light_pos", "light_diffuse", "light_ambient", "geom_rgba", "mat_rgba", "cam_pos", "cam_quat", "cam_fovy")


class LookRandomiser:
    """Changes how a MuJoCo model looks, never how it moves.

    Every draw starts from the model's own look, so draws do not add up.

    Args:
        model: the MjModel that is drawn.
        light: lights move by up to this share of their distance and brighten or darken by up to it.
        colour: every colour channel changes by up to this much, of 1.
        camera_position: cameras move by up to this along each axis, m.
        camera_angle: cameras turn by up to this about each axis, rad.
        field_of_view: cameras zoom by up to this share.

    Raises:
        ValueError: if a range is negative or not finite.
    """

    def __init__(
        self,
        model: Any,
        *,
        light: float = 0.3,
        colour: float = 0.1,
        camera_position: float = 0.01,
        camera_angle: float = 0.02,
        field_of_view: float = 0.03,
    ) -> None:
        ranges = {
            "light": light,
            "colour": colour,
            "camera_position": camera_position,
            "camera_angle": camera_angle,
            "field_of_view": field_of_view,
        }
        for name, value in ranges.items():
            if not 0 <= value < np.inf:
                raise ValueError(f"randomisation: {name} is {value}; it must be 0 or more")
        self._model, self._ranges = model, ranges
        self._own = {field: getattr(model, field).copy() for field in _FIELDS}

    def draw(self, rng: np.random.Generator) -> None:
        """Give the model a new look."""
        model, own, ranges = self._model, self._own, self._ranges

        def around_one(shape: tuple[int, ...], share: float) -> Any:
            return 1 + rng.uniform(-share, share, shape)

        model.light_pos[:] = own["light_pos"] * around_one(own["light_pos"].shape, ranges["light"])
        brightness = around_one((model.nlight, 1), ranges["light"])
        for field in ("light_diffuse", "light_ambient"):
            getattr(model, field)[:] = np.clip(own[field] * brightness, 0, 1)
        for field in ("geom_rgba", "mat_rgba"):
            colours = own[field][:, :3] + rng.uniform(-ranges["colour"], ranges["colour"], (len(own[field]), 3))
            getattr(model, field)[:, :3] = np.clip(colours, 0, 1)
        reach, turn = ranges["camera_position"], ranges["camera_angle"]
        model.cam_pos[:] = own["cam_pos"] + rng.uniform(-reach, reach, own["cam_pos"].shape)
        for index in range(model.ncam):
            model.cam_quat[index] = _turned(own["cam_quat"][index], rng.uniform(-turn, turn, 3))
        model.cam_fovy[:] = own["cam_fovy"] * around_one((model.ncam,), ranges["field_of_view"])

    def restore(self) -> None:
        """Give the model its own look back."""
        for field, values in self._own.items():
            getattr(self._model, field)[:] = values


def _turned(quaternion: Any, rotation: Any) -> Any:
    """A unit quaternion (4,) turned by a rotation vector (3,), rad, in its own frame."""
    turned = np.array(quaternion)
    mujoco.mju_quatIntegrate(turned, rotation, 1.0)
    return turned
