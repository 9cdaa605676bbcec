"""Errors that are for the user: the thing, the value, the limit, the remedy."""

import signal


class UserError(Exception):
    """Something the user can put right; the command line prints its text alone."""


class ConfigError(UserError):
    """A setting that cannot be used."""


class RunError(UserError):
    """A run folder that cannot be used."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived: close what is open, then leave.

    Attributes:
        signal_number: the signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


def unknown(kind: str, name: str, known: "list[str] | tuple[str, ...]") -> str:
    """One line that says what is unknown, what was probably meant, and what there is."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}.{meant} There are: {', '.join(sorted(known))}."
