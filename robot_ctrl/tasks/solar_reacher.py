"""Improve one policy of dm_control's reacher, from one start to one goal, from pictures and rewards, with SOLAR."""

from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from hardware.robot import CameraSpec, Observation
from models.dynamics import Rollout
from models.image.solar import SOLAR
from planners.cost import Cost
from robot_ctrl.tasks.reacher_goal_image import ALREADY_THERE, PosingReacher, ReacherGoalImage

_START_SPREAD = 0.05
"""Standard deviation of the start's angles, rad."""

_FARTHEST = 1.5
"""The goal's angles are at most this far from the start's, rad: what 50 steps leave time for."""

_FURTHEST_BENT = 2.0
_EFFORT = 1e-2
_SUPERSAMPLING = 4

ROLLOUTS = 40
"""Of every policy, the random one too."""

_STRENGTH = 0.5
"""The share of the torque that is used: random motion stays where one linear model can follow it."""


class ReacherSolar(ReacherGoalImage):
    """Improve one policy of the reacher from pictures and rewards by KL-constrained LQR in SOLAR's latent."""

    models: ClassVar[tuple[str, ...]] = ("solar",)
    learns_reward: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 11 * ROLLOUTS,
        "model": {"local_rollouts": ROLLOUTS},
        "planner": {"name": "kl-lqr", "horizon": 50, "step": 1.0, "exploration": 0.8},
        "learning": {"version": 1.0, "base_policy": "uniform"}
        | {"random_episodes": ROLLOUTS, "refit_every_episodes": ROLLOUTS, "show_episodes": 4},
    }

    def __init__(
        self, *, scene: int = 0, episode_steps: int = 50, action_repeat: int = 4, picture_size: int = 32
    ) -> None:
        """Make the robot.

        Args:
            scene: draws the start and the goal, which stay the same.
            episode_steps: control periods in an episode.
            action_repeat: environment steps of 20 ms in one control period.
            picture_size: pixels, both ways.
        """
        super().__init__(episode_steps=episode_steps, action_repeat=action_repeat, picture_size=picture_size)
        camera = replace(self.robot.spec.cameras[0], supersampling=_SUPERSAMPLING)
        self.robot = OneSceneReacher(camera, action_repeat, scene)
        torques = self.action_scale
        self.action_scale = replace(torques, low=_STRENGTH * torques.low, high=_STRENGTH * torques.high)

    def reward(self, observation: Observation) -> float:
        """The negative squared distance to the goal, in units of 10 cm: what a quadratic can predict."""
        return -((super().reward(observation) / ALREADY_THERE) ** 2)

    def cost(self, goal: Tensor) -> Cost:
        """What the model expects of the distance to the goal, and a little effort; it has not been told the goal."""
        model = cast("SOLAR", self._image_model)

        def price(rollout: Rollout, actions: Tensor) -> Tensor:
            expected = -model.reward(rollout.states[..., 1:, :]).sum(-1)
            return expected + _EFFORT * actions.square().sum((1, 2))

        return price


class OneSceneReacher(PosingReacher):
    """The reacher that starts near one pose, with one goal.

    Args:
        camera: the camera that observes it.
        action_repeat: environment steps per command.
        scene: draws start and goal.
    """

    def __init__(self, camera: CameraSpec, action_repeat: int, scene: int) -> None:
        super().__init__(camera, action_repeat)
        self._scene = scene

    def _restart(self, seed: int) -> None:
        super()._restart(seed)
        _, data = self._model_and_data()
        rng = np.random.default_rng([self._scene, 2])
        start = rng.uniform([-np.pi, -_FURTHEST_BENT], [np.pi, _FURTHEST_BENT])
        self.pose(start)
        tip = data.geom("finger").xpos.copy()
        while True:
            self._goal_pose = np.clip(
                start + rng.uniform(-_FARTHEST, _FARTHEST, 2), [-np.inf, -_FURTHEST_BENT], [np.inf, _FURTHEST_BENT]
            )
            self.pose(self._goal_pose)
            self._goal_tip = data.geom("finger").xpos.copy()
            if np.linalg.norm(self._goal_tip - tip) >= ALREADY_THERE:
                break
        self.pose(start + _START_SPREAD * np.random.default_rng([seed, 3]).standard_normal(2))
