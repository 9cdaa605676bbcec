import pytest
import torch

from models.dynamics import Rollout
from planners.cost import (
    DisagreementCost,
    RewardCost,
    StepwiseCost,
    WeightedCosts,
    WithTerminalValue,
    control_effort,
    smoothness,
)

P, N, H = 2, 3, 4
ACTIONS = torch.arange(N * H * 2).reshape(N, H, 2) / 24
STATES = torch.arange(P * N * (H + 1) * 2, dtype=torch.float32).reshape(P, N, H + 1, 2)


def arrive(states, actions):
    return states[:, :, 1:, 0]


def dying(at):
    """Particle 0 of candidate 0 is dead from state ``at`` on, and its states are NaN from there."""
    alive = torch.ones(P, N, H + 1, dtype=torch.bool)
    alive[0, 0, at:] = False
    return alive, torch.where(alive[..., None], STATES, torch.nan)


def test_terms_are_weighted_summed_over_time_and_add_up():
    cost = StepwiseCost(
        {"arrive": arrive, "effort": control_effort},
        weights={"effort": 0.5},
        final=lambda last: 10 * last[..., 1],
    )
    terms = cost.terms(Rollout(STATES), ACTIONS)
    assert terms.keys() == {"arrive", "effort", "final"}
    assert torch.allclose(terms["arrive"], STATES[:, :, 1:, 0].sum(dim=-1))
    assert torch.allclose(terms["effort"], 0.5 * ACTIONS.square().sum(dim=(1, 2)).expand(P, N))
    assert torch.allclose(terms["final"], 10 * STATES[:, :, -1, 1])
    assert torch.allclose(cost(Rollout(STATES), ACTIONS), sum(terms.values()))


def test_smoothness_charges_changes_and_the_first_one_where_the_action_before_is_known():
    actions = torch.tensor([[[0.5], [0.5], [-0.5]]])
    states = torch.zeros(2, 1, 4, 1)
    assert smoothness()(states, actions)[0, 0].tolist() == pytest.approx([0, 0, 1])
    assert smoothness(torch.tensor([0.2]))(states, actions)[1, 0].tolist() == pytest.approx([0.09, 0, 1])


