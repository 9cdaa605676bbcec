"""An arm's geometry: where its parts are for given joint positions, and how close they come to one another.

Nothing is simulated. MuJoCo's forward kinematics and collision detection run on the arm's MJCF, whose arm is made
solid: parts that may pass through one another in a simulation count here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from hardware.names import unknown
from hardware.points import object_names
from hardware.robot import Array

_ARMS = Path(__file__).parent / "arms"
_ARM, _SCENE = 1, 2
_REST_SLACK = 0.001
"""m; how much closer than at rest parts may come that rest closer than their margin."""


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


@dataclass(frozen=True)
class Workspace:
    """A box in the world that sites of the arm must not leave.

    Attributes:
        low: smallest coordinates, m.
        high: largest coordinates, m.
        sites: which sites; empty for all of the arm.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margins:
    """How close is too close, m.

    Attributes:
        itself: between two parts of the arm that are no neighbours.
        scene: to the table and everything else that stands still.
        keep_out: to keep-out spheres.
    """

    itself: float = 0.005
    scene: float = 0.005
    keep_out: float = 0.0


@dataclass(frozen=True)
class Proximity:
    """Two things that are close to each other.

    Attributes:
        first: a part of the arm.
        second: another part, something in the scene, a keep-out sphere, or "workspace".
        distance: between them, m; below 0 where they overlap.
        margin: the smallest distance allowed, m.
        gradient: (nu,) of the distance over the joint positions, m/rad; None where it was not asked for.
    """

    first: str
    second: str
    distance: float
    margin: float
    gradient: Array | None = None

    @property
    def slack(self) -> float:
        """Distance left until the margin, m; below 0 within it."""
        return self.distance - self.margin

    @property
    def pair(self) -> tuple[str, str]:
        """Who is close to whom."""
        return self.first, self.second


