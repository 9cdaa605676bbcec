"""The seam that every robot implements, simulated or physical. Names follow LeRobot's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock

Array = NDArray[np.float64]
CommandMode = Literal["position", "velocity", "effort", "normalized"]


@dataclass(frozen=True)
class JointSpec:
    """One commanded joint. A limit that does not apply is None.

    Attributes:
        name: the joint's name.
        position: (low, high) of the joint and of position commands, rad or m.
        velocity: largest speed, rad/s or m/s.
        acceleration: largest acceleration, rad/s² or m/s².
        effort: largest torque or force, N·m or N.
        command: (low, high) of the command where it is not a position: effort, velocity or a normalised
            signal; None where the effort or velocity limit says it already.
        jerk: largest jerk, rad/s³ or m/s³.
    """

    name: str
    position: tuple[float, float] | None = None
    velocity: float | None = None
    acceleration: float | None = None
    effort: float | None = None
    command: tuple[float, float] | None = None
    jerk: float | None = None


@dataclass(frozen=True)
class CameraSpec:
    """A camera.

    Attributes:
        name: its name.
        width: of its pictures, pixels.
        height: of its pictures, pixels.
        supersampling: how many times as large simulated pictures are drawn before they are averaged, both ways. A
            lens and a sensor average too; without it edges jump by whole pixels.
    """

    name: str
    width: int
    height: int
    supersampling: int = 1


@dataclass(frozen=True)
class RobotSpec:
    """What can be known about a robot while it is disconnected.

    Attributes:
        name: the robot's name.
        joints: the commanded joints, in the order of actions.
        command_mode: what an action means.
        control_rate: commands per second, Hz.
        cameras: the cameras.
        park_pose: (nu,) where the robot is left, in command units; None where it does not matter.
    """

    name: str
    joints: tuple[JointSpec, ...]
    command_mode: CommandMode
    control_rate: float
    cameras: tuple[CameraSpec, ...] = ()
    park_pose: tuple[float, ...] | None = None

    @property
    def action_size(self) -> int:
        """The number of commanded joints, nu."""
        return len(self.joints)

    @property
    def command_limits(self) -> tuple[Array, Array]:
        """(nu,) lower and (nu,) upper command limits; infinite where none applies."""
        ranges = [_command_range(joint, self.command_mode) for joint in self.joints]
        return np.array([low for low, _ in ranges]), np.array([high for _, high in ranges])


def _command_range(joint: JointSpec, mode: CommandMode) -> tuple[float, float]:
    if mode == "position":
        return joint.position or (-np.inf, np.inf)
    if joint.command is not None:
        return joint.command
    largest = {"velocity": joint.velocity, "effort": joint.effort}.get(mode)
    return (-np.inf, np.inf) if largest is None else (-largest, largest)


@dataclass(frozen=True)
class Observation:
    """What was read from a robot at one instant.

    Attributes:
        sequence: counts observations since connect.
        values: named arrays, SI units; environments that define them add ``reward`` and ``terminated``.
        images: (h, w, 3) uint8 RGB pictures by camera name.
        read_start: when reading of each source began, seconds on the clock.
        read_end: when reading of each source ended.
    """

    sequence: int
    values: Mapping[str, Array]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    read_start: Mapping[str, float] = field(default_factory=dict)
    read_end: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SentAction:
    """What was asked of a robot, what was sent to it, and why they differ.

    Attributes:
        requested: (nu,) the command that was asked for.
        sent: (nu,) the command that went out.
        reasons: (limit, joint, by how much) for every change, in command units.
        time: when it was sent, seconds on the clock.
    """

    requested: Array
    sent: Array
    reasons: tuple[tuple[str, str, float], ...]
    time: float


class Robot(Protocol):
    """A robot that is driven one command at a time."""

    @property
    def spec(self) -> RobotSpec:
        """The robot's description; readable while disconnected."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        ...

    def connect(self) -> None:
        """Make the robot ready to be read and commanded."""
        ...

    def disconnect(self) -> None:
        """Leave the robot safe and release it; harmless when disconnected."""
        ...

    def get_observation(self) -> Observation:
        """Read the robot."""
        ...

    def send_action(self, action: Array) -> SentAction:
        """Send one command, (nu,) in command units; simulated robots advance by one control period."""
        ...

    def stop(self, reason: str) -> None:
        """A software stop: brings the robot to rest without a planner or a model, and latches."""
        ...

    def clear_fault(self) -> None:
        """Allow motion again after a stop; refuses while the cause persists."""
        ...


class SimulatedRobot(Robot, Protocol):
    """A robot that can be put back, copied and looked at."""

    @property
    def clock(self) -> Clock:
        """The clock that ``send_action`` advances by one control period."""
        ...

    def reset(self, seed: int) -> Observation:
        """Start a new episode; the same seed gives the same start."""
        ...

    def render(self, camera: str | None = None, width: int = 480, height: int = 360) -> NDArray[np.uint8]:
        """A (height, width, 3) uint8 RGB picture in video quality."""
        ...

    def get_state(self) -> Array:
        """The simulator's full state, for ``set_state``."""
        ...

    def set_state(self, state: Array) -> None:
        """Put the simulator into a state from ``get_state``."""
        ...
