"""From a robot's description to its emulation."""

from collections.abc import Iterable
from pathlib import Path

from hardware.clock import Clock
from hardware.emulator.arm import EmulatedArm
from hardware.emulator.emulator import Emulator, EmulatorError
from hardware.emulator.faults import Fault
from hardware.emulator.memory_port import MemoryPort
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.places import ServoPlace
from hardware.emulator.pty import fresh_link
from hardware.emulator.settings import CameraStream, EmulatorSettings
from hardware.robot_file import RobotDescription

_ARMS = Path(__file__).parent.parent / "arms"


def emulate(
    description: RobotDescription,
    *,
    plant: PlantOptions | None = None,
    wire: WireOptions | None = None,
    faults: Iterable[Fault | str] = (),
    cameras: Iterable[CameraStream] = (),
    link: Path | None = None,
    seed: int = 0,
) -> Emulator:
    """Run a robot's servo bus and body in real time behind a pseudo-terminal, in a process of its own.

    Args:
        description: the robot.
        plant: how its physics differ from its MJCF model.
        wire: its serial adapter.
        faults: what happens to it, each at its own time from the start.
        cameras: cameras of its MJCF model to serve as motion JPEG.
        link: a symbolic link to its port, which stays when the port changes its name; a fresh one if None.
        seed: of noise and garbage.

    Returns:
        The running emulator; use it as a context manager, and open its ``port``.

    Raises:
        EmulatorError: if the robot has no servo bus or no MJCF model, or the process cannot start.
        ValueError: if a fault does not exist.
    """
    places = _places(description)
    settings = EmulatorSettings(
        model=_model(description),
        places=places,
        baudrate=description.baudrate,
        link=link or fresh_link(description.name),
        plant=plant or PlantOptions(),
        wire=wire or WireOptions(),
        start=_start(description),
        faults=tuple(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults),
        cameras=tuple(cameras),
        seed=seed,
    )
    return Emulator(settings)


def emulate_in_memory(
    description: RobotDescription,
    clock: Clock,
    *,
    plant: PlantOptions | None = None,
    wire: WireOptions | None = None,
    seed: int = 0,
) -> MemoryPort:
    """A robot's servo bus and body behind a port in this process, on an injected clock.

    Args:
        description: the robot.
        clock: the clock of the port's user; the port moves it while it waits.
        plant: how its physics differ from its MJCF model.
        wire: its serial adapter.
        seed: of noise and garbage.

    Raises:
        EmulatorError: if the robot has no servo bus or no MJCF model.
        ValueError: if its MJCF model does not fit its joints.
    """
    places = _places(description)
    arm = EmulatedArm(
        _model(description),
        places,
        plant=plant,
        wire=wire,
        baudrate=description.baudrate,
        start=_start(description),
        time=clock.now(),
        seed=seed,
    )
    return MemoryPort(arm, clock, f"emulated {description.name}")


def _places(description: RobotDescription) -> tuple[ServoPlace, ...]:
    places = []
    for joint in description.joints:
        if joint.id is None or joint.model is None:
            raise EmulatorError(
                f"{description.name} has no servo bus to emulate; for a Franka FR3 run franky-sim, which speaks its "
                f"protocol, and give its address as the robot's port"
            )
        for servo in joint.servo_ids:
            shadow = servo != joint.id
            reverse = joint.reverse != shadow
            places.append(
                ServoPlace(
                    joint.name,
                    servo,
                    joint.model,
                    sign=-joint.sign if reverse else joint.sign,
                    gear=joint.gear_ratio,
                    reverse=reverse,
                    shadows=joint.id if shadow else None,
                )
            )
    return tuple(places)


def _model(description: RobotDescription) -> Path:
    if description.twin is None:
        raise EmulatorError(f"{description.name} has no MJCF model to emulate its body with; name one as its 'twin'")
    path = Path(description.twin).expanduser()
    return path.absolute() if path.suffix == ".xml" else _ARMS / f"{description.twin}.xml"


def _start(description: RobotDescription) -> dict[str, float]:
    names = [joint.name for joint in description.joints]
    return {} if description.park_pose is None else dict(zip(names, description.park_pose, strict=True))