class KinematicTwin:
    """A kinematic copy of an arm and of what stands around it.

    Bodies that are joined to each other are never too close. Parts of the arm that rest closer together than their
    margin may come as close everywhere as they do at rest.

    Args:
        model: path of an MJCF file, or the name of a packaged arm.
        joints: the joints whose positions are given, in their order; the others stay at the model's reference.
        rest: (nu,) poses in which the arm rests without harm.
        keep_out: spheres that no part of the arm may enter.
        workspace: the box that sites of the arm must not leave.
        margins: how close is too close.

    Raises:
        ValueError: if there is no such model, joint or site, or a sphere or box makes no sense.
    """

    def __init__(
        self,
        model: str | Path,
        joints: Sequence[str],
        *,
        rest: Sequence[Sequence[float]] = (),
        keep_out: Sequence[Sphere] = (),
        workspace: Workspace | None = None,
        margins: Margins | None = None,
    ) -> None:
        self._margins = margins or Margins()
        self._model, arm, names = _compiled(_path(model), joints, keep_out)
        self._data = mujoco.MjData(self._model)
        self._joints = [_joint(self._model, name) for name in joints]
        self._addresses = self._model.jnt_qposadr[self._joints]
        self._dofs = self._model.jnt_dofadr[self._joints]
        self._arm_geoms = np.isin(self._model.geom_bodyid, arm)
        self._names = names
        self._sites = {
            self._model.site(site).name: site
            for site in range(self._model.nsite)
            if self._model.site_bodyid[site] in arm
        }
        self._workspace = workspace
        self._bounded = () if workspace is None else self._bounded_sites(workspace)
        self._arm_bodies = arm
        self._reaching = np.nan
        bodies = self._model.geom_bodyid
        self._rank = np.lexsort((np.arange(self._model.ngeom), bodies, ~self._arm_geoms)).argsort().tolist()
        self._jacobian = np.zeros((3, self._model.nv))
        self._ends = np.zeros(6)
        self._rest: dict[tuple[str, str], float] = {}
        resting: dict[tuple[str, str], float] = {}
        for pose in rest:
            for near in self.collisions(np.asarray(pose, dtype=np.float64)):
                if not near.second.startswith("keep-out"):
                    resting[near.pair] = min(resting.get(near.pair, np.inf), near.distance - _REST_SLACK)
        self._rest = resting

    def site_positions(self, position: Array) -> dict[str, Array]:
        """The (3,) world positions of the arm's sites by name, m, for joint positions (nu,)."""
        self._place(position)
        return {name: self._data.site_xpos[site].copy() for name, site in self._sites.items()}

    def collisions(self, position: Array) -> list[Proximity]:
        """What is closer than its margin at joint positions (nu,), the worst first."""
        return self.proximities(position, 0.0, gradients=False)

    def proximities(self, position: Array, within: float, *, gradients: bool = True) -> list[Proximity]:
        """For each pair of parts, how close they are, where that is less than ``within`` m beyond their margin.

        Args:
            position: (nu,) joint positions.
            within: m.
            gradients: whether to work out how the distances depend on the joints.

        Returns:
            The closest pairs first, by slack.
        """
        self._place(position)
        self._reach(max(self._margins.itself, self._margins.scene, self._margins.keep_out) + within)
        mujoco.mj_collision(self._model, self._data)
        if gradients:
            mujoco.mj_comPos(self._model, self._data)
        closest: dict[tuple[str, str], Proximity] = {}
        for first, second in {self._ordered(*geoms) for geoms in self._data.contact.geom.tolist()}:
            near = self._between(first, second, within, gradients)
            if near.slack < within and (near.pair not in closest or near.slack < closest[near.pair].slack):
                closest[near.pair] = near
        found = [*closest.values(), *(side for side in self._sides(gradients) if side.slack < within)]
        return sorted(found, key=lambda near: near.slack)

    def _place(self, position: Array) -> None:
        self._data.qpos[self._addresses] = position
        mujoco.mj_kinematics(self._model, self._data)

    def _reach(self, reach: float) -> None:
        """Find whatever is closer to the arm than so many m."""
        if reach != self._reaching:
            self._reaching = reach
            self._model.geom_margin[self._arm_geoms] = reach
            self._model.body_margin[self._arm_bodies] = reach

    def _ordered(self, first: int, second: int) -> tuple[int, int]:
        """The arm's parts first, from the base outwards."""
        return (first, second) if self._rank[first] < self._rank[second] else (second, first)

    def _between(self, first: int, second: int, within: float, gradient: bool) -> Proximity:
        """How close two geometries are; exactly so, for what contacts say depends on how far they reach."""
        pair = self._names[first], self._names[second]
        margin = self._margin(second, pair)
        ends = self._ends
        distance = mujoco.mj_geomDistance(self._model, self._data, first, second, margin + within, ends)
        if not gradient:
            return Proximity(*pair, distance, margin)
        apart = np.zeros(len(self._dofs))
        normal = ends[3:] - ends[:3]
        length = float(np.linalg.norm(normal))
        if length > 0:
            normal *= np.copysign(1.0 / length, distance)
            for geom, end, sign in ((first, ends[:3], -1.0), (second, ends[3:], 1.0)):
                body = self._model.geom_bodyid[geom]
                mujoco.mj_jac(self._model, self._data, self._jacobian, None, end, body)
                apart += sign * (normal @ self._jacobian[:, self._dofs])
        return Proximity(*pair, distance, margin, apart)

    def _margin(self, second: int, pair: tuple[str, str]) -> float:
        if self._arm_geoms[second]:
            margin = self._margins.itself
        else:
            margin = self._margins.keep_out if pair[1].startswith("keep-out") else self._margins.scene
        return min(margin, self._rest.get(pair, np.inf))

    def _bounded_sites(self, workspace: Workspace) -> tuple[str, ...]:
        for low, high in zip(workspace.low, workspace.high, strict=True):
            if not low < high:
                raise ValueError(
                    f"the workspace reaches from {workspace.low} to {workspace.high}; every coordinate of the first "
                    f"must be below that of the second"
                )
        for name in workspace.sites:
            if name not in self._sites:
                raise ValueError(unknown("site of the arm", name, list(self._sites)))
        return workspace.sites or tuple(self._sites)

    def _sides(self, gradients: bool) -> list[Proximity]:
        """How far each bounded site is inside the workspace, for its closest side."""
        sides = []
        for name in self._bounded:
            assert self._workspace is not None
            site = self._sites[name]
            where = self._data.site_xpos[site]
            inside = np.concatenate((where - self._workspace.low, self._workspace.high - where))
            side = int(np.argmin(inside))
            gradient = None
            if gradients:
                mujoco.mj_jacSite(self._model, self._data, self._jacobian, None, site)
                gradient = self._jacobian[side % 3, self._dofs] * (1.0 if side < 3 else -1.0)
            sides.append(Proximity(name, "workspace", float(inside[side]), 0.0, gradient))
        return sides


