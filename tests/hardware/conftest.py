"""Lets the package choose an OpenGL before any test imports MuJoCo."""

import hardware  # noqa: F401
