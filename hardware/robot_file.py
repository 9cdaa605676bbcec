"""A robot in a file, packaged or a user's own: its servos, what its joints may do, and how it is made safe."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardware.clock import Clock
from hardware.errors import RobotFileError
from hardware.names import unknown
from hardware.robot import Array, CameraSpec, JointSpec, Robot, RobotSpec
from hardware.wire.dynamixel import MAX_ID
from hardware.wire.registers import ControlTable
from hardware.wire.tables import MODELS, control_table

if TYPE_CHECKING:
    from hardware.twin import KinematicTwin

Points = Callable[[Array], Mapping[str, Array]]
"""From joint positions (nu,) in rad to named points in the world, (3,) in m."""

_PACKAGED = Path(__file__).parent / "robots"
_Positive = Annotated[float, Field(gt=0)]
_Pair = Annotated[tuple[float, float], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class JointLimits(_Section):
    """What one joint may do.

    Attributes:
        position: (low, high), rad.
        velocity: largest speed, rad/s.
        acceleration: rad/s².
        jerk: rad/s³; None where it is not limited.
        effort: largest torque, N·m; None where it is not known.
    """

    position: _Pair
    velocity: _Positive
    acceleration: _Positive
    jerk: _Positive | None = None
    effort: _Positive | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.position
        if low >= high:
            raise ValueError(f"position is [{low:g}, {high:g}]; the first must be below the second")
        return self


class JointDescription(_Section):
    """One joint and the servos that move it.

    Attributes:
        name: the joint's name.
        limits: what it may do.
        id: its servo's address on the bus; None for a robot without a servo bus.
        model: its servo's model; None for a robot without a servo bus.
        sign: 1 if the servo's angle grows with the joint's, -1 otherwise.
        gear_ratio: turns of the servo per turn of the joint.
        reverse: whether the servo's own drive mode turns its direction round (Dynamixel).
        shadow_ids: further servos of the same model on the joint, mounted mirrored: their drive mode is the
            opposite, and they obey the joint's servo (Dynamixel).
        torque_limit: largest share of the servo's torque, above 0 and at most 1.
    """

    name: str = Field(min_length=1)
    limits: JointLimits
    id: int | None = Field(None, ge=0, le=MAX_ID)
    model: Literal[MODELS] | None = None  # type: ignore[valid-type]
    sign: Literal[1, -1] = 1
    gear_ratio: _Positive = 1.0
    reverse: bool = False
    shadow_ids: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ID)], ...], Field(strict=False)] = ()
    torque_limit: Annotated[float, Field(gt=0, le=1)] = 1.0

    @property
    def servo_ids(self) -> tuple[int, ...]:
        """The joint's own servo and its shadows."""
        return () if self.id is None else (self.id, *self.shadow_ids)

    @property
    def table(self) -> ControlTable:
        """The control table of its servos.

        Raises:
            RobotFileError: if it has none.
        """
        if self.model is None:
            raise RobotFileError(f"joint {self.name!r} has no servo: its robot is not on a servo bus")
        return control_table(self.model)

    def servo_angle(self, position: float) -> float:
        """The servo's angle at a position of the joint, rad."""
        return self.sign * self.gear_ratio * position

    def joint_position(self, angle: float) -> float:
        """The joint's position at an angle of the servo, rad; also for velocities."""
        return self.sign * angle / self.gear_ratio


class CameraDescription(_Section):
    """A camera of a robot.

    Attributes:
        name: the camera's name.
        source: what OpenCV opens: a number, a device path, a file's name or a URL.
        width: of its pictures, pixels.
        height: of its pictures, pixels.
        max_age: how old a picture may be, s.
        calibration: the file of its intrinsics and its pose.
    """

    name: str = Field(min_length=1)
    source: int | str
    width: int = Field(640, ge=16)
    height: int = Field(480, ge=16)
    max_age: _Positive = 0.2
    calibration: str | None = None

    @property
    def spec(self) -> CameraSpec:
        """The camera as robots describe it."""
        return CameraSpec(self.name, self.width, self.height)


