"""Look things up by name, with an error that shows what there is."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: close matches first, everything otherwise."""
    names = sorted(known)
    close = get_close_matches(name, names, n=5, cutoff=0.4)
    if close:
        return f"there is no {kind} {name!r}; did you mean {', '.join(map(repr, close))}?"
    return f"there is no {kind} {name!r}; there are: {', '.join(names) or 'none'}"
