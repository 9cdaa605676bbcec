"""Swing a pendulum up to where a picture shows it: the pendulum task of Embed to Control."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hardware.drawn_robot import Canvas, DrawnRobot
from hardware.robot import CameraSpec, Observation
from models.image.frames import ImageSpec
from models.state import StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.task import Array

GRAVITY, LENGTH, MASS, DAMPING = 9.81, 1.0, 1.0, 0.5
"""m/s², m, kg and N·m·s."""

LARGEST_TORQUE = 12.0
"""N·m: just above what holds the rod level."""

PERIOD, SUBSTEPS = 0.05, 10
FASTEST = 8.0
"""The largest speed, rad/s."""

REACHED, AT_REST = 0.3, 1.0
"""An episode succeeds if it ends within this angle of the goal, rad, and slower than this, rad/s."""

_PIXELS = 48


class PendulumImage(GoalImageTask):
    """Swing a pendulum up to where a 48×48 picture shows it, by iLQR in E2C's latent (within 0.3 rad, at rest)."""

    models: ClassVar[tuple[str, ...]] = ("e2c", "joint-embedding", "latent-state-space")
    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 203,
        "model": {"latent_size": 3, "stack": 2, "widths": [], "first_steps": 900},
        "planner": {"name": "ilqr", "horizon": 20, "iterations": 20},
        "learning": {"version": 0.5, "base_policy": "coloured", "base_policy_colour": 1.0}
        | {"random_episodes": 200, "show_episodes": 4},
    }

    def __init__(self, *, episode_steps: int = 60) -> None:
        """Make the pendulum.

        Args:
            episode_steps: control periods in an episode.
        """
        self.robot = self._pendulum = Pendulum()
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.absolute(self.robot.spec)
        self.state_spec = StateSpec((), action_size=1)
        self.image_spec = ImageSpec(self.robot.spec.cameras[0].name, _PIXELS, _PIXELS, action_size=1)

    def goal_picture(self, observation: Observation) -> Picture:
        """The picture of the pendulum upright."""
        return self.picture_of(observation.values["goal"])

    def picture_of(self, joints: Array) -> Picture:
        """The picture of an angle (1,), rad from upright.

        Raises:
            ValueError: if it is not one finite angle.
        """
        angle = np.asarray(joints, dtype=np.float64)
        if angle.shape != (1,) or not np.isfinite(angle).all():
            raise ValueError(f"{joints} is no pose of the pendulum: give one angle from upright, rad.")
        return self._pendulum.draw(angle, self.image_spec.width, self.image_spec.height)

    def distance_to(self, observation: Observation, joints: Array) -> float:
        """The bob's distance along its circle from an angle (1,), m."""
        return LENGTH * abs(_wrapped(float(observation.values["state"][0] - joints[0])))

    def reward(self, observation: Observation) -> float:
        """The negative distance from upright, m."""
        return -self.distance_to(observation, observation.values["goal"])

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether it ended near the goal and slow."""
        last = observations[-1]
        slow = abs(last.values["state"][1]) < AT_REST
        return bool(self.distance_to(last, last.values["goal"]) < REACHED * LENGTH and slow)

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """The angle to the goal at the start and the end and the least, rad."""
        angles = [-self.reward(observation) / LENGTH for observation in observations]
        return {"start_distance": angles[0], "final_distance": angles[-1], "nearest_distance": min(angles)}


class Pendulum(DrawnRobot):
    """A rod with a bob, turned by a torque; its state is the angle from upright and the speed, rad and rad/s."""

    def __init__(self) -> None:
        super().__init__("pendulum", ("torque",), 1 / PERIOD, CameraSpec("side", _PIXELS, _PIXELS))

    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Anywhere, slowly; the goal is upright."""
        return np.array([rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)]), np.zeros(1)

    def step(self, state: Array, command: Array) -> Array:
        """One control period of semi-implicit Euler steps."""
        angle, speed = state
        for _ in range(SUBSTEPS):
            torque = LARGEST_TORQUE * command[0] + MASS * GRAVITY * LENGTH * np.sin(angle) - DAMPING * speed
            speed = np.clip(speed + PERIOD / SUBSTEPS * torque / (MASS * LENGTH**2), -FASTEST, FASTEST)
            angle = angle + PERIOD / SUBSTEPS * speed
        return np.array([_wrapped(angle), speed])

    def draw(self, state: Array, width: int, height: int) -> Picture:
        """A rod from the middle; upright is up."""
        canvas = Canvas(width, height, 2.6 * LENGTH)
        middle = np.full(2, 1.3 * LENGTH)
        tip = middle + LENGTH * np.array([np.sin(state[0]), -np.cos(state[0])])
        canvas.capsule(middle, tip, 0.12 * LENGTH, 1.0)
        return canvas.picture()


def _wrapped(angle: float) -> float:
    """Within [-π, π)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
