"""Bring dm_control's two-link reacher to where a picture shows it, from pictures alone."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import CameraSpec, Observation
from models.image.frames import ImageSpec
from models.state import StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.task import Array

REACHED = 0.05
"""An episode succeeds if the fingertip ends within this distance of where the goal shows it, m."""

CLOSELY = 0.025
"""What evaluations count beside it, m."""

ALREADY_THERE = 0.1
"""Goals are at least this far from the start, m."""

_CAMERA = "fixed"


class ReacherGoalImage(GoalImageTask):
    """Bring a two-link arm to where a 64×64 picture shows it, learned from pictures without reward (within 5 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 510,
        "planner": {"horizon": 10, "population": 64, "elites": 10, "iterations": 3},
        "model": {"first_steps": 4000},
        "learning": {"version": 0.5, "base_policy": "coloured", "base_policy_colour": 1.0, "base_policy_gentle": 0.5}
        | {"random_episodes": 500, "show_episodes": 4},
    }

    def __init__(
        self,
        *,
        episode_steps: int = 50,
        action_repeat: int = 4,
        picture_size: int = 64,
        doubt: float = 0.5,
        last_step_only: bool = False,
        proposals: bool = True,
    ) -> None:
        """Make the robot, and a twin that poses for goal pictures.

        Args:
            episode_steps: control periods in an episode.
            action_repeat: environment steps of 20 ms in one control period.
            picture_size: pixels, both ways.
            doubt: weight of the members' disagreement about the distance to the goal.
            last_step_only: cost only the last state of a plan.
            proposals: whether plans start from what the model's policy would do.
        """
        camera = CameraSpec(_CAMERA, picture_size, picture_size)
        self.robot = PosingReacher(camera, action_repeat)
        self._twin = PosingReacher(camera, action_repeat)
        self._twin.connect()
        self.episode_steps, self.env_steps_per_action = episode_steps, action_repeat
        self.action_scale = ActionScale.absolute(self.robot.spec)
        self.state_spec = StateSpec((), action_size=self.robot.spec.action_size)
        self.image_spec = ImageSpec(_CAMERA, picture_size, picture_size, action_size=self.robot.spec.action_size)
        self._doubt, self._last_step_only, self._proposals = doubt, last_step_only, proposals

    def goal_picture(self, observation: Observation) -> Picture:
        """The picture of the pose that was drawn at the reset."""
        return self.picture_of(observation.values["goal_pose"])

    def picture_of(self, joints: Array) -> Picture:
        """The picture of a pose, from the twin: joints (2,), rad."""
        self._twin.pose(joints)
        return self._twin.get_observation().images[_CAMERA]

    def distance_to(self, observation: Observation, joints: Array) -> float:
        """The fingertip's distance to where it is in a pose, m."""
        self._twin.pose(joints)
        there = self._twin.get_observation().values["finger"]
        return float(np.linalg.norm(observation.values["finger"] - there))

    def reward(self, observation: Observation) -> float:
        """The negative distance to the goal, m."""
        return -_distance(observation)

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the fingertip ended within 5 cm of the goal."""
        return _distance(observations[-1]) < REACHED

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """Distances to the goal at the start and the end and the nearest, m, and whether it ended within 2.5 cm."""
        distances = [_distance(observation) for observation in observations]
        return {
            "start_distance": distances[0],
            "final_distance": distances[-1],
            "nearest_distance": min(distances),
            "closely": float(distances[-1] < CLOSELY),
        }


class PosingReacher(DmControlRobot):
    """The reacher with a goal pose at every reset, and without the marker of the suite's own target.

    Its observations add ``goal_pose`` (2,), rad, ``goal_tip`` (3,) and ``finger`` (3,), m.

    Args:
        camera: the camera that observes it.
        action_repeat: environment steps per command.
    """

    def __init__(self, camera: CameraSpec, action_repeat: int) -> None:
        super().__init__(
            "reacher", "easy", action_repeat=action_repeat, points={"finger": "geom:finger"}, cameras=[camera]
        )
        self._goal_pose = np.zeros(2)
        self._goal_tip = np.zeros(3)

    def pose(self, joints: Array) -> None:
        """Put the arm at rest into a pose (2,), rad.

        Raises:
            ValueError: if the wrist cannot be bent that far, or it is not two finite angles.
        """
        model, data = self._model_and_data()
        low, high = model.jnt_range[1]
        joints = np.asarray(joints, dtype=np.float64)
        if joints.shape != (2,) or not np.isfinite(joints).all() or not low <= joints[1] <= high:
            raise ValueError(
                f"{joints} is no pose of the reacher: it takes a shoulder angle and a wrist angle within "
                f"[{low:.2f}, {high:.2f}] rad."
            )
        data.qpos[:], data.qvel[:] = joints, 0.0
        self._env.physics.forward()

    def _restart(self, seed: int) -> None:
        super()._restart(seed)
        model, data = self._model_and_data()
        model.geom_rgba[model.geom("target").id, 3] = 0.0
        start, tip = data.qpos.copy(), data.geom("finger").xpos.copy()
        rng = np.random.default_rng([seed, 1])
        while True:
            self._goal_pose = rng.uniform([-np.pi, model.jnt_range[1, 0]], [np.pi, model.jnt_range[1, 1]])
            self.pose(self._goal_pose)
            self._goal_tip = data.geom("finger").xpos.copy()
            if np.linalg.norm(self._goal_tip - tip) >= ALREADY_THERE:
                break
        self.pose(start)

    def _values(self) -> dict[str, Array]:
        return super()._values() | {"goal_pose": self._goal_pose.copy(), "goal_tip": self._goal_tip.copy()}


def _distance(observation: Observation) -> float:
    return float(np.linalg.norm(observation.values["finger"] - observation.values["goal_tip"]))
