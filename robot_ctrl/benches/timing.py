"""Two pieces of work timed in turns, so that what else the machine does falls on both."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """Seconds for a piece of work, and for its floor or peer right beside it."""

    measured: float
    peer: float

    @property
    def efficiency(self) -> float:
        """Peer over measured: 1 where the work costs no more than its floor."""
        return self.peer / self.measured


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run tensor work with so many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clock_for(count: int) -> Clock:
    """CPU time of the process for one thread, which other processes do not swamp; wall time for several.

    Threads that wait for one another burn CPU time, so that it says nothing about several of them.
    """
    return time.process_time if count == 1 else time.perf_counter


def clock_name(count: int) -> str:
    """Which time ``clock_for`` gives."""
    return "CPU time" if count == 1 else "wall time"


def in_turns(work: Work, peer: Work, *, repeats: int, clock: Clock) -> list[Pair]:
    """Time both ``repeats`` times, one after the other, after one run of each to warm up."""
    work()
    peer()
    pairs = []
    for _ in range(repeats):
        started = clock()
        work()
        between = clock()
        peer()
        pairs.append(Pair(between - started, clock() - between))
    return pairs


def median(pairs: Sequence[Pair]) -> Pair:
    """The pair whose efficiency is the median, the lower one of two."""
    return sorted(pairs, key=lambda pair: pair.efficiency)[(len(pairs) - 1) // 2]


def fastest(works: Sequence[Work], *, clock: Clock, repeats: int = 3) -> Work:
    """The work that takes the least time."""

    def seconds(work: Work) -> float:
        started = clock()
        work()
        return clock() - started

    for work in works:
        work()
    return min(works, key=lambda work: min(seconds(work) for _ in range(repeats)))
