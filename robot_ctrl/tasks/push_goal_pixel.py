"""Push a thing by its pixel: what the camera's tracker says replaces the puck's place, which nobody tells the robot."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardware.robot import Observation
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.dataset import transitions_of
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm
from robot_ctrl.goals.pixel_task import PixelTask
from robot_ctrl.task import Array
from robot_ctrl.tasks.arm_push import ArmPush
from robot_ctrl.tasks.arm_reach import arm_columns

if TYPE_CHECKING:
    from robot_ctrl.dataset import Experience
    from robot_ctrl.episodes import Episode

_PLACE = slice(11, 13)
"""Columns of a state that say where the pixel is on the table: distance from the arm's axis, m, and bearing, rad."""


class PushGoalPixel(PixelTask, ArmPush):
    """Push a puck 8 to 15 cm by its tracked pixel to a goal pixel, with a simulated arm (success within 3 cm)."""

    defaults: ClassVar[dict[str, Any]] = ArmPush.defaults
    variants: ClassVar[dict[str, str]] = {"foresight": "push-goal-pixel-foresight"}

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

    def expected_pixels(self, states: Tensor, actions: Tensor) -> Array:
        """Where the places in which the model's members expect the pixel are seen."""
        with torch.no_grad():
            ends = self.model.rollout(states, actions).states[:, :, -1, _PLACE].cpu().numpy().astype(np.float64)
        radius, bearing = ends[..., 0], ends[..., 1]
        points = [radius * np.cos(bearing), radius * np.sin(bearing), np.full_like(radius, PIXEL_HEIGHT)]
        return self.robot.camera.project(np.stack(points, axis=-1))

    def experience(self, episode: "Episode", number: int, device: torch.device) -> "Experience":
        """The transitions between observations in which the pixel was seen."""
        transitions = transitions_of(self, episode, number, device)
        seen = np.array([observation.values["pixel_confidence"] > 0 for observation in episode.observations])
        steps = len(transitions)
        return transitions[torch.as_tensor(np.flatnonzero(seen[:steps] & seen[1 : steps + 1]))]
