"""The pushing arm seen by a camera that follows a designated pixel; a pixel that is lost stops it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

import hardware.arms
from hardware.arms.so101 import PARK_POSE, PUSHING_JOINTS, SPEED_LIMIT
from hardware.errors import PixelLostError
from hardware.mujoco_robot import MujocoRobot
from hardware.pixel_tracking import PixelTracker
from hardware.robot import Array, Observation
from robot_ctrl.goals.pixel_camera import PixelCamera
from robot_ctrl.tasks.arm_push import draw_start

PIXEL_HEIGHT = 0.031
"""How high above the table tracked pixels are taken to be: a puck's top, m."""

CAMERA = "front"
_FROM, _AT, _ANGLE = np.array([0.79, 0.0, 0.57]), np.array([0.235, 0.0, 0.02]), np.radians(40.0)
_RIM = 0.02


class PixelPushingArm(MujocoRobot):
    """The arm and a puck, watched from across the table; its observations hold what the tracker says.

    Observations add ``pixel`` (2,), ``pixel_rate`` (2,) in pixels per second, ``pixel_confidence``, 0 while the pixel
    is hidden, and ``goal_pixel`` (2,). ``terminated`` is 1 once it is lost, and the robot is stopped then.

    Args:
        picture_size: pixels, both ways.
        control_rate: commands per second, Hz.

    Attributes:
        camera: the camera's calibration.
        pixel: (2,) the designated pixel of the next ``reset``; None designates the puck's middle.
        goal_pixel: (2,) where it should go after the next ``reset``; None is the pixel of the place that is drawn then.
        lost: why the pixel is lost; None while it is not.
        pictures: what the camera has seen since the reset.
    """

    def __init__(self, *, picture_size: int, control_rate: float) -> None:
        self.camera = PixelCamera.looking(_FROM, _AT, _ANGLE, picture_size, picture_size)
        self.pixel: Array | None = None
        self.goal_pixel: Array | None = None
        self.lost: str | None = None
        self.pictures: list[NDArray[np.uint8]] = []
        self._tracker: PixelTracker | None = None
        self._tracked_at, self._rate = 0.0, np.zeros(2)
        super().__init__(
            _scene(self.camera),
            control_rate=control_rate,
            actuators=PUSHING_JOINTS,
            velocity_limit=SPEED_LIMIT,
            park_pose=PARK_POSE[: len(PUSHING_JOINTS)],
            points={"gripper_tip": "site:gripper_tip", "puck": "site:puck", "target": "body:target"},
            keyframe="ready",
            on_reset=_draw_visible_start,
        )

    def get_observation(self) -> Observation:
        """Read the arm, and follow the pixel through the newest picture."""
        observation = super().get_observation()
        seen = self._follow()
        terminated = np.maximum(observation.values["terminated"], float(self.lost is not None))
        return replace(observation, values={**observation.values, **seen, "terminated": terminated})

    def see(self) -> NDArray[np.uint8]:
        """The camera's picture (h, w, 3), without tracking."""
        return self._picture(CAMERA, self.camera.width, self.camera.height, fast=True).copy()

    def _restart(self, seed: int) -> None:
        super()._restart(seed)
        self._tracker, self.pictures, self.lost = None, [], None

    def _follow(self) -> dict[str, Array]:
        now = self.clock.now()
        if self._tracker is None:
            picture = self.see()
            pixel = self.camera.project(_top(self.data)) if self.pixel is None else self.pixel
            self._tracker = PixelTracker(picture, pixel)
            self.pictures.append(picture)
            self._tracked_at, self._rate = now, np.zeros(2)
        elif now > self._tracked_at and self.lost is None:
            before = self._tracker.tracked.position
            self.pictures.append(self.see())
            try:
                self._rate = (self._tracker.track(self.pictures[-1]).position - before) / (now - self._tracked_at)
            except PixelLostError as error:
                self.lost = str(error)
                self.stop(self.lost)
            self._tracked_at = now
        tracked = self._tracker.tracked
        target = np.append(self.data.body("target").xpos[:2], PIXEL_HEIGHT)
        return {
            "goal_pixel": self.camera.project(target) if self.goal_pixel is None else self.goal_pixel.copy(),
            "pixel": tracked.position.copy(),
            "pixel_rate": self._rate.copy(),
            "pixel_confidence": np.array(0.0 if self.lost else tracked.confidence),
        }


def _scene(camera: PixelCamera) -> Any:
    """The pushing arm's model with that camera, and without the marker of the target."""
    spec = mujoco.MjSpec.from_file(str(Path(hardware.arms.__file__).parent / "so101_push.xml"))
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, camera.rotation.ravel())
    angle = np.degrees(2 * np.arctan(0.5 * camera.height / camera.focal))
    spec.worldbody.add_camera(name=CAMERA, pos=camera.position, quat=quaternion, fovy=angle)
    model = spec.compile()
    model.geom_rgba[model.geom_bodyid == model.body("target").id, 3] = 0.0
    model.geom_matid[model.geom_bodyid == model.body("target").id] = -1
    return model


def _draw_visible_start(model: Any, data: Any, rng: np.random.Generator) -> None:
    """A start in which the camera sees the puck's top: nobody designates what they cannot see."""
    while True:
        draw_start(model, data, rng)
        mujoco.mj_forward(model, data)
        if _visible(model, data):
            return


def _visible(model: Any, data: Any) -> bool:
    eye = data.cam(CAMERA).xpos
    hit = np.zeros(1, dtype=np.int32)
    for offset in ([0, 0], [_RIM, 0], [-_RIM, 0], [0, _RIM], [0, -_RIM]):
        ray = _top(data) - eye
        ray[:2] += offset
        ray[2] -= 0.001
        mujoco.mj_ray(model, data, eye, ray, None, 1, -1, hit)
        if model.geom_bodyid[hit[0]] != model.body("puck").id:
            return False
    return True


def _top(data: Any) -> Array:
    """(3,) the middle of the puck's top, m."""
    return np.array([*data.site("puck").xpos[:2], PIXEL_HEIGHT])
