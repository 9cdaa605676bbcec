"""How many threads a piece of work deserves."""

import os

FLOPS_PER_THREAD = 2.5e8


def choose_threads(flops_per_step: float) -> int:
    """The number of threads for work that comes in steps of ``flops_per_step`` floating point operations.

    Threads meet after every operation. Below about 250 million operations each (a few milliseconds) an idle
    machine gains little, and on one whose cores are busy they wait for whole time slices: plans then take five
    to thirty times as long as on one thread. Set the answer once per process with ``torch.set_num_threads``,
    not per call.

    Args:
        flops_per_step: of one imagined step of all candidates and particles, see ``flops_per_step`` of the
            model. The default planner's 64 candidates through five networks of three layers of 200 need 6e7,
            PETS's 500 candidates with 20 particles 2e9.
    """
    return int(min(available_cores(), max(1, flops_per_step // FLOPS_PER_THREAD)))


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
