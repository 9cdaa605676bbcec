"""Bring a point past obstacles to where a picture shows it: the planar task of Embed to Control."""

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

SIDE = 40.0
"""Length of the world's sides, in pixels of the picture."""

LONGEST_STEP = 2.0
"""Along each axis in one control period, pixels."""

RADIUS = 2.5
"""Of the point as it is drawn; it stays this far from the walls."""

OBSTACLES = np.array([(20.0, 8.0), (8.0, 16.0), (32.0, 16.0), (20.0, 24.0), (8.0, 32.0), (32.0, 32.0)])
OBSTACLE_RADIUS = 2.5
CLEARANCE = RADIUS + OBSTACLE_RADIUS
"""Between centres, in contact."""

REACHED = 2.0
"""An episode succeeds if the point ends within this distance of the goal, pixels: one step."""

ALREADY_THERE = 10.0
"""Goals are at least this far from the start, pixels."""


class PlanarImage(GoalImageTask):
    """Bring a point past six obstacles to where a 40×40 picture shows it, by iLQR in E2C's latent (within 2 pixels)."""

    models: ClassVar[tuple[str, ...]] = ("e2c", "joint-embedding", "latent-state-space")
    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 403,
        "model": {"latent_size": 2, "stack": 1, "widths": [], "learning_rate": 2e-3, "first_steps": 1500},
        "planner": {"name": "ilqr", "horizon": 20, "iterations": 20},
        "learning": {"version": 0.5, "base_policy": "coloured", "base_policy_colour": 1.0}
        | {"random_episodes": 400, "show_episodes": 4},
    }

    def __init__(self, *, episode_steps: int = 40) -> None:
        """Make the world.

        Args:
            episode_steps: control periods in an episode.
        """
        self.robot = self._world = PlanarWorld()
        self.episode_steps = episode_steps
        self.action_scale = ActionScale.absolute(self.robot.spec)
        camera = self.robot.spec.cameras[0]
        self.state_spec = StateSpec((), action_size=2)
        self.image_spec = ImageSpec(camera.name, camera.height, camera.width, action_size=2)

    def goal_picture(self, observation: Observation) -> Picture:
        """The picture of the place that was drawn at the reset."""
        return self.picture_of(observation.values["goal"])

    def picture_of(self, joints: Array) -> Picture:
        """The picture of the point at a place (2,), pixels.

        Raises:
            ValueError: if the place is in an obstacle or outside the walls.
        """
        place = np.asarray(joints, dtype=np.float64)
        if place.shape != (2,) or not is_free(place):
            raise ValueError(
                f"{joints} is no place for the point: give two numbers within [{RADIUS}, {SIDE - RADIUS}], at least "
                f"{CLEARANCE} from the obstacles at {OBSTACLES.tolist()}."
            )
        return self._world.draw(place, self.image_spec.width, self.image_spec.height)

    def distance_to(self, observation: Observation, joints: Array) -> float:
        """The distance to a place, pixels."""
        return float(np.linalg.norm(observation.values["state"] - joints))

    def reward(self, observation: Observation) -> float:
        """The negative distance to the goal, pixels."""
        return -self.distance_to(observation, observation.values["goal"])

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the point ended within 2 pixels of the goal."""
        return -self.reward(observations[-1]) < REACHED

    def measures(self, observations: Sequence[Observation]) -> dict[str, float]:
        """Distances to the goal at the start and the end and the nearest, pixels."""
        distances = [-self.reward(observation) for observation in observations]
        return {
            "start_distance": distances[0],
            "final_distance": distances[-1],
            "nearest_distance": min(distances),
        }


class PlanarWorld(DrawnRobot):
    """A point that every command moves by up to 2 pixels along each axis; it slides along what it touches.

    Its state is its place (2,).
    """

    def __init__(self) -> None:
        super().__init__("planar", ("x", "y"), 10.0, CameraSpec("above", int(SIDE), int(SIDE)))

    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Two free places, apart."""
        while True:
            start, goal = rng.uniform(RADIUS, SIDE - RADIUS, (2, 2))
            if is_free(start) and is_free(goal) and np.linalg.norm(goal - start) >= ALREADY_THERE:
                return start, goal

    def step(self, state: Array, command: Array) -> Array:
        """Moved, then pushed out of what it ran into."""
        return np.clip(pushed_out(state + LONGEST_STEP * command), RADIUS, SIDE - RADIUS)

    def draw(self, state: Array, width: int, height: int) -> Picture:
        """Grey obstacles, and the point in white."""
        canvas = Canvas(width, height, SIDE)
        for centre in OBSTACLES:
            canvas.capsule(centre, centre, OBSTACLE_RADIUS, 0.5)
        canvas.capsule(state, state, RADIUS, 1.0)
        return canvas.picture()


def is_free(place: Array) -> bool:
    """Whether the point can be at a place (2,)."""
    inside = ((place >= RADIUS) & (place <= SIDE - RADIUS)).all()
    return bool(inside and (np.linalg.norm(OBSTACLES - place, axis=1) >= CLEARANCE).all())


def pushed_out(place: Array) -> Array:
    """The nearest place (2,) outside the obstacles, which are too far apart for two to be touched at once."""
    apart = place - OBSTACLES
    distances = np.linalg.norm(apart, axis=1)
    nearest = int(distances.argmin())
    if distances[nearest] >= CLEARANCE:
        return place
    outside: Array = OBSTACLES[nearest] + (CLEARANCE + 1e-9) * apart[nearest] / max(distances[nearest], 1e-9)
    return outside
