"""Chooses how MuJoCo draws, which must happen before MuJoCo is imported."""

import ctypes
import os
import sys

_HEADLESS_BACKENDS = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def choose_backend() -> None:
    """Set MUJOCO_GL on a Linux machine without a display to what is installed; the user's choice stands.

    With neither EGL nor OSMesa drawing is disabled, for MuJoCo's own choice would fail at import.
    """
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_display or os.environ.get("MUJOCO_GL") or not sys.platform.startswith("linux"):
        return
    os.environ["MUJOCO_GL"] = next(filter(_installed, _HEADLESS_BACKENDS), "disable")


def _installed(backend: str) -> bool:
    try:
        ctypes.CDLL(_HEADLESS_BACKENDS[backend])
    except OSError:
        return False
    return True
