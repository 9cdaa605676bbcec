import numpy as np
import pytest
import torch

from models.dynamics import Rollout
from planners.icem import ICEM
from planners.plan import Plan
from planners.planner import Horizon
from planners.policy_rollout import imagined_actions
from planners.proposal import Proposal

HORIZON = Horizon(3, 1, 0.1, np.zeros(1))


class TwoMinds:
    """Adds the action to the state; its second particle doubts that and adds one more."""

    state_size, action_size = 1, 1

    def rollout(self, state, actions, *, generator=None):
        start = state.expand(len(actions), 1)
        after = torch.stack([start + actions[:, 0], start + actions[:, 0] + 1])
        return Rollout(torch.stack([start.expand(2, -1, 1), after], 2))


class Homing:
    """Halves the state, give or take a tenth."""

    def act(self, states, *, noise):
        return -0.5 * states + 0.1 * noise


def test_a_policy_is_followed_through_the_model_each_sequence_in_a_future_of_its_own():
    generator = torch.Generator().manual_seed(0)
    actions = imagined_actions(TwoMinds(), Homing(), torch.tensor([0.8]), 4, 3, generator)
    assert actions.shape == (4, 3, 1)
    assert actions[0, :, 0].tolist() == pytest.approx([-0.4, -0.2, -0.1])
    assert torch.unique(actions[:, 0]).numel() == 4
    assert float(actions[1, 1, 0]) == pytest.approx(-0.7, abs=0.3)


def needle(actions):
    """Free at one place only, which samples do not find."""
    return 1 - torch.exp(-1e4 * (actions - 0.77).square().sum((1, 2)))


def plan_from(suggested):
    planner = ICEM(HORIZON, generator=torch.Generator().manual_seed(0), now=lambda: 0.0, execute="best")
    proposal = Proposal(np.zeros((3, 1)), suggested=suggested)
    start = Plan(start_time=0.0, dt=0.1, actions=np.zeros((3, 1)), hold_action=np.zeros(1), proposal=proposal)
    return planner.plan(needle, start)


def test_what_is_suggested_is_tried_and_wins_where_it_is_best():
    assert plan_from(None).cost > 0.9
    found = plan_from(np.stack([np.full((3, 1), -0.5), np.full((3, 1), 0.77)]))
    assert found.cost < 1e-3
    assert found.actions == pytest.approx(np.full((3, 1), 0.77))


def test_suggestions_are_for_one_search_only():
    found = plan_from(np.full((1, 3, 1), 0.77))
    assert found.proposal.suggested is None
    proposal = Proposal(np.zeros((3, 1)), suggested=np.ones((1, 3, 1)))
    assert proposal.shifted(1.0, np.zeros(1)).suggested is None
