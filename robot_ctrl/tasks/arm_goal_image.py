"""Bring a six-joint arm to where a picture shows it, from a camera and its own joints."""

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from hardware.arms.reaching import reaching_arm
from hardware.mujoco_robot import MujocoRobot
from hardware.robot import CameraSpec, Observation
from models.image.frames import ImageSpec
from models.state import StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.task import Array
from robot_ctrl.tasks.arm_reach import WORKSPACES, pose_above_table

REACHED = 0.03
"""An episode succeeds if the gripper's tip ends within this distance of where the goal shows it, m."""

ALREADY_THERE = 0.1
"""Goals are at least this far from the start, m."""

CAMERA = "posture"
_ARM = "so101"


class ArmGoalImage(GoalImageTask):
    """Bring a six-joint arm to where a 64×64 picture shows it, learned from random motion (tip within 3 cm)."""

    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 610,
        "model": {"stack": 1},
        "planner": {"horizon": 10, "population": 64, "elites": 10, "iterations": 4},
        "learning": {"version": 0.5, "base_policy": "coloured", "base_policy_colour": 1.0}
        | {"random_episodes": 600, "show_episodes": 4},
    }

    def __init__(
        self,
        *,
        episode_steps: int = 50,
        speed: float = 1.5,
        control_rate: float = 20.0,
        picture_size: int = 64,
        proprioception: bool = True,
        doubt: float = 0.5,
        last_step_only: bool = False,
        proposals: bool = True,
    ) -> None:
        """Make the robot, and a twin that poses for goal pictures.

        Args:
            episode_steps: control periods in an episode.
            speed: of the commands, rad/s.
            control_rate: Hz.
            picture_size: pixels, both ways.
            proprioception: whether the joints' positions, velocities and commands join the picture; without them
                the model needs ``model.stack=2`` to see motion.
            doubt: weight of the members' disagreement about the distance to the goal.
            last_step_only: cost only the last state of a plan.
            proposals: whether plans start from what the model's policy would do.
        """
        camera = CameraSpec(CAMERA, picture_size, picture_size, supersampling=3)
        self._goal_pose = np.zeros(0)
        self.robot = reaching_arm(_ARM, control_rate=control_rate, cameras=[camera], on_reset=self._draw)
        self._twin = reaching_arm(_ARM, control_rate=control_rate, cameras=[camera])
        for arm in (self.robot, self._twin):
            _hide_target(arm)
        self._twin.connect()
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.delta(self.robot.spec, speed, self.period)
        joints = self.robot.spec.action_size
        self.state_spec = StateSpec((), action_size=joints)
        self.image_spec = ImageSpec(
            CAMERA,
            picture_size,
            picture_size,
            action_size=joints,
            colour=True,
            proprioception=tuple((name, joints) for name in ("joint_position", "joint_velocity", "command"))
            if proprioception
            else (),
        )
        self._doubt, self._last_step_only, self._proposals = doubt, last_step_only, proposals

    def goal_picture(self, observation: Observation) -> Picture:
        """The picture of the pose that was drawn at the reset."""
        return self.picture_of(self._goal_pose)

    def picture_of(self, joints: Array) -> Picture:
        """The picture of a pose, from the twin: joints (6,), rad."""
        return self._posed(joints).images[CAMERA]

    def distance_to(self, observation: Observation, joints: Array) -> float:
        """The tip's distance to where it is in a pose, m."""
        there = self._posed(joints).values["gripper_tip"]
        return float(np.linalg.norm(observation.values["gripper_tip"] - there))

    def reward(self, observation: Observation) -> float:
        """The negative distance to the goal, m."""
        return -_distance(observation)

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the tip ended within 3 cm of the goal."""
        return _distance(observations[-1]) < REACHED

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """Distances of the tip to the goal at the start and the end and the nearest, m."""
        distances = [_distance(observation) for observation in observations]
        return {
            "start_distance": distances[0],
            "final_distance": distances[-1],
            "nearest_distance": min(distances),
        }

    def _posed(self, joints: Array) -> Observation:
        joints = np.asarray(joints, dtype=np.float64)
        low, high = self.robot.spec.command_limits
        if joints.shape != low.shape or not (np.isfinite(joints) & (low <= joints) & (joints <= high)).all():
            limits = ", ".join(
                f"{joint.name} {joint.position[0]:g} to {joint.position[1]:g}"
                for joint in self.robot.spec.joints
                if joint.position
            )
            raise ValueError(
                f"{joints} is no pose of the arm: it takes {len(low)} joints within limits, rad: {limits}."
            )
        self._twin.data.qpos[:] = joints
        mujoco.mj_forward(self._twin.model, self._twin.data)
        return self._twin.get_observation()

    def _draw(self, model: Any, data: Any, rng: np.random.Generator) -> None:
        """A random start, and as the goal another pose whose tip is some way off."""
        pose_above_table(model, data, rng, WORKSPACES[_ARM])
        self._goal_pose, tip = data.qpos.copy(), data.site("gripper_tip").xpos.copy()
        while True:
            pose_above_table(model, data, rng, WORKSPACES[_ARM])
            if np.linalg.norm(data.site("gripper_tip").xpos - tip) > ALREADY_THERE:
                break
        data.mocap_pos[model.body("target").mocapid[0]] = tip


def _hide_target(arm: MujocoRobot) -> None:
    marker = arm.model.geom_bodyid == arm.model.body("target").id
    arm.model.geom_rgba[marker, 3], arm.model.geom_matid[marker] = 0.0, -1


def _distance(observation: Observation) -> float:
    return float(np.linalg.norm(observation.values["gripper_tip"] - observation.values["target"]))
