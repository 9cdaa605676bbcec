"""World positions of named sites, geoms and bodies, and readings of named sensors."""

from collections.abc import Mapping
from typing import Any

import mujoco

from hardware.names import unknown
from hardware.robot import Array

_OBJECTS = {
    "site": (mujoco.mjtObj.mjOBJ_SITE, "site_xpos"),
    "geom": (mujoco.mjtObj.mjOBJ_GEOM, "geom_xpos"),
    "body": (mujoco.mjtObj.mjOBJ_BODY, "xpos"),
    "sensor": (mujoco.mjtObj.mjOBJ_SENSOR, "sensordata"),
}


def object_names(model: Any, kind: mujoco.mjtObj, count: int) -> list[str]:
    """The names of a model's objects of one kind, without the unnamed."""
    names = (mujoco.mj_id2name(model, kind, i) for i in range(count))
    return [name for name in names if name]


class Points:
    """Reads world positions and sensors from a simulation.

    Args:
        model: the MjModel.
        points: what to read: name of the value to "site:NAME", "geom:NAME", "body:NAME" or "sensor:NAME".

    Raises:
        ValueError: if a point is not written like that, or the model has no such object.
    """

    def __init__(self, model: Any, points: Mapping[str, str]) -> None:
        self._sources: list[tuple[str, str, int | slice]] = []
        for value, source in points.items():
            kind, _, name = source.partition(":")
            if kind not in _OBJECTS or not name:
                raise ValueError(f"point {value!r} is {source!r}; write site:NAME, geom:NAME, body:NAME or sensor:NAME")
            objtype, attribute = _OBJECTS[kind]
            index = mujoco.mj_name2id(model, objtype, name)
            if index < 0:
                known = object_names(model, objtype, getattr(model, f"n{kind}"))
                raise ValueError(f"point {value!r}: {unknown(kind, name, known)}")
            where: int | slice = index
            if kind == "sensor":
                start = int(model.sensor_adr[index])
                where = slice(start, start + int(model.sensor_dim[index]))
            self._sources.append((value, attribute, where))

    def read(self, data: Any) -> dict[str, Array]:
        """The positions, (3,) each, m, and the sensors' readings."""
        return {value: getattr(data, attribute)[index].copy() for value, attribute, index in self._sources}