_Point = Annotated[tuple[float, float, float], Field(strict=False)]


class KeepOut(_Section):
    """A ball that no part of the arm may enter: what to call it, its centre in the world, m, and its radius, m."""

    name: str = Field(min_length=1)
    centre: _Point
    radius: _Positive


class WorkspaceBox(_Section):
    """A box that sites of the twin must not leave, by its corners, m; all sites where none is named."""

    low: _Point
    high: _Point
    sites: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Profile(_Section):
    """The servos' own speed profile, a second limit below the safety filter; None for none.

    Attributes:
        velocity: rad/s of the servo.
        acceleration: rad/s² of the servo.
    """

    velocity: _Positive | None = None
    acceleration: _Positive | None = None


class RobotDescription(_Section):
    """A robot, as its file says.

    Attributes:
        name: the robot's name.
        driver: who talks to it.
        port: a serial port, best by its name under /dev/serial/by-id, or "auto" for the only one there is; the
            address on the network of a Franka.
        baudrate: bits per second on the servo bus.
        patience: seconds that host and serial adapter may add to every exchange on the servo bus before a servo counts
            as silent; more on a busy host.
        control_rate: commands per second, Hz.
        joints: the joints, in the order of actions.
        command_mode: what an action means; servos take positions.
        park_pose: (nu,) where the arm rests when its torque is cut, rad.
        safe_policy: what makes the arm safe when the loop cannot go on.
        torque_at_disconnect: "hold" leaves the servos on, "release" switches them off, and
            "release_when_parked" switches them off only in the park pose.
        bus_watchdog: seconds without a packet after which the servos stop by themselves (Dynamixel); None for never.
        profile: the servos' own speed profile.
        twin: the MJCF model for forward kinematics and collision checks: a packaged one's name, or a file beside the
            robot's; None for none.
        points: sites of the twin whose positions join the observations.
        keep_out: balls that no part of the arm may enter; they need a twin.
        workspace: the box that the arm must not leave; it needs a twin.
        cameras: the cameras.
        calibration: the calibration file, beside the robot's; None takes the servos' own zero for the joints'.
        realtime: whether a Franka may be driven from a kernel that is not real-time: "ignore" is for simulators.
    """

    name: str = Field(min_length=1)
    driver: Literal["dynamixel", "feetech", "franka"]
    port: str = "auto"
    baudrate: int = Field(1_000_000, gt=0)
    patience: Annotated[float, Field(gt=0, le=1)] = 0.005
    control_rate: _Positive = 50.0
    joints: Annotated[tuple[JointDescription, ...], Field(strict=False, min_length=1)]
    command_mode: Literal["position", "velocity"] = "position"
    park_pose: Annotated[tuple[float, ...] | None, Field(strict=False)] = None
    safe_policy: Literal["hold", "park", "torque_off"] = "hold"
    torque_at_disconnect: Literal["hold", "release", "release_when_parked"] = "hold"
    bus_watchdog: Annotated[float, Field(ge=0.02, le=2.54)] | None = None
    profile: Profile = Profile()
    twin: str | None = None
    points: Annotated[tuple[str, ...], Field(strict=False)] = ()
    keep_out: Annotated[tuple[KeepOut, ...], Field(strict=False)] = ()
    workspace: WorkspaceBox | None = None
    cameras: Annotated[tuple[CameraDescription, ...], Field(strict=False)] = ()
    calibration: str | None = None
    realtime: Literal["enforce", "ignore"] = "enforce"

    @property
    def spec(self) -> RobotSpec:
        """What can be known about the robot while it is disconnected."""
        joints = tuple(
            JointSpec(
                joint.name,
                joint.limits.position,
                joint.limits.velocity,
                joint.limits.acceleration,
                joint.limits.effort,
                jerk=joint.limits.jerk,
            )
            for joint in self.joints
        )
        cameras = tuple(camera.spec for camera in self.cameras)
        return RobotSpec(self.name, joints, self.command_mode, self.control_rate, cameras, self.park_pose)

    @property
    def calibration_path(self) -> Path | None:
        """The calibration file."""
        return None if self.calibration is None else Path(self.calibration)

    @property
    def servo_names(self) -> dict[int, str]:
        """What people call the servos, by identifier."""
        return {
            servo: joint.name if servo == joint.id else f"{joint.name}'s shadow"
            for joint in self.joints
            for servo in joint.servo_ids
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        names = [joint.name for joint in self.joints]
        yield from (f"two joints are called {name!r}" for name in names if names.count(name) > 1)
        if self.park_pose is not None:
            yield from self._pose_problems(self.park_pose)
        if self.safe_policy == "park" and self.park_pose is None:
            yield "safe_policy is park; that needs a park_pose"
        if self.torque_at_disconnect == "release_when_parked" and self.park_pose is None:
            yield "torque_at_disconnect is release_when_parked; that needs a park_pose"
        if self.twin is None and (self.keep_out or self.workspace is not None):
            yield "keep_out and workspace need a twin: name the arm's MJCF model under it"
        if self.driver != "dynamixel" and self.bus_watchdog is not None:
            yield f"bus_watchdog is {self.bus_watchdog:g}; only Dynamixel servos have one: remove it"
        if self.driver == "franka":
            yield from (
                f"joint {joint.name!r} has an id; a Franka has no servos" for joint in self.joints if joint.servo_ids
            )
        else:
            yield from self._servo_problems()

    def _pose_problems(self, pose: tuple[float, ...]) -> Iterator[str]:
        if len(pose) != len(self.joints):
            yield f"park_pose has {len(pose)} numbers for {len(self.joints)} joints"
            return
        for joint, position in zip(self.joints, pose, strict=True):
            low, high = joint.limits.position
            if not low <= position <= high:
                yield f"park_pose has {position:g} for {joint.name}; its limits are [{low:g}, {high:g}]"

    def _servo_problems(self) -> Iterator[str]:
        if self.command_mode != "position":
            yield f"command_mode is {self.command_mode}; servos take position"
        ids = [servo for joint in self.joints for servo in joint.servo_ids]
        yield from (f"two servos have the id {servo}" for servo in ids if ids.count(servo) > 1)
        for joint in self.joints:
            if joint.id is None or joint.model is None:
                yield f"joint {joint.name!r} needs the id and the model of its servo"
                return
            if joint.table.protocol != self.driver:
                yield f"joint {joint.name!r}: a {joint.model} does not speak the protocol of driver {self.driver}"
            if self.baudrate not in joint.table.baud_rates.values():
                rates = ", ".join(map(str, joint.table.baud_rates.values()))
                yield f"baudrate is {self.baudrate}; a {joint.model} takes {rates}"
            if self.driver == "feetech" and (joint.shadow_ids or joint.reverse):
                yield f"joint {joint.name!r}: shadow_ids and reverse are for Dynamixel servos"
            reach = math.pi / joint.gear_ratio
            if not -reach <= joint.limits.position[0] < joint.limits.position[1] <= reach:
                yield (
                    f"joint {joint.name!r}: position is {list(joint.limits.position)}; its servo reaches "
                    f"[{-reach:.4g}, {reach:.4g}]"
                )


def robots() -> list[str]:
    """The names of the packaged robots."""
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def load_description(name_or_path: str | Path) -> RobotDescription:
    """A robot by its packaged name, or from a YAML file.

    Raises:
        RobotFileError: if there is no such robot, or its file says something impossible, with file, key and what
            would be right.
    """
    path = Path(name_or_path).expanduser()
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        path = _PACKAGED / f"{name_or_path}.yaml"
        if not path.exists():
            raise RobotFileError(f"{unknown('robot', str(name_or_path), robots())}; or give a YAML file")
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise RobotFileError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobotFileError(f"{path} is not a YAML file: {error}") from None
    if not isinstance(tree, dict):
        raise RobotFileError(f"{path} must hold keys and values, like 'name: my_arm'")
    try:
        description = RobotDescription.model_validate(tree)
    except ValidationError as error:
        raise RobotFileError(_explain(error, path)) from None
    return description.model_copy(update=_beside(description, path.resolve().parent))


def make_robot(
    description: RobotDescription,
    port: str | None = None,
    clock: Clock | None = None,
    points: Points | None = None,
) -> Robot:
    """The robot that a description describes, with its cameras, not connected yet.

    Args:
        description: the robot.
        port: where it is, instead of what the description says.
        clock: stamps what happens; real time if None.
        points: gives named points from joint positions; None takes the description's from its twin.

    Raises:
        MissingPackageError: if its driver's package is not installed.
    """
    robot = _without_cameras(description, port, clock, points or _points_of_the_twin(description))
    if not description.cameras:
        return robot
    from hardware.camera import VideoCamera
    from hardware.camera_robot import CameraRobot

    return CameraRobot(
        robot,
        [
            VideoCamera(camera.spec, camera.source, max_age=camera.max_age, clock=clock)
            for camera in description.cameras
        ],
    )


def _without_cameras(
    description: RobotDescription, port: str | None, clock: Clock | None, points: Points | None
) -> Robot:
    if description.driver == "franka":
        from hardware.franka_robot import FrankaRobot

        host = port or description.port
        return FrankaRobot(host, description.spec, realtime=description.realtime, clock=clock, points=points)
    from hardware.servo_arm import ServoArm

    return ServoArm(description, port, clock, points=points)


def make_twin(description: RobotDescription) -> "KinematicTwin | None":
    """The arm's geometry, with what it must keep clear of; None where its description names no twin.

    Raises:
        ValueError: if the model lacks a joint or a site, or a keep-out ball or the workspace makes no sense.
    """
    if description.twin is None:
        return None
    from hardware.twin import KinematicTwin, Workspace
    from hardware.twin_model import Sphere

    box = description.workspace
    return KinematicTwin(
        description.twin,
        [joint.name for joint in description.joints],
        rest=[] if description.park_pose is None else [description.park_pose],
        keep_out=[Sphere(ball.name, ball.centre, ball.radius) for ball in description.keep_out],
        workspace=None if box is None else Workspace(box.low, box.high, box.sites),
    )


def _points_of_the_twin(description: RobotDescription) -> Points | None:
    twin = make_twin(description) if description.points else None
    if twin is None:
        return None

    def points(position: Array) -> dict[str, Array]:
        sites = twin.site_positions(position)
        return {name: sites[name] for name in description.points}

    return points


def _beside(description: RobotDescription, folder: Path) -> dict[str, Any]:
    """The names of files that are relative to the folder of the robot's file, made absolute."""
    twin = description.twin if description.twin is not None and description.twin.endswith(".xml") else None
    named = {"twin": twin, "calibration": description.calibration}
    found: dict[str, Any] = {key: _in(folder, name) for key, name in named.items() if name is not None}
    cameras = [
        camera.model_copy(update={"calibration": camera.calibration and _in(folder, camera.calibration)})
        for camera in description.cameras
    ]
    return found | {"cameras": tuple(cameras)}


def _in(folder: Path, name: str) -> str:
    return str(folder / Path(name).expanduser())


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    problems = error.errors()
    for problem in problems:
        depth = len(problem["loc"])
        if problem["type"] == "too_short" and any(
            len(other["loc"]) > depth and other["loc"][:depth] == problem["loc"] for other in problems
        ):
            continue
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        lines.append(f"{path}: {key}: {_what_would_be_right(problem)}")
    return "\n".join(lines)


def _what_would_be_right(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such key; check its spelling"
    if problem["type"] == "missing":
        return "this key is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    given = problem["input"]
    return message if isinstance(given, dict) else f"is {given!r}; {message[0].lower()}{message[1:]}"
