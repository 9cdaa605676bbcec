"""An arm's geometry: where its parts are for given joint positions, and how close they come to one another.

Nothing is simulated. MuJoCo's forward kinematics and distances run on the arm's MJCF, and all of the arm is solid:
parts that may pass through one another in a simulation count here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from hardware.names import unknown
from hardware.robot import Array
from hardware.twin_model import KEEP_OUT, SolidArm, Sphere, joint_id

_ARMS = Path(__file__).parent / "arms"
_REST_SLACK = 0.001
"""m; how much closer than at rest parts may come that rest closer than their margin."""


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
        self._widest = max(self._margins.itself, self._margins.scene, self._margins.keep_out)
        self._solid = SolidArm(_path(model), joints[0], keep_out)
        compiled = self._solid.model
        ids = [joint_id(compiled, name) for name in joints]
        self._addresses, self._dofs = compiled.jnt_qposadr[ids], compiled.jnt_dofadr[ids]
        bodies = compiled.site_bodyid.tolist()
        self._sites = {compiled.site(site).name: site for site, body in enumerate(bodies) if body in self._solid.arm}
        self._jacobian = np.zeros((3, compiled.nv))
        self._ends = np.zeros(6)
        self._workspace = workspace
        self._bounded = () if workspace is None else self._bounded_sites(workspace)
        self._rest: dict[tuple[str, str], float] = {}
        for pose in rest:
            self._allow(np.asarray(pose, dtype=np.float64))

    def site_positions(self, position: Array) -> dict[str, Array]:
        """The (3,) world positions of the arm's sites by name, m, for joint positions (nu,)."""
        self._solid.place(self._addresses, position)
        return {name: self._solid.data.site_xpos[site].copy() for name, site in self._sites.items()}

    def site_poses(self, position: Array) -> dict[str, Array]:
        """The poses (4, 4) of the arm's sites in the world by name, m, for joint positions (nu,)."""
        self._solid.place(self._addresses, position)
        poses = {}
        for name, site in self._sites.items():
            poses[name] = np.eye(4)
            poses[name][:3, :3] = self._solid.data.site_xmat[site].reshape(3, 3)
            poses[name][:3, 3] = self._solid.data.site_xpos[site]
        return poses

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
        solid = self._solid
        solid.place(self._addresses, position)
        reach = self._widest + within
        closest: dict[tuple[str, str], tuple[float, tuple[int, int]]] = {}
        for geoms in solid.close_pairs(reach):
            pair = solid.names[geoms[0]], solid.names[geoms[1]]
            distance = solid.distance(*geoms, reach)
            if distance < reach and distance < closest.get(pair, (np.inf,))[0]:
                closest[pair] = distance, geoms
        found = []
        for pair, (distance, geoms) in closest.items():
            margin = self._margin(geoms[1], pair)
            if distance - margin < within:
                gradient = self._gradient(geoms, reach) if gradients else None
                found.append(Proximity(*pair, distance, margin, gradient))
        found += [side for side in self._sides(gradients) if side.slack < within]
        return sorted(found, key=lambda near: near.slack)

    def _margin(self, second: int, pair: tuple[str, str]) -> float:
        if pair[1].startswith(KEEP_OUT):
            return self._margins.keep_out
        margin = self._margins.itself if self._solid.is_arm(second) else self._margins.scene
        return min(margin, self._rest.get(pair, np.inf))

    def _allow(self, pose: Array) -> None:
        """Let parts come as close as they are in a pose."""
        for near in self.collisions(pose):
            self._rest[near.pair] = near.distance - _REST_SLACK

    def _gradient(self, geoms: tuple[int, int], reach: float) -> Array:
        """Of a distance: how the closest points move apart along the line between them."""
        solid, ends = self._solid, self._ends
        distance = solid.distance(*geoms, reach, ends)
        gradient = np.zeros(len(self._dofs))
        normal = ends[3:] - ends[:3]
        length = float(np.linalg.norm(normal))
        if length > 0:
            normal *= np.copysign(1.0 / length, distance)
            for geom, end, sign in zip(geoms, (ends[:3], ends[3:]), (-1.0, 1.0), strict=True):
                body = solid.model.geom_bodyid[geom]
                mujoco.mj_jac(solid.model, solid.data, self._jacobian, None, end, body)
                gradient += sign * (normal @ self._jacobian[:, self._dofs])
        return gradient

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
            where = self._solid.data.site_xpos[site]
            inside = np.concatenate((where - self._workspace.low, self._workspace.high - where))
            side = int(np.argmin(inside))
            gradient = None
            if gradients:
                mujoco.mj_jacSite(self._solid.model, self._solid.data, self._jacobian, None, site)
                gradient = self._jacobian[side % 3, self._dofs] * (1.0 if side < 3 else -1.0)
            sides.append(Proximity(name, "workspace", float(inside[side]), 0.0, gradient))
        return sides


def _path(model: str | Path) -> Path:
    path = _ARMS / f"{model}.xml" if isinstance(model, str) and not model.endswith(".xml") else Path(model)
    if not path.is_file():
        packaged = ", ".join(sorted(file.stem for file in _ARMS.glob("*.xml")))
        raise ValueError(f"there is no MJCF file {path.absolute()} for the twin; give a path, or one of {packaged}")
    return path
