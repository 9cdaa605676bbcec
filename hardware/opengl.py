"""Chooses how MuJoCo draws."""

import ctypes
import importlib
import os
import sys

_HEADLESS_BACKENDS = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def choose_backend() -> None:
    """Set MUJOCO_GL on a Linux machine without a display to what is installed; the user's choice stands.

    With neither EGL nor OSMesa drawing is disabled. MuJoCo reads the variable when it is imported; where that
    happened before, it is made to choose again.
    """
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_display or os.environ.get("MUJOCO_GL") or not sys.platform.startswith("linux"):
        return
    os.environ["MUJOCO_GL"] = next(filter(_installed, _HEADLESS_BACKENDS), "disable")
    chosen = sys.modules.get("mujoco.rendering.classic.gl_context")
    if chosen is not None:
        importlib.reload(chosen)


def _installed(backend: str) -> bool:
    try:
        ctypes.CDLL(_HEADLESS_BACKENDS[backend])
    except OSError:
        return False
    return True
