"""Arms as their files describe them, through the whole chain of limits."""

import numpy as np
import pytest

from hardware.arm_limits import ArmLimits
from hardware.robot_file import load_description, robots


@pytest.mark.parametrize("name", robots())
def test_every_packaged_arm_goes_where_it_is_sent(name: str) -> None:
    """Also one whose joints cannot stand at zero, like an FR3's fourth."""
    spec = load_description(name).spec
    low, high = spec.command_limits
    start, goal = low + 0.4 * (high - low), low + 0.6 * (high - low)
    limits = ArmLimits(spec)
    limits.reset(start)
    command = start
    for _ in range(int(8 * spec.control_rate)):
        command, _ = limits.limit(goal)
        limits.accept(command)
    assert command == pytest.approx(goal, abs=1e-6)
    assert not limits.moving


@pytest.mark.parametrize("name", robots())
def test_the_way_to_rest_is_known_from_any_motion(name: str) -> None:
    spec = load_description(name).spec
    low, high = spec.command_limits
    limits, rng = ArmLimits(spec), np.random.default_rng(0)
    limits.reset(0.5 * (low + high))
    for _ in range(20):
        goal = rng.uniform(low - 1, high + 1)
        for _ in range(int(rng.integers(1, 30))):
            command, _ = limits.limit(goal)
            limits.accept(command)
        for _ in range(1000):
            if not limits.moving:
                break
            command = limits.brake()
            limits.accept(command)
            assert (command >= low - 1e-9).all()
            assert (command <= high + 1e-9).all()
        assert not limits.moving
