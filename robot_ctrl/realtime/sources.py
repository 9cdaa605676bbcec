"""Where control and supervisor get their robot from; free of torch, and picklable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from hardware.clock import Clock
from hardware.errors import RobotFileError
from hardware.exploration import Exploration
from hardware.monitor import Monitor
from hardware.robot import Array, CameraSpec, Robot, RobotSpec
from hardware.robot_file import CameraDescription, RobotDescription, load_description, make_robot, make_twin
from hardware.safety import SafetyFilter
from hardware.servo_readings import full_effort

if TYPE_CHECKING:
    from hardware.camera import Camera

SafePolicy = Literal["hold", "park", "torque_off"]


TRACKING_ERROR, TRACKING_TIME = 0.25, 0.4
"""rad that a joint may be from its command, and s for which it may: a joint that is stuck or blocked is neither."""

STRAINED, STRAINED_TIME = 0.95, 0.7
"""Share of a servo's full effort, and s for which it may give more: a joint that presses against something."""

HOTTEST = 65.0
"""°C; bus servos give up at 70 °C."""

OLDEST = 0.25
"""s that what is acted on may be old."""

WIDEST = 320
"""Pixels of the pictures that are recorded while a person drives: larger ones cannot be compressed as they come."""

LARGEST_JUMP = 0.5
"""rad that a request may be from the command before it."""


@dataclass(frozen=True)
class Bounds:
    """Where and how fast an arm moves while its model is unsure.

    Attributes:
        low: (nu,) smallest joint positions, rad.
        high: (nu,) largest joint positions, rad.
        speed: rad/s.
    """

    low: Array
    high: Array
    speed: float


@dataclass(frozen=True)
class CameraSource:
    """Knows how to open one camera of a robot's file, in whichever process needs it.

    Attributes:
        description: the camera.
        spec: under which name and in which size its pictures are wanted.
    """

    description: CameraDescription
    spec: CameraSpec

    def open(self, clock: Clock) -> "Camera":
        """The camera, not connected; its pictures are cut to the wanted proportions and scaled."""
        from hardware.camera import VideoCamera
        from hardware.camera_fit import FittedCamera

        known = self.description
        return FittedCamera(VideoCamera(known.spec, known.source, max_age=known.max_age, clock=clock), self.spec)


def seeing(robot: Robot, cameras: Sequence[CameraSource], clock: Clock) -> Robot:
    """A robot whose observations hold pictures, and that stops when a camera fails; itself without cameras."""
    if not cameras:
        return robot
    from hardware.camera_robot import CameraRobot

    return CameraRobot(robot, [camera.open(clock) for camera in cameras])


class RobotSource(Protocol):
    """Knows how to make one robot, in whichever process needs it."""

    @property
    def name(self) -> str:
        """The robot's name, under which faults are latched."""
        ...

    @property
    def spec(self) -> RobotSpec:
        """What can be known about the robot while it is disconnected."""
        ...

    @property
    def safe_policy(self) -> SafePolicy:
        """What is done with the robot after a fault."""
        ...

    @property
    def measures(self) -> tuple[str, ...]:
        """Values that its observations hold beside joints and command."""
        ...

    def open(self, clock: Clock) -> Robot:
        """The robot, not connected, without its cameras: it must be stopped even when they fail."""
        ...

    def filter(
        self, robot: Robot, clock: Clock, bounds: Bounds | None = None, trust: Callable[[], float] = lambda: 1.0
    ) -> SafetyFilter:
        """The filter that every command goes through.

        Args:
            robot: what it sends to.
            clock: what ages are measured on.
            bounds: where and how fast the robot moves while its model is unsure.
            trust: how far the model is trusted now, in [0, 1].
        """
        ...


