"""An arm that was found slumped: it may get up, but not sink further."""

import numpy as np

from hardware.arm_limits import ArmLimits
from hardware.arms.so101 import PARK_POSE
from hardware.collision_guard import START_SLACK
from hardware.robot_file import load_description
from hardware.twin import KinematicTwin

DESCRIPTION = load_description("so101")
SPEC = DESCRIPTION.spec
SLUMPED = np.array([0.0, -1.70, 1.69, 0.963, 0.0, 0.0])


def walk(goal: np.ndarray, steps: int = 200) -> tuple[np.ndarray, float]:
    """Where small steps from the slumped pose get to, and how far below its start's distance any pair came."""
    twin = KinematicTwin("so101", [joint.name for joint in SPEC.joints], rest=[PARK_POSE])
    limits = ArmLimits(SPEC, twin=twin)
    start = {near.pair: near.distance for near in twin.collisions(SLUMPED)}
    assert start, "the pose must touch something"
    limits.reset(SLUMPED)
    here, deepest = SLUMPED, 0.0
    for _ in range(steps):
        here, _ = limits.limit(here + np.clip(goal - here, -0.02, 0.02))
        limits.accept(here)
        for near in twin.collisions(here):
            deepest = max(deepest, start.get(near.pair, near.margin) - near.distance)
    return here, deepest


def test_a_slumped_arm_gets_up() -> None:
    end, deepest = walk(np.array(PARK_POSE))
    assert np.abs(end - PARK_POSE).max() < 0.01
    assert deepest <= START_SLACK + 1e-6


def test_a_slumped_arm_sinks_no_further() -> None:
    down = SLUMPED + np.array([0.0, 0.3, 0.0, 0.4, 0.0, 0.0])
    end, deepest = walk(down)
    assert np.abs(end - down).max() > 0.1
    assert deepest <= START_SLACK + 1e-6
