"""The state of any MuJoCo robot: all joints, and the sites, sensors and commands that a task asks for."""

from collections.abc import Sequence

import mujoco
import numpy as np

from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Array, Observation
from models.state import CommandColumns, StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import unknown

_FREE, _BALL, _SLIDE, _HINGE = range(4)
_TURN = ("xx", "xy", "xz", "yx", "yy", "yz")


class MjcfState:
    """Positions, velocities, sites, sensors and commands, in this order, and the columns of each.

    A hinge without limits is an angle. The orientation of a ball or free joint is the first two axes of its
    rotation matrix (Zhou et al. 2019, "On the continuity of rotation representations"): a network learns them
    better than quaternions, for they neither jump nor have two signs. A free joint's position comes before
    them. Sites are observed as ``site:NAME``, sensors under their names.

    Args:
        robot: observes the sites as ``site:NAME``.
        sites: the sites in the state.
        sensors: the sensors in the state.
        scale: of the actions; delta actions put the commands in force into the state.

    Attributes:
        spec: what a model is told about the layout.

    Raises:
        ValueError: if there is no such sensor.
    """

    def __init__(self, robot: MujocoRobot, sites: Sequence[str], sensors: Sequence[str], scale: ActionScale) -> None:
        model = robot.model
        self._names: list[str] = []
        self._joints: dict[str, int] = {}
        self._rates: dict[str, list[int]] = {}
        self._sites: dict[str, list[int]] = {}
        self._sensors: dict[str, list[int]] = {}
        self._sources = [(int(model.jnt_qposadr[i]), int(model.jnt_type[i])) for i in range(model.njnt)]
        joints = [model.joint(i).name or f"joint_{i}" for i in range(model.njnt)]
        angles = []
        for i, (joint, (_, kind)) in enumerate(zip(joints, self._sources, strict=True)):
            if kind in (_SLIDE, _HINGE):
                self._joints[joint] = self._add(joint)[0]
                if kind == _HINGE and not model.jnt_limited[i]:
                    angles.append(self._joints[joint])
            else:
                moves = ("x", "y", "z") if kind == _FREE else ()
                self._add(*(f"{joint}_{part}" for part in (*moves, *_TURN)))
        for joint, (_, kind) in zip(joints, self._sources, strict=True):
            parts = {_FREE: ("_vx", "_vy", "_vz", "_wx", "_wy", "_wz"), _BALL: ("_wx", "_wy", "_wz")}
            self._rates[joint] = self._add(*(f"{joint}{part}" for part in parts.get(kind, ("_rate",))))
        for site in sites:
            self._sites[site] = self._add(*(f"{site}_{axis}" for axis in "xyz"))
        dimensions = {model.sensor(i).name: int(model.sensor_dim[i]) for i in range(model.nsensor)}
        known = [name for name in dimensions if name]
        for sensor in sensors:
            if sensor not in known:
                raise ValueError(unknown("sensor", sensor, known))
            size = dimensions[sensor]
            self._sensors[sensor] = self._add(*([sensor] if size == 1 else (f"{sensor}[{i}]" for i in range(size))))
        command = self._add_commands(robot, scale) if scale.mode == "delta" else None
        self._has_commands = command is not None
        self.spec = StateSpec(
            tuple(self._names), action_size=robot.spec.action_size, angles=tuple(angles), command=command
        )

    def read(self, observation: Observation) -> Array:
        """The state (nx,) that an observation shows."""
        values = observation.values
        positions = [_position(values["qpos"], start, kind) for start, kind in self._sources]
        return np.concatenate(
            [
                *positions,
                values["qvel"],
                *(values[f"site:{site}"] for site in self._sites),
                *(values[sensor] for sensor in self._sensors),
                *([values["command"]] if self._has_commands else []),
            ]
        )

    def joint(self, name: str) -> int:
        """The column of a hinge's or a slide's position.

        Raises:
            ValueError: if there is no such joint, or it takes more than one number.
        """
        if name not in self._joints:
            raise ValueError(unknown("hinge or slide joint", name, list(self._joints)))
        return self._joints[name]

    def is_angle(self, column: int) -> bool:
        """Whether a column wraps at 2π."""
        return column in self.spec.angles

    def rates(self, names: tuple[str, ...]) -> list[int]:
        """The columns of joints' velocities; of all joints if none is named.

        Raises:
            ValueError: if there is no such joint.
        """
        for name in names:
            if name not in self._rates:
                raise ValueError(unknown("joint", name, list(self._rates)))
        return [column for name in names or self._rates for column in self._rates[name]]

    def site(self, name: str) -> list[int]:
        """The three columns of a site's position."""
        return self._sites[name]

    def sensor(self, name: str) -> list[int]:
        """The columns of a sensor's reading."""
        return self._sensors[name]

    def _add(self, *names: str) -> list[int]:
        start = len(self._names)
        self._names.extend(names)
        return list(range(start, len(self._names)))

    def _add_commands(self, robot: MujocoRobot, scale: ActionScale) -> CommandColumns:
        return CommandColumns(
            columns=tuple(self._add(*(f"{joint.name}_command" for joint in robot.spec.joints))),
            step=tuple(scale.step.tolist()),
            low=tuple(scale.low.tolist()),
            high=tuple(scale.high.tolist()),
        )


def _position(qpos: Array, start: int, kind: int) -> Array:
    if kind in (_SLIDE, _HINGE):
        return qpos[start : start + 1]
    moved = qpos[start : start + 3] if kind == _FREE else qpos[:0]
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, qpos[start + len(moved) : start + len(moved) + 4])
    return np.concatenate([moved, matrix[0::3], matrix[1::3]])
