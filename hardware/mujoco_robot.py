"""A robot from any MJCF file, in virtual or real time."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from hardware.clock import Clock
from hardware.errors import StoppedError
from hardware.names import unknown
from hardware.points import Points, object_names
from hardware.robot import Array, CameraSpec, CommandMode, JointSpec, RobotSpec
from hardware.simulated import Simulation

ResetFunction = Callable[[Any, Any, np.random.Generator], None]
_VALUES = ("joint_position", "joint_velocity", "qpos", "qvel", "command", "terminated")
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_JOINT_TRANSMISSIONS = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_SCALAR_JOINTS = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
_DIVERGED = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
    mujoco.mjtWarning.mjWARN_BADCTRL,
)


class MujocoRobot(Simulation):
    """A MuJoCo model as a robot.

    Its observations hold ``joint_position`` and ``joint_velocity`` (nu,) of the commanded joints, ``qpos``,
    ``qvel`` of everything, ``command`` (nu,) in force, ``terminated`` (1 after a divergence), the asked-for
    points and every named sensor.

    Args:
        model: path of an MJCF file, or a compiled MjModel.
        control_rate: commands per second, Hz; a whole number of physics steps must fit into its period.
        name: the robot's name; None takes the model's.
        command_mode: what an action means; None reads it off the actuators.
        actuators: names of the commanded actuators, in the order of actions; None commands all. The others
            hold what they are at after a reset.
        velocity_limit: largest joint speed, rad/s or m/s, for all joints or one each; None for no limit.
        acceleration_limit: largest joint acceleration, rad/s² or m/s², likewise.
        park_pose: (nu,) where the robot is left, in command units.
        points: what else to observe: value's name to "site:NAME", "geom:NAME", "body:NAME" or
            "sensor:NAME" (under its own name every sensor is observed anyway).
        cameras: cameras whose pictures go into observations.
        keyframe: name of the keyframe to start from; None starts from the model's reference pose.
        on_reset: called as ``on_reset(model, data, rng)`` at every reset to draw the start.
        clock: the clock to advance; a VirtualClock of its own if None.

    Raises:
        ValueError: if the file does not compile, a name does not exist, or the rates do not fit.
    """

    def __init__(
        self,
        model: str | Path | Any,
        *,
        control_rate: float,
        name: str | None = None,
        command_mode: CommandMode | None = None,
        actuators: Sequence[str] | None = None,
        velocity_limit: float | Sequence[float] | None = None,
        acceleration_limit: float | Sequence[float] | None = None,
        park_pose: Sequence[float] | None = None,
        points: Mapping[str, str] | None = None,
        cameras: Sequence[CameraSpec] = (),
        keyframe: str | None = None,
        on_reset: ResetFunction | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.model = _compile(model) if isinstance(model, str | Path) else model
        self.data = mujoco.MjData(self.model)
        name = name or _model_name(self.model)
        self._substeps = _substeps(name, control_rate, self.model.opt.timestep)
        self._actuators = _actuator_ids(self.model, actuators)
        mode = command_mode or _deduce_mode(self.model, self._actuators)
        self._joints = [_joint_of(self.model, actuator) for actuator in self._actuators]
        velocities = _per_joint("velocity_limit", velocity_limit, len(self._actuators))
        accelerations = _per_joint("acceleration_limit", acceleration_limit, len(self._actuators))
        spec = RobotSpec(
            name=name,
            joints=tuple(
                _joint_spec(self.model, actuator, joint, mode, joint_name, velocity, acceleration)
                for actuator, joint, joint_name, velocity, acceleration in zip(
                    self._actuators,
                    self._joints,
                    _joint_names(self.model, self._actuators, self._joints),
                    velocities,
                    accelerations,
                    strict=True,
                )
            ),
            command_mode=mode,
            control_rate=control_rate,
            cameras=tuple(cameras),
            park_pose=None if park_pose is None else tuple(park_pose),
        )
        super().__init__(spec, clock)
        self._points = Points(self.model, points or {})
        self._sensors = _sensor_slices(self.model)
        _check_distinct(name, [*_VALUES, *(points or {}), *self._sensors])
        self._gear = np.where(self.model.actuator_gear[:, 0] == 0, 1.0, self.model.actuator_gear[:, 0])
        self._keyframe = None if keyframe is None else _keyframe_id(self.model, keyframe)
        self._on_reset = on_reset
        self._diverged = False
        self._before = np.empty(mujoco.mj_stateSize(self.model, _STATE))

    def get_state(self) -> Array:
        """MuJoCo's integration state (mjSTATE_INTEGRATION); targets shown by mocap bodies are part of it."""
        state = np.empty_like(self._before)
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return state

    def set_state(self, state: Array) -> None:
        """Put the simulation into a state from ``get_state``; the clock goes on.

        Raises:
            ValueError: if the state is of another model.
        """
        if state.shape != self._before.shape:
            raise ValueError(f"the state has shape {state.shape}; this model's has shape {self._before.shape}")
        mujoco.mj_setState(self.model, self.data, np.ascontiguousarray(state, dtype=np.float64), _STATE)
        mujoco.mj_forward(self.model, self.data)
        self._command = self.data.ctrl[self._actuators].copy()
        self._diverged = False

    def set_target(self, name: str, position: Array) -> None:
        """Move what shows the goal: a mocap body, or a site of the world. Nothing else depends on it.

        Args:
            name: the mocap body's or the site's name.
            position: (3,) in the world, m.

        Raises:
            ValueError: if the model has no such mocap body or site.
        """
        body = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name)
        site = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, name)
        if body >= 0 and self.model.body_mocapid[body] >= 0:
            self.data.mocap_pos[self.model.body_mocapid[body]] = position
        elif site >= 0 and self.model.site_bodyid[site] == 0:
            self.model.site_pos[site] = position
        else:
            known = [self.model.body(i).name for i in np.flatnonzero(self.model.body_mocapid >= 0)]
            known += [self.model.site(i).name for i in np.flatnonzero(self.model.site_bodyid == 0)]
            raise ValueError(unknown("mocap body or site of the world", name, known))
        mujoco.mj_kinematics(self.model, self.data)

    def clear_fault(self) -> None:
        """Take commands again.

        Raises:
            StoppedError: after a divergence; only ``reset`` or ``set_state`` help.
        """
        if self._diverged:
            raise StoppedError(f"{self.spec.name} diverged and cannot go on; call reset()")
        super().clear_fault()

    def _restart(self, seed: int) -> None:
        if self._keyframe is None:
            mujoco.mj_resetData(self.model, self.data)
        else:
            mujoco.mj_resetDataKeyframe(self.model, self.data, self._keyframe)
        if self._on_reset is not None:
            self._on_reset(self.model, self.data, np.random.default_rng(seed))
        mujoco.mj_forward(self.model, self.data)
        self.data.ctrl[:] = 0.0
        if self.spec.command_mode == "position":
            held = self.data.actuator_length / self._gear
            limited = self.model.actuator_ctrllimited.astype(bool)
            self.data.ctrl[:] = np.where(limited, np.clip(held, *self.model.actuator_ctrlrange.T), held)
        mujoco.mj_forward(self.model, self.data)
        self._command = self.data.ctrl[self._actuators].copy()
        self._diverged = False

    def _advance(self, command: Array) -> None:
        mujoco.mj_getState(self.model, self.data, self._before, _STATE)
        warnings = self._divergence_warnings()
        self.data.ctrl[self._actuators] = command
        mujoco.mj_step(self.model, self.data, self._substeps)
        mujoco.mj_forward(self.model, self.data)
        self.env_steps += 1
        finite = np.isfinite(self.data.qpos).all() and np.isfinite(self.data.qvel).all()
        if not finite or self._divergence_warnings() > warnings:
            mujoco.mj_setState(self.model, self.data, self._before, _STATE)
            mujoco.mj_forward(self.model, self.data)
            self._diverged = True
            self.stop(f"the simulation diverged at {self.data.time:.3f} s under the command {command}; call reset()")

    def _divergence_warnings(self) -> int:
        return sum(self.data.warning[warning].number for warning in _DIVERGED)

    def _values(self) -> dict[str, Array]:
        data = self.data
        commanded, gear = self._actuators, self._gear[self._actuators]
        values = {
            "joint_position": data.actuator_length[commanded] / gear,
            "joint_velocity": data.actuator_velocity[commanded] / gear,
            "qpos": data.qpos.copy(),
            "qvel": data.qvel.copy(),
            "command": self._command.copy(),
            "terminated": np.array(float(self._diverged)),
        }
        values.update(self._points.read(data))
        values.update({name: data.sensordata[where].copy() for name, where in self._sensors.items()})
        return values

    def _model_and_data(self) -> tuple[Any, Any]:
        return self.model, self.data


