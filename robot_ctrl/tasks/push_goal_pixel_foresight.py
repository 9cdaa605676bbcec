"""Push a thing by its pixel through predicted pictures: neither its place nor a state of it is known, only pixels."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.robot import Observation
from models.image.foresight import Foresight
from models.image.foresight_motion import expected_pixel
from models.image.frames import ImageSpec
from models.learned import LearnedModel
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost, control_effort
from planners.plan import Plan
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.goals.image_task import ImageTask
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT
from robot_ctrl.goals.pixel_task import PixelTask
from robot_ctrl.goals.pixel_tip import VIEW, TipPushingArm
from robot_ctrl.task import Array
from robot_ctrl.tasks.arm_push import way_behind

_MEASURED = (("tip_pixel", 2), ("aimed_pixel", 2))
_TIP = slice(0, 2)
_SHOWN_PLANS, _SCALE, _COLUMNS = 6, 4, 4
_BELIEF, _GOAL = np.array([60.0, 230.0, 120.0]), (255, 210, 60)


class PushGoalPixelForesight(ImageTask, PixelTask):
    """Push-goal-pixel by visual foresight: the fingertip moves in the plane, pictures are predicted (within 3 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 151,
        "model": {"points": ["tip_pixel", "aimed_pixel"], "members": 2},
        "planner": {"horizon": 7, "population": 40, "elites": 8, "iterations": 2},
        "learning": {"base_policy": "coloured", "base_policy_colour": 1.0, "random_episodes": 150, "show_episodes": 1},
    }
    models: ClassVar[tuple[str, ...]] = ("foresight",)

    robot: TipPushingArm

    def __init__(
        self,
        *,
        episode_steps: int = 30,
        speed: float = 0.12,
        control_rate: float = 5.0,
        picture_size: int = 128,
        doubt: float = 0.0,
    ) -> None:
        """Make the robot with its camera.

        Args:
            episode_steps: control periods in an episode.
            speed: of the fingertip along each axis, m/s.
            control_rate: Hz.
            picture_size: of the camera, pixels, both ways.
            doubt: weight of the members' disagreement about how far the pixel is from its goal.
        """
        self.robot = TipPushingArm(picture_size=picture_size, control_rate=control_rate)
        self.episode_steps, self._doubt = episode_steps, doubt
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)
        view, size = self.robot.view, self.robot.spec.action_size
        self.state_spec = StateSpec((), action_size=size)
        self.image_spec = ImageSpec(
            VIEW, view.rows, view.columns, action_size=size, colour=True, proprioception=_MEASURED
        )

    def see_with(self, model: LearnedModel[Any]) -> None:
        """Take states from the model, and plan through it."""
        super().see_with(model)
        self._model = model
        self._foresight = cast("Foresight", model)

    def goal(self, observation: Observation) -> Array:
        """Where the view shows the goal pixel's place, column and row."""
        return observation.values["wanted_pixel"]

    def cost(self, goal: Tensor) -> Cost:
        """The designated pixel's expected distance to the goal pixel, and how far the tip is from pushing it there."""
        model, cell = self._foresight, self.robot.view.cell

        def distance(states: Tensor, actions: Tensor) -> Tensor:
            return cell * model.distance(states[..., 1:, :], goal)

        def approach(states: Tensor, actions: Tensor) -> Tensor:
            puck, tip = expected_pixel(model.beliefs(states[..., 1:, :])), model.robot(states[..., 1:, :])[..., _TIP]
            return way_behind(cell * tip, cell * puck, cell * goal)

        def doubt(states: Tensor, actions: Tensor) -> Tensor:
            gaps = distance(states, actions)
            return gaps.std(dim=0, correction=0, keepdim=True).expand_as(gaps)

        return StepwiseCost(
            {"distance": distance, "approach": approach, "doubt": doubt, "control": control_effort},
            weights={"distance": 10.0, "approach": 3.0, "doubt": self._doubt, "control": 0.003},
        )

    @torch.no_grad()
    def expected_pixels(self, states: Tensor, actions: Tensor) -> Array:
        """Where the members' beliefs have their means, in the camera's picture."""
        ends = self._foresight.rollout(states, actions).states[:, :, -1]
        seen = expected_pixel(self._foresight.beliefs(ends)).cpu().numpy().astype(np.float64)
        places = self.robot.view.places(seen)
        height = np.full_like(places[..., :1], PIXEL_HEIGHT)
        return self.robot.camera.project(np.concatenate([places, height], axis=-1))

    @torch.no_grad()
    def imagined(self, states: Array, plans: Sequence[Plan]) -> list[NDArray[np.uint8]]:
        """Predicted frames of some plans by the first member, with the belief over them, a strip each."""
        chosen = np.unique(np.linspace(0, len(plans) - 1, _SHOWN_PLANS).astype(int))
        starts = torch.as_tensor(states[chosen], dtype=torch.float32)
        actions = torch.tensor(np.stack([plans[index].actions for index in chosen]))
        futures = self._foresight.rollout(starts, actions).states[0]
        goal = self.robot.view.pixels(self.place(self._goal_pixel()))
        return [self._strip(future, goal) for future in futures]

    def _goal_pixel(self) -> Array:
        return self.robot.get_observation().values["goal_pixel"]

    def _strip(self, future: Tensor, goal: Array) -> NDArray[np.uint8]:
        steps = np.unique(np.linspace(0, len(future) - 1, _COLUMNS).astype(int))
        frames = self._foresight.pictures(future)[steps].permute(0, 2, 3, 1).numpy()
        beliefs = self._foresight.beliefs(future)[steps].numpy()
        canvases = []
        for frame, belief in zip(frames, beliefs, strict=True):
            weight = np.sqrt(belief / belief.max())[..., None]
            mixed = np.asarray((1 - 0.7 * weight) * frame + 0.7 * weight * _BELIEF, dtype=np.uint8)
            canvas = cv2.resize(mixed, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)
            column, row = (int(value) for value in np.rint((goal + 0.5) * _SCALE))
            cv2.drawMarker(canvas, (column, row), _GOAL, cv2.MARKER_TILTED_CROSS, 8, 1, cv2.LINE_AA)
            canvases.append(canvas)
        return np.hstack(canvases)
