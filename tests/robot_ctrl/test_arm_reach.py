"""What the reaching task charges for."""

import pytest
import torch

from models.dynamics import Rollout
from robot_ctrl.tasks.arm_reach import ROUNDED, ArmReach

GOAL = torch.tensor([0.2, 0.05, 0.15])


def charged(task: ArmReach, *, away: float = 0.0, action: float = 0.0, **joints: float) -> float:
    """The cost of one step to "ready", with some joints elsewhere and the tip so far from the goal, m."""
    ready = torch.tensor(task.robot.model.key("ready").qpos[:6], dtype=torch.float32)
    names = [joint.name for joint in task.robot.spec.joints]
    for name, position in joints.items():
        ready[names.index(name)] = position
    tip = GOAL + torch.tensor([0.0, 0.0, away])
    state = torch.cat([ready, torch.zeros(6), tip, ready])
    cost = task.cost(GOAL)(Rollout(state.expand(1, 1, 2, -1)), torch.full((1, 1, 6), action))
    return float(cost)


def test_nothing_is_charged_for_standing_at_the_target() -> None:
    assert charged(ArmReach()) == pytest.approx(0.0, abs=1e-6)


def test_far_away_the_distance_counts_and_nearby_its_square() -> None:
    task = ArmReach()
    far = charged(task, away=0.31) - charged(task, away=0.30)
    assert far == pytest.approx(10 * 0.01, rel=1e-2)
    near, nearer = charged(task, away=ROUNDED / 5), charged(task, away=ROUNDED / 10)
    assert near / nearer == pytest.approx(4.0, rel=0.02)


def test_an_arm_may_turn_and_stretch_but_should_not_fold_up() -> None:
    task = ArmReach()
    assert charged(task, shoulder_pan=1.1, elbow_flex=0.4) == pytest.approx(0.0, abs=1e-6)
    folded = charged(task, shoulder_lift=-1.7, elbow_flex=1.6)
    assert 0.03 < folded < charged(task, away=0.05)


def test_moving_costs_less_than_being_away() -> None:
    task = ArmReach()
    assert 0 < charged(task, action=0.2) < charged(task, away=0.02)


def test_effort_costs_what_the_joints_are_sent_however_fast_they_may_be() -> None:
    fast, slow = ArmReach(speed=1.5), ArmReach(speed=0.5)
    assert charged(slow, action=0.9) == pytest.approx(charged(fast, action=0.3), rel=1e-4)
    assert charged(fast, action=1.0) == pytest.approx(0.6, rel=1e-3)
