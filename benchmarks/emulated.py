"""An emulated arm for the benchmarks of the real-time loop, on a computer that may have too few cores for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from hardware.clock import Clock
from hardware.emulator import Emulator, PlantOptions, emulate
from hardware.robot import Robot
from hardware.robot_file import load_description, make_robot
from hardware.servo_arm import ServoArm
from robot_ctrl.realtime.sources import DescribedArm

PATIENCE = 0.05
"""s that the driver allows host and adapter: the emulator shares the computer's cores with the planner."""

PRIORITY = 30


@dataclass(frozen=True)
class PatientArm(DescribedArm):
    """An arm whose driver allows its emulator some waiting for a core."""

    def open(self, clock: Clock) -> Robot:
        arm = make_robot(self.description, self.port, clock)
        if isinstance(arm, ServoArm):
            arm._patience = PATIENCE
        return arm


@contextmanager
def emulated_arm(
    folder: Path, robot: str = "so101", *, rate: float = 100.0, plant: PlantOptions | None = None, seed: int = 0
) -> Iterator[tuple[Emulator, PatientArm]]:
    """A packaged arm at another control rate, and its emulator.

    Real hardware does not wait for this computer's scheduler, so the emulator asks for real-time scheduling.
    """
    description = load_description(robot)
    source = Path(load_description.__code__.co_filename).parent / "robots" / f"{robot}.yaml"
    tree = yaml.safe_load(source.read_text()) | {"control_rate": rate}
    file = folder / f"{robot}.yaml"
    file.write_text(yaml.safe_dump(tree))
    description = load_description(file)
    with emulate(description, plant=plant, seed=seed) as emulator:
        for thread in (Path("/proc") / str(emulator._process.pid) / "task").iterdir():
            with suppress(PermissionError, ProcessLookupError):
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))
        yield emulator, PatientArm(description, emulator.port)
