"""The seam is light: importing it loads no simulator and no learning framework."""

import subprocess
import sys

import pytest

HEAVY = ("mujoco", "dm_control", "gymnasium", "torch", "models", "planners", "robot_ctrl")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("hardware", ()),
        ("hardware.robot", ()),
        ("hardware.clock", ()),
        ("hardware.errors", ()),
        ("hardware.safety", ()),
        ("hardware.arms", ()),
        ("hardware.mujoco_robot", ("mujoco",)),
        ("hardware.arms.so101", ("mujoco",)),
        ("hardware.dm_control_robot", ("mujoco", "dm_control")),
        ("hardware.gymnasium_robot", ("mujoco", "gymnasium")),
    ],
)
def test_what_an_import_loads(module: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= set(allowed)
