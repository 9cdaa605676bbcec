import pytest
import torch

from models.state import StateSpec
from models.transitions import Transitions
from models.value import ValueEnsemble

SPEC = StateSpec(("place", "unused"), action_size=1)
DISCOUNT = 0.8


def walks(count=6, steps=20, terminated=None):
    """Episodes that each stay at a place of their own, and pay the place at every step."""
    place = torch.linspace(0, 1, count).repeat_interleave(steps)
    states = torch.stack([place, torch.zeros_like(place)], -1)
    episodes = torch.arange(count).repeat_interleave(steps)
    return Transitions(states, torch.zeros(len(place), 1), states, None, terminated, episodes), place


def value(**settings):
    defaults = {"discount": DISCOUNT, "hidden": (32,), "members": 2, "rounds": 20, "round_steps": 40, "batch_size": 64}
    return ValueEnsemble(SPEC, **defaults | settings)


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("trace", [0.0, 0.8, 1.0])
def test_a_cost_paid_for_ever_is_worth_itself_over_one_minus_the_discount(trace):
    transitions, costs = walks()
    fitted = value(trace=trace)
    report = fitted.fit(transitions, costs, generator=generator())
    expected = transitions.states[:, 0] / (1 - DISCOUNT)
    assert torch.allclose(fitted(transitions.states), expected, atol=0.25)
    assert report.explained > 0.98


def test_returns_stop_at_the_borders_of_episodes_and_go_on_with_the_value_there():
    transitions, costs = walks(count=2, steps=2)
    returns = value(trace=1.0)._returns(transitions, costs, torch.full((4,), 10.0))
    assert returns.tolist() == pytest.approx([0.64 * 10, 0.8 * 10, 1 + 0.8 * 9, 1 + 0.8 * 10])


def test_an_end_is_never_cheaper_than_the_worst_that_could_go_on():
    ended = torch.zeros(120, dtype=torch.bool)
    ended[19] = True
    transitions, costs = walks(terminated=ended)
    returns = value(trace=1.0)._returns(transitions, costs, torch.zeros(120))
    assert costs[19] == 0
    assert float(returns[19]) == pytest.approx(DISCOUNT * 1 / (1 - DISCOUNT))
    assert float(returns[18]) == pytest.approx(DISCOUNT * float(returns[19]))


def test_values_stay_within_what_was_seen_however_strange_the_state():
    transitions, costs = walks()
    fitted = value()
    fitted.fit(transitions, costs, generator=generator())
    strange = fitted(torch.tensor([[[-50.0, 30.0]], [[80.0, -30.0]]])).detach()
    assert strange.shape == (2, 1)
    assert float(strange.min()) >= -0.1
    assert float(strange.max()) <= fitted.worst


def test_pessimism_adds_the_disagreement_between_members():
    transitions, costs = walks()
    bold, careful = value(pessimism=0.0, rounds=1), value(pessimism=3.0, rounds=1)
    for one in (bold, careful):
        one.fit(transitions, costs, generator=generator())
    between = torch.tensor([[0.5, 0.4]])
    assert careful(between) > bold(between)


def test_it_is_zero_before_the_first_fit():
    assert value()(torch.ones(3, 2)).tolist() == [0, 0, 0]


def test_a_value_that_was_saved_goes_on_as_if_nothing_had_happened():
    transitions, costs = walks()
    one = value(rounds=1)
    one.fit(transitions, costs, generator=generator())
    other = value(rounds=1, seed=5)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.fit(transitions, costs, generator=generator())
    assert torch.equal(one(transitions.states), other(transitions.states))
    assert one.worst == other.worst


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="discount is 1"):
        value(discount=1)
    with pytest.raises(ValueError, match="trace is 2"):
        value(trace=2)
    with pytest.raises(ValueError, match="members is 0"):
        value(members=0)
    with pytest.raises(ValueError, match="format version"):
        value().load_state_dict({})
