"""Makes an arm of an MJCF solid, so that MuJoCo's collision detection finds whatever comes close to it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from hardware.names import unknown
from hardware.points import object_names
from hardware.robot import Array

KEEP_OUT = "keep-out "
_ARM, _SCENE = 1, 2


@dataclass(frozen=True)
class Sphere:
    """A ball that no part of the arm may enter: a keep-out zone.

    Attributes:
        name: what to call it in messages.
        centre: in the world, m.
        radius: m.
    """

    name: str
    centre: tuple[float, float, float]
    radius: float


class SolidArm:
    """An MJCF in which all of one arm can touch itself, what stands still, and keep-out spheres.

    A body's geometries are those that collide in the simulation; all of them where none does. Neighbours, joined by
    a joint, never touch. What moves and does not belong to the arm is left out.

    Args:
        path: the MJCF file.
        joint: a joint of the arm.
        keep_out: the spheres.

    Attributes:
        model: the MjModel.
        data: its MjData.
        arm: the ids of the arm's bodies.
        names: of the arm's bodies, of the scene's geometries, by geometry.

    Raises:
        ValueError: if there is no such joint, or a sphere makes no sense.
    """

    def __init__(self, path: Path, joint: str, keep_out: Iterable[Sphere]) -> None:
        spec = mujoco.MjSpec.from_file(str(path))
        for number, body in enumerate(spec.bodies):
            body.name = body.name or f"part {number}"
        plain = spec.compile()
        self.arm = _tree(plain, int(plain.jnt_bodyid[joint_id(plain, joint)]))
        for body in spec.bodies:
            _make_solid(body, plain.body(body.name).id, plain, self.arm)
        for first, second in _neighbours_of_the_base(plain, self.arm):
            spec.add_exclude(bodyname1=plain.body(first).name, bodyname2=plain.body(second).name)
        for sphere in keep_out:
            _add_sphere(spec, sphere)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        bodies = self.model.geom_bodyid.tolist()
        self.names = [
            self.model.body(body).name if body in self.arm else self.model.geom(geom).name or self.model.body(body).name
            for geom, body in enumerate(bodies)
        ]
        self._is_scene = [body not in self.arm for body in bodies]
        self._reach = np.nan

    def place(self, addresses: Array, position: Array) -> None:
        """Put joints, given by their addresses, into positions."""
        self.data.qpos[addresses] = position
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    def close_pairs(self, reach: float) -> set[tuple[int, int]]:
        """All pairs of geometries that are closer than ``reach`` m, and some that are not; the arm's come first."""
        if reach != self._reach:
            self._reach = reach
            self.model.geom_margin[:] = reach / 2
            self.model.body_margin[:] = reach / 2
        mujoco.mj_collision(self.model, self.data)
        return {self._ordered(*pair) for pair in self.data.contact.geom.tolist()}

    def distance(self, first: int, second: int, reach: float, ends: Array | None = None) -> float:
        """Between two geometries, m: below 0 where they overlap, ``reach`` where they are further apart.

        Exact, while the distance of a contact depends on how far margins reach.

        Args:
            first: a geometry.
            second: another one.
            reach: m.
            ends: (6,) where their closest points are written.
        """
        distance: float = mujoco.mj_geomDistance(self.model, self.data, first, second, reach, ends)
        return distance

    def is_arm(self, geom: int) -> bool:
        """Whether a geometry belongs to the arm."""
        return not self._is_scene[geom]

    def _ordered(self, first: int, second: int) -> tuple[int, int]:
        return (first, second) if (self._is_scene[first], first) < (self._is_scene[second], second) else (second, first)


def joint_id(model: Any, name: str) -> int:
    """The id of a joint.

    Raises:
        ValueError: if there is none of that name.
    """
    index: int = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if index < 0:
        raise ValueError(unknown("joint", name, object_names(model, mujoco.mjtObj.mjOBJ_JOINT, model.njnt)))
    return index


def _tree(model: Any, body: int) -> set[int]:
    """All bodies of the tree that a body belongs to, down to where it stands on the world."""
    return {other for other in range(1, model.nbody) if _root(model, other) == _root(model, body)}


def _root(model: Any, body: int) -> int:
    while model.body_parentid[body] != 0:
        body = int(model.body_parentid[body])
    return body


def _make_solid(body: Any, index: int, model: Any, arm: set[int]) -> None:
    collides = [bool(geom.contype or geom.conaffinity) for geom in body.geoms]
    stands = model.body_weldid[index] == 0
    for geom, own in zip(body.geoms, collides, strict=True):
        if index in arm:
            on = own or not any(collides)
            geom.contype, geom.conaffinity = (_ARM, _ARM | _SCENE) if on else (0, 0)
        else:
            geom.contype, geom.conaffinity = (_SCENE if own and stands else 0), 0


def _neighbours_of_the_base(model: Any, arm: set[int]) -> list[tuple[int, int]]:
    """What MuJoCo leaves out by itself elsewhere: the arm's standing parts, and those that are joined to them."""
    standing = [body for body in arm if model.body_weldid[body] == 0]
    joined = [
        body for body in arm if model.body_weldid[body] == body and model.body_weldid[model.body_parentid[body]] == 0
    ]
    carried = [body for body in arm if model.body_weldid[body] in joined]
    return [(first, second) for first in standing for second in carried]


def _add_sphere(spec: Any, sphere: Sphere) -> None:
    if not (sphere.radius > 0 and np.isfinite([*sphere.centre, sphere.radius]).all()):
        raise ValueError(
            f"keep-out sphere {sphere.name!r} has centre {sphere.centre} and radius {sphere.radius}; all must be "
            f"finite and the radius above 0"
        )
    spec.worldbody.add_geom(
        name=f"{KEEP_OUT}{sphere.name}",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        pos=sphere.centre,
        size=[sphere.radius, 0, 0],
        contype=_SCENE,
        conaffinity=0,
    )