def _compile(path: str | Path) -> Any:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no MJCF file {path.absolute()}; check the path")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a valid MJCF model: {reason} Correct the file and try again.") from error


def _model_name(model: Any) -> str:
    return bytes(model.names).split(b"\0", 1)[0].decode() or "mujoco"


def _substeps(name: str, control_rate: float, timestep: float) -> int:
    if not control_rate > 0:
        raise ValueError(f"{name}: a control rate of {control_rate} Hz is not possible; it must be above 0")
    substeps = 1.0 / (control_rate * timestep)
    if round(substeps) < 1 or abs(substeps - round(substeps)) > 1e-6:
        raise ValueError(
            f"{name}: a control rate of {control_rate} Hz does not divide the physics rate of "
            f"{1 / timestep:g} Hz (timestep {timestep} s): {substeps:g} physics steps per command. Change "
            f"control_rate, or the timestep in the MJCF's <option>."
        )
    return round(substeps)


def _actuator_ids(model: Any, names: Sequence[str] | None) -> list[int]:
    if model.nu == 0:
        raise ValueError(f"{_model_name(model)} has no actuators; add an <actuator> section to the MJCF")
    if names is None:
        return list(range(model.nu))
    ids = []
    for name in names:
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_ACTUATOR, name)
        if index < 0:
            raise ValueError(unknown("actuator", name, object_names(model, mujoco.mjtObj.mjOBJ_ACTUATOR, model.nu)))
        ids.append(index)
    return ids


