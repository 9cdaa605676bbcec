"""Keeps other libraries' hands off the application's logging."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Load an environment without new handlers on the root logger and without advice to its author.

    dm_control's import configures the root logger; compiling its models, and Gymnasium's, warns of deprecated
    MJCF through absl.
    """
    handlers = list(logging.root.handlers)
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        absl.setLevel(level)
        logging.root.handlers[:] = handlers
