"""SIGINT and SIGTERM: the first one closes what is open and leaves, the second one ends the program at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from robot_ctrl.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_shields = 0
_pending: int | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM raise ``Interrupted``, and a second one end the program.

    Raises:
        Interrupted: where the signal arrives, or at the end of the ``shielded`` block that it arrives in.
    """
    global _pending
    _pending = None
    before = {number: signal.signal(number, _arrived) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Put an interruption off until the block is done: half a record on disk helps nobody.

    Raises:
        Interrupted: at the end, if a signal arrived meanwhile.
    """
    global _shields, _pending
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
    if _pending is not None and not _shields:
        number, _pending = _pending, None
        raise Interrupted(number)


def _arrived(number: int, frame: FrameType | None) -> None:
    global _pending
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    if _shields:
        _pending = number
    else:
        raise Interrupted(number)
