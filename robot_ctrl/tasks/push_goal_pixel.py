"""Push a thing by its pixel: what the camera's tracker says replaces the puck's place, which nobody tells the robot."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hardware.robot import Observation
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.goals.pixel_task import PixelTask
from robot_ctrl.task import Array
from robot_ctrl.tasks.arm_push import ArmPush
from robot_ctrl.tasks.arm_reach import arm_columns

ARRIVED = 0.03
"""An episode succeeds if the puck ends within this distance of where the goal pixel shows, m."""


class PushGoalPixel(PixelTask, ArmPush):
    """Push a puck 8 to 15 cm by its tracked pixel to a goal pixel, with a simulated arm (success within 3 cm)."""

    defaults: ClassVar[dict[str, Any]] = ArmPush.defaults
    places: ClassVar[slice] = slice(11, 13)

    def __init__(
        self, *, episode_steps: int = 100, speed: float = 1.0, control_rate: float = 20.0, picture_size: int = 128
    ) -> None:
        """Make the robot with its camera; the state's layout and its cost are those of arm-push.

        Args:
            episode_steps: control periods in an episode.
            speed: of the commands, rad/s.
            control_rate: Hz.
            picture_size: pixels, both ways.
        """
        super().__init__(episode_steps=episode_steps, speed=speed, control_rate=control_rate)
        self.robot = PixelPushingArm(picture_size=picture_size, control_rate=control_rate)
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)

    def state(self, observation: Observation) -> Array:
        """Joints, tip and commands, and where the tracked pixel's ray meets the plane of the puck's top, with its rate.

        The camera's calibration is the only thing known about the picture; nothing comes from the simulator's puck.
        """
        values = observation.values
        tip, pixel = values["gripper_tip"], values["pixel"]
        place = self.place(pixel)
        rate = (place - self.place(pixel - values["pixel_rate"] * self.period)) / self.period
        bearing = np.arctan2(place[1], place[0])
        outwards = np.array([np.cos(bearing), np.sin(bearing)])
        seen_tip = [np.hypot(tip[0], tip[1]), np.arctan2(tip[1], tip[0]), tip[2]]
        rates = [rate @ outwards, rate @ [-outwards[1], outwards[0]]]
        return arm_columns(observation, np.array([*seen_tip, np.hypot(*place), bearing, *rates]))

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the pixel was not lost and the puck ended within 3 cm of the goal."""
        return not self.terminated(observations[-1]) and self._gap(observations[-1]) < ARRIVED

    def reward(self, observation: Observation) -> float:
        """The puck's negative distance to the goal, m."""
        return -self._gap(observation)

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """True distances at the start and the end, m; how far off the tracker was, pixels; how often it saw nothing."""
        tops = np.stack([np.append(o.values["puck"][:2], PIXEL_HEIGHT) for o in observations])
        pixels = np.stack([observation.values["pixel"] for observation in observations])
        errors = np.linalg.norm(self.robot.camera.project(tops) - pixels, axis=-1)
        return {
            "start_distance": self._gap(observations[0]),
            "final_distance": self._gap(observations[-1]),
            "tracking_error": float(np.median(errors)),
            "worst_tracking_error": float(errors.max()),
            "hidden": float(np.mean([observation.values["pixel_confidence"] == 0 for observation in observations])),
            "lost": float(self.terminated(observations[-1])),
        }

    def _gap(self, observation: Observation) -> float:
        values = observation.values
        return float(np.linalg.norm(values["puck"][:2] - values["target"][:2]))
