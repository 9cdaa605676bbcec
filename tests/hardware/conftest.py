"""Lets the package choose an OpenGL before any test imports MuJoCo, and tests import what ``tests/helpers`` shares."""

import sys
from pathlib import Path

import hardware  # noqa: F401

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
