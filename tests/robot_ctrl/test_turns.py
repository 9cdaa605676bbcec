import numpy as np
import pytest
import torch
from point_mass import PointMass, connected

from models.actor_critic import ActorCritic
from models.transitions import Transitions
from robot_ctrl.controller import Controller
from robot_ctrl.turns import STRETCH, Turns

PLANNED, MEANT = 0.25, -0.5


class Planner(Controller):
    """Always plans the same action."""

    def __init__(self, value: ActorCritic | None) -> None:
        self.value, self.seeds = value, []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, observation: object) -> np.ndarray:
        return np.array([PLANNED])


def learned(task: PointMass, *, trained: bool) -> ActorCritic:
    """A policy that means the same everywhere, without noise worth the name."""
    value = ActorCritic(task.model_spec, hidden=(8,), critics=2, updates=0.1)
    if trained:
        rows = Transitions(*(torch.zeros(20, size) for size in (2, 1, 2)), None, None, torch.zeros(20).long())
        value.fit(rows, torch.ones(20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in value._actor.parameters():
            parameter.zero_()
        value._actor.biases[-1][..., 0] = np.arctanh(MEANT)
        value._actor.biases[-1][..., 1] = -10.0
    return value


def commands(task: PointMass, value: ActorCritic | None, share: float, steps: int) -> np.ndarray:
    turns = Turns(task, Planner(value), share)
    turns.reset(7)
    assert turns._controller.seeds == [7]
    return np.array([turns.act(task.robot.get_observation()).item() for _ in range(steps)])


def test_the_policy_begins_an_episode_and_comes_back_for_its_share_of_it() -> None:
    task = connected()
    sent = commands(task, learned(task, trained=True), 0.25, 2 * 4 * STRETCH)
    policy = np.tile(np.repeat([True, False], [STRETCH, 3 * STRETCH]), 2)
    assert (sent[~policy] == PLANNED).all()
    low, high = task.action_scale.low.item(), task.action_scale.high.item()
    meant = low + (MEANT + 1) / 2 * (high - low)
    assert sent[policy] == pytest.approx(meant, abs=0.1 * (high - low))
    assert len(np.unique(sent[policy])) == 2 * STRETCH


def test_the_planner_has_all_turns_where_there_is_no_policy_to_try() -> None:
    task = connected()
    for value, share in ((None, 0.25), (learned(task, trained=False), 0.25), (learned(task, trained=True), 0.0)):
        assert (commands(task, value, share, 2 * STRETCH) == PLANNED).all()