@pytest.mark.parametrize("at", range(H + 1))
def test_every_step_that_a_dead_trajectory_misses_is_charged(at):
    alive, states = dying(at)
    cost = StepwiseCost({"arrive": arrive}, final=lambda last: last[..., 0], death_cost=1000.0)
    total = cost(Rollout(states, alive=alive), ACTIONS)
    lived = STATES[0, 0, 1 : max(at, 1), 0].sum()
    missed = H - max(at - 1, 0) + 1
    assert total[0, 0] == pytest.approx(float(lived + 1000 * missed))
    assert torch.equal(total[1], cost(Rollout(STATES), ACTIONS)[1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("at", range(H + 1))
def test_a_dead_trajectory_is_never_cheap_whatever_the_sign_of_rewards(sign, at):
    alive, states = dying(at)
    rewards = sign * torch.ones(P, N, H)
    dead_rewards = torch.where(alive[..., 1:], rewards, torch.nan)
    costs = [
        RewardCost(death_cost=10.0)(Rollout(states, dead_rewards, alive), ACTIONS),
        StepwiseCost({"r": lambda states, actions: -sign * torch.ones(P, N, H)}, death_cost=10.0)(
            Rollout(states, alive=alive), ACTIONS
        ),
    ]
    for cost in costs:
        assert cost.isfinite().all()
        assert cost[0, 0] > cost[1:].max()
        assert (cost[0, 1:] == -sign * H).all()


def test_dying_earlier_costs_more():
    rewards = -torch.ones(P, N, H)
    costs = [RewardCost(death_cost=10.0)(Rollout(STATES, rewards, dying(at)[0]), ACTIONS)[0, 0] for at in (1, 2, 3, 4)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_learned_rewards_are_negated():
    rewards = torch.randn(P, N, H, generator=torch.Generator().manual_seed(0))
    assert torch.equal(RewardCost(5.0)(Rollout(STATES, rewards), ACTIONS), -rewards.sum(dim=-1))
    with pytest.raises(ValueError, match="no rewards"):
        RewardCost(5.0)(Rollout(STATES), ACTIONS)


def test_disagreement_is_between_members_not_between_their_particles():
    apart = torch.zeros(4, 1, 3, 2)
    apart[0, 0, 1:, 0], apart[1, 0, 1:, 0] = 1.0, 3.0
    apart[2, 0, 1:, 0], apart[3, 0, 1:, 0] = -4.0, 0.0
    members = torch.tensor([0, 0, 1, 1])
    cost = DisagreementCost()(Rollout(apart, members=members), torch.zeros(1, 2, 1))
    assert cost.shape == (4, 1)
    assert cost[:, 0].tolist() == pytest.approx([2.0] * 4)
    scaled = DisagreementCost(torch.tensor([4.0, 1.0]))(Rollout(apart, members=members), torch.zeros(1, 2, 1))
    assert scaled[:, 0].tolist() == pytest.approx([0.5] * 4)


def test_members_that_agree_cost_nothing():
    noisy = torch.zeros(4, 1, 2, 1)
    noisy[:, 0, 1, 0] = torch.tensor([-1.0, 1.0, -3.0, 3.0])
    rollout = Rollout(noisy, members=torch.tensor([0, 0, 1, 1]))
    assert DisagreementCost()(rollout, torch.zeros(1, 1, 1)).abs().max() == 0
    assert DisagreementCost()(Rollout(noisy[:1]), torch.zeros(1, 1, 1)).abs().max() == 0


def test_disagreement_of_the_dead_is_not_counted():
    alive, states = dying(2)
    cost = DisagreementCost()(Rollout(states, alive=alive, members=torch.arange(P)), ACTIONS)
    whole = DisagreementCost()(Rollout(STATES, members=torch.arange(P)), ACTIONS)
    assert cost[0, 0] == pytest.approx(float(whole[0, 0]) / H)
    assert torch.equal(cost[:, 1:], whole[:, 1:])


def test_disagreement_needs_members():
    with pytest.raises(ValueError, match="2 particles name no members"):
        DisagreementCost()(Rollout(STATES), ACTIONS)


def test_costs_are_combined_by_weight_and_told_apart():
    rewards = torch.ones(P, N, H)
    rollout = Rollout(STATES, rewards, members=torch.arange(P))
    cost = WeightedCosts({"reward": (2.0, RewardCost(5.0)), "doubt": (0.1, DisagreementCost())})
    terms = cost.terms(rollout, ACTIONS)
    assert (terms["reward"] == -2.0 * H).all()
    assert torch.allclose(terms["doubt"], 0.1 * DisagreementCost()(rollout, ACTIONS))
    assert torch.allclose(cost(rollout, ACTIONS), terms["reward"] + terms["doubt"])


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match=r"\['speed'\].*\['arrive'\]"):
        StepwiseCost({"arrive": arrive}, weights={"speed": 1.0})
    with pytest.raises(ValueError, match="death"):
        StepwiseCost({"death": arrive})


class Remaining:
    """A value: what is left is the last state's second variable."""

    worst = 99.0

    def __call__(self, states):
        return states[..., 1]


def test_a_terminal_value_is_added_to_the_last_state_and_an_end_is_charged_the_worst():
    cost = StepwiseCost({"arrive": arrive}, death_cost=7)
    valued = WithTerminalValue(cost, Remaining())
    alive, states = dying(at=3)
    assert torch.equal(valued(Rollout(STATES), ACTIONS), cost(Rollout(STATES), ACTIONS) + STATES[:, :, -1, 1])
    ending = Rollout(states, alive=alive)
    added = valued(ending, ACTIONS) - cost(ending, ACTIONS)
    assert added[0, 0] == 99
    assert torch.allclose(added[1], STATES[1, :, -1, 1])