@dataclass(frozen=True)
class DescribedArm:
    """An arm that a YAML file describes.

    Attributes:
        description: the arm.
        port: where it is, instead of what the description says.
    """

    description: RobotDescription
    port: str | None = None

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.description.name

    @property
    def spec(self) -> RobotSpec:
        """The arm's limits."""
        return self.description.spec

    @property
    def safe_policy(self) -> SafePolicy:
        """What its file says."""
        return self.description.safe_policy

    @property
    def measures(self) -> tuple[str, ...]:
        """The points of its twin."""
        return self.description.points

    def open(self, clock: Clock) -> Robot:
        """The arm, not connected, without its cameras."""
        return make_robot(self.description.model_copy(update={"cameras": ()}), self.port, clock)

    def filter(
        self, robot: Robot, clock: Clock, bounds: Bounds | None = None, trust: Callable[[], float] = lambda: 1.0
    ) -> SafetyFilter:
        """The filter with the limits of its file, the collision checks of its twin, and a monitor."""
        spec, joints = robot.spec, self.description.joints
        on_a_bus = self.description.driver != "franka"
        monitor = Monitor(
            spec,
            tracking_error=TRACKING_ERROR,
            tracking_time=TRACKING_TIME,
            effort=[STRAINED * full_effort(joint) for joint in joints] if on_a_bus else None,
            effort_time=STRAINED_TIME,
            temperature=HOTTEST,
        )
        return SafetyFilter(
            spec,
            twin=make_twin(self.description),
            monitor=monitor,
            exploration=None if bounds is None else Exploration(bounds.low, bounds.high, bounds.speed, trust),
            max_age=OLDEST,
            largest_jump=LARGEST_JUMP,
            clock=clock,
        )


def all_cameras(source: RobotSource) -> tuple[CameraSource, ...]:
    """Every camera of a robot's file, its pictures at most ``WIDEST`` pixels wide: what people's driving records."""
    if not isinstance(source, DescribedArm):
        return ()
    return tuple(CameraSource(camera, _narrowed(camera.spec)) for camera in source.description.cameras)


def _narrowed(spec: CameraSpec) -> CameraSpec:
    scale = min(1.0, WIDEST / spec.width)
    return CameraSpec(spec.name, round(spec.width * scale), round(spec.height * scale))


@dataclass(frozen=True)
class SimulatedArm:
    """The simulated SO-101 in real time: no wire, no servos, but the same loop.

    Attributes:
        control_rate: Hz.
        name: under which faults are latched.
        safe_policy: what is done after a fault.
        measures: values that its observations hold beside joints and command.
    """

    control_rate: float = 100.0
    name: str = "simulated-so101"
    safe_policy: SafePolicy = "hold"
    measures: tuple[str, ...] = field(default=("gripper_tip",))

    @property
    def spec(self) -> RobotSpec:
        """The simulated arm's limits."""
        from hardware.arms.reaching import reaching_arm

        return reaching_arm("so101", control_rate=self.control_rate).spec

    def open(self, clock: Clock) -> Robot:
        """The robot, not connected."""
        from hardware.arms.reaching import reaching_arm

        return reaching_arm("so101", control_rate=self.control_rate, clock=_Unwaiting(clock))

    def filter(
        self, robot: Robot, clock: Clock, bounds: Bounds | None = None, trust: Callable[[], float] = lambda: 1.0
    ) -> SafetyFilter:
        """The filter with the robot's own limits."""
        return SafetyFilter(robot.spec)


@dataclass(frozen=True)
class _Unwaiting:
    """A clock that nobody waits on: the control loop paces the simulation, not the other way round."""

    clock: Clock

    def now(self) -> float:
        return self.clock.now()

    def sleep_until(self, deadline: float) -> None:
        pass


def described(robot: str, port: str | None = None, model_rate: float | None = None) -> DescribedArm:
    """The arm of that name or file.

    Args:
        robot: a packaged robot's name, or its YAML file.
        port: where it is, instead of what its file says.
        model_rate: actions per second of the model that will drive it, Hz: the arm then ticks at the largest multiple
            of it that its file allows.

    Raises:
        RobotFileError: if there is no such robot, its file says something impossible, or it is slower than the model.
    """
    description = load_description(robot)
    if model_rate is not None:
        ticks = int(description.control_rate / model_rate + 1e-6)
        if ticks < 1:
            raise RobotFileError(
                f"{description.name}: control_rate is {description.control_rate:g} Hz; the run's model was trained at "
                f"{model_rate:g} Hz, and the robot must be at least as fast. Raise control_rate in its file, or train "
                f"with a lower task.control_rate"
            )
        rate = ticks * model_rate
        if rate != description.control_rate:
            description = description.model_copy(update={"control_rate": rate})
    return DescribedArm(description, port)
