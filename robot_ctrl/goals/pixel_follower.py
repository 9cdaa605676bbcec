"""A robot that follows a designated pixel with its own camera, and stops when it is lost.

Runs in the control process, without torch. Where the pixel is on the table is told as the pixel in which the simulated
camera would have seen it: what was learned in simulation then needs to know nothing of the real camera.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardware.errors import PixelLostError
from hardware.pixel_tracking import PixelTracker
from hardware.robot import Array, Observation, Robot, RobotSpec, SentAction
from robot_ctrl.goals.pixel_camera import PixelCamera
from robot_ctrl.goals.table_view import TableView


@dataclass(frozen=True)
class FollowPixel:
    """Makes a robot with one camera follow a pixel.

    Attributes:
        camera: the camera's name in observations.
        view: maps its pixels to the table.
        simulated: the camera that the task was learned with.
        picture: (h, w, 3) in which the pixel was designated.
        pixel: (2,) the designated pixel in it.
        goal: (2,) the pixel where it should go.
        period: over which its rate is measured, s.
    """

    camera: str
    view: TableView
    simulated: PixelCamera
    picture: NDArray[np.uint8]
    pixel: Array
    goal: Array
    period: float

    def __call__(self, robot: Robot) -> "FollowingRobot":
        """The robot, following."""
        return FollowingRobot(robot, self)

    def as_simulated(self, pixel: Array) -> Array:
        """The pixel (2,) in which the simulated camera would see what the robot's sees at a pixel (2,)."""
        place = self.view.places(pixel[None])[0]
        return self.simulated.project(np.append(place, self.view.height))


class FollowingRobot:
    """A robot that says where a designated pixel is.

    Observations add ``pixel``, ``pixel_rate``, ``pixel_confidence`` and ``goal_pixel``, as PixelPushingArm's do, and
    ``seen_pixel`` (2,), where the robot's own camera sees the tracked pixel.

    Args:
        robot: with the camera.
        follow: what to follow.
    """

    def __init__(self, robot: Robot, follow: FollowPixel) -> None:
        self._robot, self._follow = robot, follow
        self._tracker = PixelTracker(follow.picture, follow.pixel)
        self._goal = follow.as_simulated(follow.goal)
        self._track: deque[tuple[float, Array]] = deque()
        self._rate = np.zeros(2)

    @property
    def spec(self) -> RobotSpec:
        """The robot's description."""
        return self._robot.spec

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        return self._robot.is_connected

    def connect(self) -> None:
        """Make the robot ready."""
        self._robot.connect()

    def disconnect(self) -> None:
        """Leave the robot safe and release it."""
        self._robot.disconnect()

    def get_observation(self) -> Observation:
        """Read the robot, and follow the pixel into every new picture.

        Raises:
            PixelLostError: once it is lost; the robot is stopped first.
        """
        observation = self._robot.get_observation()
        name = self._follow.camera
        grabbed = observation.read_end[name]
        if not self._track or grabbed > self._track[-1][0]:
            try:
                tracked = self._tracker.track(np.asarray(observation.images[name]))
            except PixelLostError as error:
                self._robot.stop(str(error))
                raise
            self._add(grabbed, self._follow.as_simulated(tracked.position))
        tracked = self._tracker.tracked
        seen = {
            "pixel": self._track[-1][1].copy(),
            "pixel_rate": self._rate.copy(),
            "pixel_confidence": np.array(tracked.confidence),
            "goal_pixel": self._goal.copy(),
            "seen_pixel": tracked.position.copy(),
            "terminated": np.array(0.0),
        }
        return replace(observation, values={**observation.values, **seen})

    def send_action(self, action: Array) -> SentAction:
        """Send one command, (nu,) in command units."""
        return self._robot.send_action(action)

    def stop(self, reason: str) -> None:
        """A software stop of the robot."""
        self._robot.stop(reason)

    def clear_fault(self) -> None:
        """Allow motion again; a pixel that is lost stays so."""
        self._robot.clear_fault()

    def _add(self, time: float, pixel: Array) -> None:
        """Put a pixel into the track, and take its rate over about a period."""
        self._track.append((time, pixel))
        while len(self._track) > 2 and time - self._track[1][0] >= 0.9 * self._follow.period:
            self._track.popleft()
        elapsed = time - self._track[0][0]
        self._rate = (pixel - self._track[0][1]) / elapsed if elapsed > 0 else np.zeros(2)