def _path(model: str | Path) -> Path:
    path = _ARMS / f"{model}.xml" if isinstance(model, str) and not model.endswith(".xml") else Path(model)
    if not path.is_file():
        packaged = ", ".join(sorted(file.stem for file in _ARMS.glob("*.xml")))
        raise ValueError(f"there is no MJCF file {path.absolute()} for the twin; give a path, or one of {packaged}")
    return path


def _compiled(
    path: Path, joints: Sequence[str], keep_out: Sequence[Sphere]
) -> tuple[Any, list[int], Mapping[int, str]]:
    """The model with a solid arm, the ids of the arm's bodies, and what to call each geometry."""
    spec = mujoco.MjSpec.from_file(str(path))
    plain = spec.compile()
    root = _root(plain, _joint(plain, joints[0]))
    arm = [body for body in range(plain.nbody) if _root_of_body(plain, body) == root]
    moving = plain.body_weldid != 0
    for body in spec.bodies:
        index = plain.body(body.name).id if body.name else 0
        solid = [geom for geom in body.geoms if geom.contype or geom.conaffinity]
        for geom in body.geoms:
            if index in arm:
                on = geom in solid or not solid
                geom.contype, geom.conaffinity = (_ARM, _ARM | _SCENE) if on else (0, 0)
            else:
                geom.contype, geom.conaffinity = (_SCENE if geom in solid and not moving[index] else 0), 0
            geom.margin = 0.0
    for index in arm:
        if moving[index] and plain.body_weldid[plain.body_parentid[index]] == 0:
            for fixed in arm:
                if not moving[fixed]:
                    spec.add_exclude(bodyname1=plain.body(fixed).name, bodyname2=plain.body(index).name)
    for sphere in keep_out:
        _add_sphere(spec, sphere)
    model = spec.compile()
    names = {}
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        names[geom] = model.body(body).name if body in arm else model.geom(geom).name or model.body(body).name
    return model, arm, names


def _add_sphere(spec: Any, sphere: Sphere) -> None:
    if not (sphere.radius > 0 and np.isfinite([*sphere.centre, sphere.radius]).all()):
        raise ValueError(
            f"keep-out sphere {sphere.name!r} has centre {sphere.centre} and radius {sphere.radius}; all must be "
            f"finite and the radius above 0"
        )
    spec.worldbody.add_geom(
        name=f"keep-out {sphere.name}",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        pos=sphere.centre,
        size=[sphere.radius, 0, 0],
        contype=_SCENE,
        conaffinity=0,
    )


def _joint(model: Any, name: str) -> int:
    index: int = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if index < 0:
        raise ValueError(unknown("joint", name, object_names(model, mujoco.mjtObj.mjOBJ_JOINT, model.njnt)))
    return index


def _root(model: Any, joint: int) -> int:
    return _root_of_body(model, int(model.jnt_bodyid[joint]))


def _root_of_body(model: Any, body: int) -> int:
    """The child of the world that carries a body."""
    while body != 0 and model.body_parentid[body] != 0:
        body = int(model.body_parentid[body])
    return body
