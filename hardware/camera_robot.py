"""Cameras on a robot: their pictures join its observations, and a camera that fails stops it."""

from collections.abc import Sequence
from dataclasses import replace

from hardware.camera import Camera, FreezeDetector
from hardware.errors import CameraError
from hardware.robot import Array, Observation, Robot, RobotSpec, SentAction


class CameraRobot:
    """A robot with cameras.

    Args:
        robot: the robot; its observations must hold ``joint_position``.
        cameras: whose newest pictures join its observations, in place of the robot's own of the same names.

    Raises:
        ValueError: if two cameras share a name.
    """

    def __init__(self, robot: Robot, cameras: Sequence[Camera]) -> None:
        self._robot, self._cameras = robot, tuple(cameras)
        names = [camera.spec.name for camera in cameras]
        if len(set(names)) < len(names):
            raise ValueError(f"{robot.spec.name}: two cameras share a name among {', '.join(names)}; rename one")
        others = (spec for spec in robot.spec.cameras if spec.name not in names)
        specs = (*others, *(camera.spec for camera in cameras))
        self._spec = replace(robot.spec, cameras=specs)
        self._frozen: list[FreezeDetector] = []

    @property
    def spec(self) -> RobotSpec:
        """The robot's description with the cameras added."""
        return self._spec

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        return self._robot.is_connected

    def connect(self) -> None:
        """Open the cameras, then the robot, so that it never moves unseen.

        Raises:
            CameraError: if a camera cannot be opened; the robot is left alone.
        """
        try:
            for camera in self._cameras:
                camera.connect()
            self._frozen = [FreezeDetector(camera.spec.name) for camera in self._cameras]
            self._robot.connect()
        except BaseException:
            for camera in self._cameras:
                camera.disconnect()
            raise

    def disconnect(self) -> None:
        """Leave the robot safe, then release the cameras."""
        try:
            self._robot.disconnect()
        finally:
            for camera in self._cameras:
                camera.disconnect()

    def get_observation(self) -> Observation:
        """Read the robot and the newest pictures.

        Raises:
            CameraError: if a picture is stale, frozen or missing; the robot is stopped first.
        """
        observation = self._robot.get_observation()
        images, starts, ends = dict(observation.images), dict(observation.read_start), dict(observation.read_end)
        for camera, frozen in zip(self._cameras, self._frozen, strict=True):
            name = camera.spec.name
            try:
                frame = camera.read()
                frozen.check(frame, observation.values["joint_position"])
            except CameraError as error:
                self._robot.stop(str(error))
                raise
            images[name] = frame.image
            starts[name] = ends[name] = frame.grabbed_at
        return replace(observation, images=images, read_start=starts, read_end=ends)

    def send_action(self, action: Array) -> SentAction:
        """Send one command, (nu,) in command units."""
        return self._robot.send_action(action)

    def stop(self, reason: str) -> None:
        """A software stop of the robot."""
        self._robot.stop(reason)

    def clear_fault(self) -> None:
        """Allow motion again; refuses while a camera gives no picture that can be trusted.

        Raises:
            CameraError: if a camera still fails.
        """
        for camera in self._cameras:
            camera.read()
        self._frozen = [FreezeDetector(camera.spec.name) for camera in self._cameras]
        self._robot.clear_fault()
