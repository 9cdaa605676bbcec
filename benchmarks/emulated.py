"""An emulated arm for the benchmarks of the real-time loop, on a computer that may have too few cores for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hardware.emulator import Emulator, PlantOptions, emulate
from hardware.robot_file import load_description
from robot_ctrl.realtime.sources import DescribedArm

ROBOTS = Path(__file__).parent

PATIENCE = 0.05
"""s that the driver allows host and adapter: the emulator shares the computer's cores with the planner."""

PRIORITY = 30


@contextmanager
def emulated_arm(
    robot: str = str(ROBOTS / "so101.yaml"),
    *,
    rate: float = 100.0,
    plant: PlantOptions | None = None,
    seed: int = 0,
) -> Iterator[tuple[Emulator, DescribedArm]]:
    """An arm at another control rate, and its emulator.

    Real hardware does not wait for this computer's scheduler, so the emulator asks for real-time scheduling.
    """
    description = load_description(robot).model_copy(update={"control_rate": rate, "patience": PATIENCE})
    with emulate(description, plant=plant, seed=seed) as emulator:
        for thread in (Path("/proc") / str(emulator._process.pid) / "task").iterdir():
            with suppress(PermissionError, ProcessLookupError):
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))
        yield emulator, DescribedArm(description, emulator.port)
