"""Whether other processes leave the cores alone."""

import time
from pathlib import Path

from models.threads import available_cores

STAT = Path("/proc/stat")
SECONDS = 0.5
QUIET = 0.3
"""Cores that others may use while several threads are timed."""


def thread_counts() -> tuple[list[int], str]:
    """The thread counts to measure at: one, and all cores; and why all cores are left out, if they are.

    Threads that meet after every operation wait for whole time slices where cores are busy, so that both the work
    and its floor take many times as long, and their ratio says nothing.
    """
    cores = available_cores()
    if cores == 1:
        return [1], "there is one core"
    busy = cores_in_use()
    if busy > QUIET:
        return [1], f"not measured: other processes use {busy:.1f} of {cores} cores; stop them and repeat"
    return [1, cores], ""


def cores_in_use() -> float:
    """How many cores are in use while this process sleeps; 0 where the system does not say."""
    if not STAT.exists():
        return 0.0
    (idle_before, all_before) = _times()
    time.sleep(SECONDS)
    (idle, everything) = _times()
    cores = sum(line.startswith("cpu") for line in STAT.read_text().splitlines()) - 1
    return cores * (1 - (idle - idle_before) / max(everything - all_before, 1))


def _times() -> tuple[int, int]:
    """Idle and all ticks of all cores since the start of the system."""
    ticks = [int(text) for text in STAT.read_text().partition("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
