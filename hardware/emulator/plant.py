"""The emulated arm's body: a MuJoCo model that is moved by servos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.emulator.options import PlantOptions
from hardware.emulator.servo import EmulatedServo
from hardware.names import unknown

Array = NDArray[np.float64]

_BLOCKED = 100.0
_AT_REST = 5e-3
_TO_SLEEP = 1.0
_ASLEEP_STEPS = 10
_PAYLOAD_RADIUS = 0.012
_HAND_SPEED = 1.0
_HAND_RATE = 30.0


class Plant:
    """Joints of a MuJoCo model, moved by the torque of servos and by nothing else.

    Attributes:
        model: the MjModel.
        data: the MjData.
        time: up to when the physics have been computed, s on the clock.
        supply_factor: 1, or less while the supply is weak.

    Args:
        path: the MJCF file.
        joints: the names of the joints that servos move.
        options: how it differs from the file.
        time: now, s.
        seed: of the encoders' noise.

    Raises:
        ValueError: if the file does not compile or has no such joint.
    """

    def __init__(self, path: Path, joints: Sequence[str], options: PlantOptions, *, time: float, seed: int) -> None:
        self.model = compile_plant(path, options.payload)
        self.data = mujoco.MjData(self.model)
        self.options = options
        self.time = time
        self.supply_factor = 1.0
        known = [self.model.joint(i).name for i in range(self.model.njnt)]
        for name in joints:
            if name not in known:
                raise ValueError(f"{path.name}: {unknown('joint', name, known)}")
        ids = [self.model.joint(name).id for name in joints]
        self._position_at = self.model.jnt_qposadr[ids]
        self._velocity_at = self.model.jnt_dofadr[ids]
        self.torque, self.stiffness, self.damping = self._actuators(ids)
        self.drag = self.model.dof_damping[self._velocity_at].copy()
        self.model.actuator_gainprm[:] = 0.0
        self.model.actuator_biasprm[:] = 0.0
        self.model.dof_frictionloss *= options.friction
        self.model.dof_damping *= options.damping
        self._friction = self.model.dof_frictionloss.copy()
        self._viscous = self.model.dof_damping.copy()
        self._names = list(joints)
        self._rng = np.random.default_rng(seed)
        self._slack = np.zeros(len(joints))
        self._backlash = np.zeros(len(joints))
        self._servos: list[tuple[int, EmulatedServo]] = []
        self._rest = 0.0
        self._held: dict[int, float] = {}

    @property
    def step_time(self) -> float:
        """Length of a step of the physics, s."""
        return float(self.model.opt.timestep)

    @property
    def cameras(self) -> list[str]:
        """The names of the model's cameras."""
        return [self.model.camera(index).name for index in range(self.model.ncam)]

    @property
    def positions(self) -> Array:
        """(nu,) true joint positions, rad."""
        return np.array(self.data.qpos[self._position_at])

    @property
    def velocities(self) -> Array:
        """(nu,) true joint velocities, rad/s."""
        return np.array(self.data.qvel[self._velocity_at])

    def attach(self, servos: Sequence[tuple[str, EmulatedServo]], start: Mapping[str, float]) -> None:
        """Let servos move joints, and put the joints where they start.

        Args:
            servos: (joint, servo); several may share a joint.
            start: joint positions, rad; 0 where it is silent. What no servo moves starts as in the first keyframe.
        """
        self._servos = [(self._names.index(joint), servo) for joint, servo in servos]
        for index, servo in self._servos:
            gear = servo.mount.gear
            self._backlash[index] = self.options.backlash * servo.motor.model.backlash / gear
        mujoco.mj_resetData(self.model, self.data)
        if self.model.nkey:
            mujoco.mj_resetDataKeyframe(self.model, self.data, 0)
        for index, name in enumerate(self._names):
            self.data.qpos[self._position_at[index]] = start.get(name, 0.0)
        mujoco.mj_forward(self.model, self.data)
        positions = self.positions
        for index, servo in self._servos:
            servo.place(float(positions[index]))

    def block(self, joint: str, blocked: bool) -> None:
        """Jam a joint, or free it."""
        dof = self._velocity_at[self._names.index(joint)]
        self.model.dof_frictionloss[dof] = _BLOCKED if blocked else self._friction[dof]
        self.model.dof_damping[dof] = _BLOCKED if blocked else self._viscous[dof]

    def move(self, joint: str, position: float) -> None:
        """A person's hand, stronger than any servo, moves a joint slowly and holds it there.

        Args:
            joint: its name.
            position: rad; the joint's own ends stop the hand.

        Raises:
            ValueError: if there is no such joint, or the position is not finite.
        """
        if joint not in self._names:
            raise ValueError(unknown("joint", joint, self._names))
        if not np.isfinite(position):
            raise ValueError(f"{joint} cannot be moved to {position} rad; give a finite number")
        limits = self.model.joint(joint).range if self.model.joint(joint).limited else (-np.inf, np.inf)
        self._held[self._names.index(joint)] = float(np.clip(position, *limits))

    def let_go(self) -> None:
        """The hand lets go of every joint."""
        self._held.clear()

    def advance(self, until: float) -> None:
        """Compute the physics up to a time on the clock, in whole steps.

        A body that has been at rest without torque for a second stays as it is, which costs next to nothing.
        """
        while True:
            moved = self._held or any(servo.torque_on for _, servo in self._servos)
            asleep = self._rest > _TO_SLEEP and not moved
            step = self.step_time * (_ASLEEP_STEPS if asleep else 1)
            if self.time + step > until + 1e-9:
                return
            self._step(step, asleep=asleep)
            self.time += step

    def _step(self, step: float, *, asleep: bool) -> None:
        positions, velocities = self.positions.tolist(), self.velocities.tolist()
        noise = self._noise()
        currents: dict[float, float] = {}
        for _, servo in self._servos:
            nominal = servo.motor.model.supply
            currents[nominal] = currents.get(nominal, 0.0) + abs(servo.motor.current)
        torques = [0.0] * len(self._names)
        outputs = [0.0] * len(self._names)
        for index, servo in self._servos:
            nominal = servo.motor.model.supply
            source = nominal if self.options.supply is None else self.options.supply
            voltage = max(source * self.supply_factor - self.options.resistance * currents[nominal], 0.0)
            torques[index] += servo.step(self.time, step, positions[index], velocities[index], voltage, noise[index])
            outputs[index] = servo.motor.output * servo.motor.model.no_load_speed / servo.mount.gear
        if asleep:
            return
        self._pass_through_gears(torques, outputs, step)
        self.data.qfrc_applied[self._velocity_at] = torques
        for index, wanted in self._held.items():
            speed = np.clip(_HAND_RATE * (wanted - positions[index]), -_HAND_SPEED, _HAND_SPEED)
            self.data.qvel[self._velocity_at[index]] = speed
        mujoco.mj_step(self.model, self.data)
        moving = max(map(abs, velocities)) > _AT_REST or any(torques)
        self._rest = 0.0 if moving else self._rest + step
        if not np.isfinite(self.data.qpos).all():
            mujoco.mj_resetData(self.model, self.data)

    def _noise(self) -> list[float]:
        if self.options.noise == 0.0:
            return [0.0] * len(self._names)
        noise: list[float] = self._rng.normal(scale=self.options.noise, size=len(self._names)).tolist()
        return noise

    def _pass_through_gears(self, torques: list[float], speeds: list[float], step: float) -> None:
        """Torque that changes sides must first cross the play of the gears, at the speed of the free motor."""
        for index, torque in enumerate(torques):
            half = self._backlash[index] / 2
            if half == 0.0 or torque == 0.0:
                continue
            side = 1.0 if torque > 0 else -1.0
            slack = self._slack[index] + side * max(abs(speeds[index]), 0.05) * step
            if side * slack >= half:
                self._slack[index] = side * half
            else:
                self._slack[index] = slack
                torques[index] = 0.0

    def _actuators(self, joints: Sequence[int]) -> tuple[Array, Array, Array]:
        """Full torque, stiffness and damping of each joint's position actuator; NaN where it has none."""
        found = np.full((3, len(joints)), np.nan)
        for actuator in range(self.model.nu):
            joint = int(self.model.actuator_trnid[actuator, 0])
            stiffness = -float(self.model.actuator_biasprm[actuator, 1])
            if joint in joints and stiffness > 0:
                index = list(joints).index(joint)
                limited = self.model.actuator_forcelimited[actuator]
                torque = float(self.model.actuator_forcerange[actuator, 1]) if limited else np.nan
                found[:, index] = torque, stiffness, -float(self.model.actuator_biasprm[actuator, 2])
        return found[0], found[1], found[2]


def compile_plant(path: Path, payload: float) -> Any:
    """The MjModel of a file, with a weight in its gripper.

    Args:
        path: the MJCF file.
        payload: kg.

    Raises:
        ValueError: if the file does not compile, or has no site ``gripper_tip`` to hang a payload on.
    """
    if not path.is_file():
        raise ValueError(f"there is no MJCF file {path.absolute()}; check the robot's twin")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        if payload > 0:
            site = spec.site("gripper_tip")
            if site is None:
                raise ValueError("a payload needs a site named gripper_tip to hang on.")
            site.parent.add_geom(
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[_PAYLOAD_RADIUS, 0, 0],
                pos=site.pos,
                mass=payload,
                contype=0,
                conaffinity=0,
                rgba=[0.3, 0.3, 0.35, 1],
            )
        return spec.compile()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be the emulator's plant: {reason} Correct the file and try again.") from error
