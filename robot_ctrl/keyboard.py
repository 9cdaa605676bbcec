"""Keys as they are pressed in a terminal, without Enter and without waiting."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from robot_ctrl.errors import UserError

Keys = Callable[[], str]
"""Returns the characters typed since the last call, without waiting."""


@contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Read the terminal key by key; its settings are put back at the end.

    Raises:
        UserError: if standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UserError("the keyboard cannot be read: standard input is not a terminal; start it in one.")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def typed() -> str:
        text = b""
        while select.select([descriptor], [], [], 0)[0] and (part := os.read(descriptor, 64)):
            text += part
        return text.decode(errors="ignore")

    try:
        yield typed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
