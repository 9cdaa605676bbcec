"""The pushing arm with its fingertip commanded in the plane, and its camera's picture seen from above."""

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from hardware.arms.so101 import SPEED_LIMIT
from hardware.robot import Array, JointSpec, Observation, RobotSpec
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.goals.pixel_view import PlaneView

VIEW = "view"
TIP_HEIGHT = 0.02
"""How high above the table the fingertip is held, m."""

_REGION = PlaneView(centre=(0.235, 0.0), height=PIXEL_HEIGHT, cell=0.015, rows=20, columns=32)
_LIMITS = {"tip_x": (0.11, 0.37), "tip_y": (-0.26, 0.26)}
_TIP_SPEED = 0.3
_SERVO_PERIOD = 0.04
"""How often the joints get new targets on the way to a command, s."""

_DAMPING, _POINTING, _STEPS, _LONGEST_STEP = 1e-2, 0.02, 4, 0.3
_UPRIGHT_RADIUS, _TILT = 0.18, 5.0
"""The gripper points down within this distance of the arm's axis, m, and tilts outwards beyond it, rad/m."""


class TipPushingArm(PixelPushingArm):
    """The pushing arm behind an inverse kinematics: commands are where its fingertip should be in the plane.

    A command (2,), x and y, m, is reached in a straight line during the control period, at a fixed height and with the
    gripper upright near the arm and tilted outwards far from it. Observations add ``tip_pixel``, ``aimed_pixel``,
    ``designated_pixel`` and ``wanted_pixel`` (2,): where the view shows the tip, the command, the tracked pixel and the
    goal; the view itself is the picture ``view``.

    Args:
        picture_size: of the camera, pixels, both ways.
        control_rate: commands per second, Hz.

    Attributes:
        view: the part of the plane that the view shows.
    """

    def __init__(self, *, picture_size: int, control_rate: float) -> None:
        self.view = _REGION
        super().__init__(picture_size=picture_size, control_rate=control_rate)
        joints = tuple(JointSpec(name, position=limits, velocity=_TIP_SPEED) for name, limits in _LIMITS.items())
        self._spec = RobotSpec(self._spec.name, joints, "position", control_rate)
        self._kinematics = _TipKinematics(self.model)
        most = max(1, round(1 / (control_rate * _SERVO_PERIOD)))
        self._parts = max(count for count in range(1, most + 1) if self._substeps % count == 0)
        self._substeps //= self._parts
        self._targets = np.zeros(len(self._actuators))
        self._aim = np.zeros(2)

    def get_state(self) -> Array:
        """MuJoCo's integration state, and the command in force."""
        return np.concatenate([super().get_state(), self._aim, self._targets])

    def set_state(self, state: Array) -> None:
        """Put the simulation into a state from ``get_state``; the clock goes on."""
        rest, self._aim, self._targets = np.split(state, np.cumsum([len(self._before), 2]))
        super().set_state(rest)
        self._command = self._aim.copy()

    def get_observation(self) -> Observation:
        """Read the arm, follow the pixel, and look from above."""
        observation = super().get_observation()
        values = observation.values
        marks = {
            "tip_pixel": self.view.pixels(values["gripper_tip"][:2]),
            "aimed_pixel": self.view.pixels(values["command"]),
            "designated_pixel": self.view.pixels(self.camera.on_plane(values["pixel"], PIXEL_HEIGHT)),
            "wanted_pixel": self.view.pixels(self.camera.on_plane(values["goal_pixel"], PIXEL_HEIGHT)),
        }
        picture = self.view.picture(self.camera, self.pictures[-1])
        return replace(observation, values={**values, **marks}, images={VIEW: picture})

    def _restart(self, seed: int) -> None:
        super()._restart(seed)
        self._targets = self._command
        low, high = self._spec.command_limits
        self._aim = np.clip(self.data.site("gripper_tip").xpos[:2], low, high)
        self._command = self._aim.copy()

    def _advance(self, command: Array) -> None:
        start, reach = self._aim, SPEED_LIMIT / (self._spec.control_rate * self._parts)
        for part in range(1, self._parts + 1):
            aim = start + (command - start) * part / self._parts
            joints = self._kinematics.joints(np.append(aim, TIP_HEIGHT), self._targets)
            self._targets = self._targets + np.clip(joints - self._targets, -reach, reach)
            super()._advance(self._targets)
        self.env_steps += 1 - self._parts
        self._aim = np.array(command, dtype=np.float64)

    def _values(self) -> dict[str, Array]:
        values = super()._values()
        tip = self.data.site("gripper_tip").xpos[:2].copy()
        return values | {"joint_position": tip, "joint_velocity": np.zeros(2), "command": self._aim.copy()}


class _TipKinematics:
    """Joints of the pushing arm that bring the fingertip to a point."""

    def __init__(self, model: Any) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._site = model.site("gripper_tip").id
        self._jacobian = np.zeros((3, model.nv))

    def joints(self, point: Array, start: Array) -> Array:
        """Joints (4,) for a point (3,), by damped least squares from joints near by."""
        joints, count = start.copy(), len(start)
        limits = self._model.jnt_range[:count]
        tilt = max(0.0, float(np.hypot(*point[:2])) - _UPRIGHT_RADIUS) * _TILT
        for _ in range(_STEPS):
            self._data.qpos[:count] = joints
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, self._jacobian, None, self._site)
            pitch = np.array([0.0, 1.0, 1.0, 1.0])
            jacobian = np.vstack([self._jacobian[:, :count], _POINTING * pitch])
            gap = np.append(point - self._data.site_xpos[self._site], _POINTING * (0.5 * np.pi - tilt - pitch @ joints))
            change = np.linalg.solve(jacobian.T @ jacobian + _DAMPING**2 * np.eye(count), jacobian.T @ gap)
            joints = np.clip(joints + np.clip(change, -_LONGEST_STEP, _LONGEST_STEP), *limits.T)
        return joints
