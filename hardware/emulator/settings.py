"""All that the emulator's process needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hardware.emulator.faults import Fault
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.places import ServoPlace


@dataclass(frozen=True)
class CameraStream:
    """A camera of the model that is served as motion JPEG.

    Attributes:
        name: the camera's name in the MJCF file.
        port: TCP port; 0 takes a free one.
        width: pixels.
        height: pixels.
        rate: pictures per second, Hz.
    """

    name: str
    port: int = 0
    width: int = 320
    height: int = 240
    rate: float = 15.0


@dataclass(frozen=True)
class EmulatorSettings:
    """One emulated arm with its port.

    Attributes:
        model: the MJCF file of its body.
        places: its servos.
        baudrate: bits per second that its servos are set to.
        link: where the port is found under a stable name.
        plant: how its physics differ from the file.
        wire: its adapter.
        start: joint positions at the start, rad.
        faults: what is injected at the start, each at its time.
        cameras: what is served.
        seed: of noise and garbage.
    """

    model: Path
    places: tuple[ServoPlace, ...]
    baudrate: int
    link: Path
    plant: PlantOptions = field(default_factory=PlantOptions)
    wire: WireOptions = field(default_factory=WireOptions)
    start: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    cameras: tuple[CameraStream, ...] = ()
    seed: int = 0
