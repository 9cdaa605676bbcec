"""Servo buses at the level of bytes, whose joints are MuJoCo joints: an arm to try everything on.

``emulate(description)`` runs one behind a pseudo-terminal in a process of its own; ``emulate_in_memory`` gives one
behind a port in this process, on an injected clock.
"""

from hardware.emulator.emulate import emulate, emulate_in_memory
from hardware.emulator.emulator import Emulator, EmulatorError
from hardware.emulator.faults import FAULTS, Fault
from hardware.emulator.memory_port import MemoryPort
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.settings import CameraStream

__all__ = [
    "FAULTS",
    "CameraStream",
    "Emulator",
    "EmulatorError",
    "Fault",
    "MemoryPort",
    "PlantOptions",
    "WireOptions",
    "emulate",
    "emulate_in_memory",
]
