"""Emulated arms for the benchmarks of the real-time loop, on a computer that may have too few cores for them."""

import os
import subprocess
import sys
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
ADDRESS = "127.0.0.1"


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
        _raise_priority(emulator._process.pid)
        yield emulator, DescribedArm(description, emulator.port)


@contextmanager
def franky_sim(rate: float) -> Iterator[DescribedArm]:
    """An FR3 that others wrote, in a process of its own, at another control rate."""
    command = [sys.executable, "-m", "franky_sim.run_server", "--simulator", "mujoco", "--hostname", ADDRESS]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if line.startswith("Connect to the server"):
                break
        else:
            raise SystemExit("franky-sim did not start: pip install franky-sim")
        _raise_priority(server.pid)
        update = {"realtime": "ignore", "control_rate": rate}
        yield DescribedArm(load_description("fr3").model_copy(update=update), ADDRESS)
    finally:
        server.kill()
        server.wait(10)


def _raise_priority(process: int) -> None:
    for thread in (Path("/proc") / str(process) / "task").iterdir():
        with suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))