def _joint_of(model: Any, actuator: int) -> int | None:
    """The hinge or slide that an actuator moves; None for tendons, sites and balls."""
    if model.actuator_trntype[actuator] not in _JOINT_TRANSMISSIONS:
        return None
    joint = int(model.actuator_trnid[actuator, 0])
    return joint if model.jnt_type[joint] in _SCALAR_JOINTS else None


def _joint_names(model: Any, actuators: Sequence[int], joints: Sequence[int | None]) -> list[str]:
    """Joints' names; the actuators' where a joint has none, or more than one actuator."""
    counts = Counter(joints)
    names = []
    for actuator, joint in zip(actuators, joints, strict=True):
        name = model.joint(joint).name if joint is not None and counts[joint] == 1 else ""
        names.append(name or model.actuator(actuator).name or f"actuator_{actuator}")
    return names


def _deduce_mode(model: Any, actuators: Sequence[int]) -> CommandMode:
    modes: set[CommandMode] = set()
    for actuator in actuators:
        _, stiffness, damping = model.actuator_biasprm[actuator, :3]
        if stiffness != 0:
            modes.add("position")
        else:
            modes.add("velocity" if damping != 0 else "effort")
    if len(modes) > 1:
        raise ValueError(
            f"{_model_name(model)} mixes {' and '.join(sorted(modes))} actuators; give command_mode, or "
            f"command a subset with actuators=[...]"
        )
    return modes.pop()


def _per_joint(name: str, limit: float | Sequence[float] | None, count: int) -> Sequence[float] | Sequence[None]:
    if limit is None:
        return [None] * count
    if isinstance(limit, int | float):
        return [float(limit)] * count
    if len(limit) != count:
        raise ValueError(f"{name} has {len(limit)} numbers for {count} joints; give one number, or one per joint")
    return limit


def _joint_spec(
    model: Any,
    actuator: int,
    joint: int | None,
    mode: CommandMode,
    name: str,
    velocity: float | None,
    acceleration: float | None,
) -> JointSpec:
    command = _range(model.actuator_ctrllimited[actuator], model.actuator_ctrlrange[actuator])
    travel = None if joint is None else _range(model.jnt_limited[joint], model.jnt_range[joint])
    if mode == "position":
        both = [limit for limit in (command, travel) if limit is not None]
        travel = (max(low for low, _ in both), min(high for _, high in both)) if both else None
    force = _range(model.actuator_forcelimited[actuator], model.actuator_forcerange[actuator])
    gear = abs(float(model.actuator_gear[actuator, 0]))
    return JointSpec(
        name=name,
        position=travel,
        velocity=velocity,
        acceleration=acceleration,
        effort=None if force is None else gear * max(abs(force[0]), abs(force[1])),
        command=None if mode == "position" else command,
    )


def _range(limited: int, limits: Array) -> tuple[float, float] | None:
    return (float(limits[0]), float(limits[1])) if limited else None


def _sensor_slices(model: Any) -> dict[str, slice]:
    slices = {}
    for sensor in range(model.nsensor):
        start, size = int(model.sensor_adr[sensor]), int(model.sensor_dim[sensor])
        if name := model.sensor(sensor).name:
            slices[name] = slice(start, start + size)
    return slices


def _check_distinct(robot: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{robot}: {', '.join(map(repr, twice))} names more than one value of an observation; rename the "
            f"sensor or the point"
        )


def _keyframe_id(model: Any, name: str) -> int:
    index: int = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, name)
    if index < 0:
        raise ValueError(unknown("keyframe", name, object_names(model, mujoco.mjtObj.mjOBJ_KEY, model.nkey)))
    return index
