"""Pushing: starts that are not solved, a state that forgets the direction, and a cost without dead ends."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hardware.safety import SafetyFilter
from models.dynamics import Rollout
from models.features import Features
from robot_ctrl.task import Array
from robot_ctrl.tasks.arm_push import ArmPush


@pytest.fixture(scope="module")
def pushing() -> ArmPush:
    task = ArmPush()
    task.robot.connect()
    return task


def test_no_start_is_solved_or_in_contact(pushing: ArmPush) -> None:
    for seed in range(20):
        first = pushing.robot.reset(seed)
        values = first.values
        start = pushing.measures([first])["start_distance"]
        assert 0.08 < start < 0.15
        assert not pushing.success([first])
        assert 0.04 < np.linalg.norm(values["gripper_tip"][:2] - values["puck"][:2]) < 0.07
        assert 0.010 < values["gripper_tip"][2] < 0.025
        assert pushing.robot.data.ncon == 0, "nothing touches"  # type: ignore[attr-defined]


def test_what_is_learned_in_one_direction_holds_in_all(pushing: ArmPush) -> None:
    right, moved = _push(pushing, turn=-np.pi / 4)
    left, moved_left = _push(pushing, turn=np.pi / 4)  # a right angle: the dry friction is per axis
    assert moved > 0.005
    assert moved_left == pytest.approx(moved, rel=0.01)
    np.testing.assert_allclose(left, right, atol=1e-4)


def _push(task: ArmPush, turn: float) -> tuple[Array, float]:
    """Sweep the pan into a puck beside the tip; what a network sees before each step, and how far the puck moved."""
    robot, safety = task.robot, SafetyFilter(task.robot.spec)
    robot.reset(0)
    model, data = robot.model, robot.data  # type: ignore[attr-defined]
    command = np.add(model.key("ready").qpos[:4], [turn, 0, 0, 0])
    data.qpos[:4] = data.ctrl[:4] = command
    robot.set_state(robot.get_state())
    radius = np.linalg.norm(data.site("gripper_tip").xpos[:2])
    data.joint("puck_x").qpos, data.joint("puck_y").qpos = radius * np.cos(turn + 0.4), radius * np.sin(turn + 0.4)
    robot.set_state(robot.get_state())
    safety.reset(robot.get_observation())
    seen = []
    features = Features(task.state_spec)
    started = robot.get_observation().values["puck"]
    for _ in range(12):
        command[0] += 0.04
        safety.send(robot, command)
        state = torch.tensor(task.state(robot.get_observation()))
        seen.append(features.of_states(state).numpy())
    return np.array(seen), float(np.linalg.norm(robot.get_observation().values["puck"] - started))


GOAL, PUCK = np.array([0.30, 0.0]), np.array([0.20, 0.0])


def _costs(task: ArmPush, tips: Array, puck: Array = PUCK, lead: float = 0.0) -> Tensor:
    """What it costs to be with the fingertip at (N, 2) in the plane."""
    states = torch.zeros(1, len(tips), 2, task.state_spec.size)
    tip = torch.tensor(tips)
    states[..., 8] = torch.linalg.vector_norm(tip, dim=-1)[:, None]
    states[..., 9] = torch.atan2(tip[:, 1], tip[:, 0])[:, None]
    states[..., 10] = 0.02
    states[..., 11], states[..., 12] = np.hypot(*puck), np.arctan2(puck[1], puck[0])
    states[..., 16] = lead
    cost = task.cost(torch.tensor(GOAL))
    return cost(Rollout(states), torch.zeros(len(tips), 1, task.state_spec.action_size))[0]


def test_the_way_behind_the_puck_leads_around_it(pushing: ArmPush) -> None:
    angles = np.linspace(0.05, np.pi, 20)
    around = PUCK + 0.045 * np.stack([np.cos(angles), np.sin(angles)], -1)
    costs = _costs(pushing, around)
    assert (costs.diff() < 0).all(), "there is no way to get stuck before the puck"
    closer, farther = _costs(pushing, np.array([[0.14, 0.0], [0.12, 0.0]]))
    assert costs[-1] < closer < farther


def test_the_tip_presses_from_behind_and_keeps_off_elsewhere(pushing: ArmPush) -> None:
    behind, into, beside, scraping = _costs(pushing, np.add(PUCK, [[-0.045, 0], [-0.035, 0], [0, 0.05], [0, 0.035]]))
    assert into < behind, "a model that knows no contact would wait behind the puck for ever"
    assert beside < scraping


def test_a_puck_at_the_target_needs_no_fingertip(pushing: ArmPush) -> None:
    assert _costs(pushing, np.array([[0.1, 0.2]]), puck=GOAL).item() == pytest.approx(0, abs=1e-4)


def test_commands_that_run_right_of_the_joints_cost(pushing: ArmPush) -> None:
    tips = np.array([[0.15, 0.0]])
    moving, jammed = (_costs(pushing, tips, lead=lead).item() - _costs(pushing, tips).item() for lead in (0.06, 0.8))
    assert moving < 0.1
    assert jammed > 5
