"""How many threads a piece of work deserves."""

import os

FLOPS_PER_THREAD = 2.5e7
TYPICAL_FLOPS = 6e7


def choose_threads(flops_per_step: float = TYPICAL_FLOPS) -> int:
    """The number of threads for work that comes in steps of ``flops_per_step`` floating point operations.

    Threads meet after every operation. Below about 25 million operations each (a quarter of a millisecond)
    they spend their time waiting, and on a machine whose cores are busy they wait for whole time slices. Set
    the answer once per process with ``torch.set_num_threads``, not per call.

    Args:
        flops_per_step: of one imagined step of all candidates and particles, see ``flops_per_step`` of the
            model; the default is 64 candidates through five networks of three layers of 200.
    """
    return int(min(available_cores(), max(1, flops_per_step // FLOPS_PER_THREAD)))


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
