import pytest
import torch

from models.actor_critic import ActorCritic
from models.layer_norm_network import LayerNormNetwork
from models.normalizer import Normalizer
from models.state import StateSpec
from models.transitions import Transitions

SPEC = StateSpec(("place", "unused"), action_size=1)
DISCOUNT = 0.8


def stays(count=300, terminated=None):
    """Nothing moves: a random place, a random action, and the place again."""
    draw = torch.Generator().manual_seed(1)
    place = 2 * torch.rand(count, generator=draw) - 1
    states = torch.stack([place, torch.zeros_like(place)], -1)
    actions = 2 * torch.rand(count, 1, generator=draw) - 1
    return Transitions(states, actions, states, None, terminated, torch.zeros(count, dtype=torch.int64))


def learner(**settings):
    small = {"discount": DISCOUNT, "hidden": (32,), "critics": 2, "batch_size": 64, "learning_rate": 3e-3}
    return ActorCritic(SPEC, **small | settings)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def mean_action(learned, states):
    return learned.act(states, noise=torch.zeros(len(states), 1)).detach().squeeze(-1)


def test_the_policy_and_the_value_of_a_known_optimum():
    """Acting with half the place is free; anything else costs its squared distance from that, and 0.1 whatever."""
    data = stays()
    place = data.states[:, 0]
    costs = (data.actions[:, 0] - 0.5 * place).square() + 0.1
    learned = learner(updates=3.0, entropy=-3.0, discount=0.5)
    report = learned.fit(data, costs, generator=generator())
    assert mean_action(learned, data.states).sub(0.5 * place).abs().mean() < 0.1
    assert float(learned(data.states).detach().mean()) == pytest.approx(0.1 / (1 - 0.5), abs=0.1)
    assert report.error < 0.3


def test_what_is_paid_for_ever_is_worth_itself_over_one_minus_the_discount():
    data = stays()
    learned = learner(updates=3.0)
    learned.fit(data, data.states[:, 0], generator=generator())
    expected = data.states[:, 0] / (1 - DISCOUNT)
    assert (learned(data.states).detach() - expected).abs().mean() < 0.5


def test_an_end_is_never_cheaper_than_the_worst_that_could_go_on():
    data = stays()
    ended = data.states[:, 0] > 0
    learned = learner(updates=3.0, pessimism=0.0)
    learned.fit(stays(terminated=ended), torch.where(ended, 0.0, 1.0), generator=generator())
    values = learned(data.states).detach()
    assert learned.worst == pytest.approx(1 / (1 - DISCOUNT))
    assert float(values[ended].mean()) == pytest.approx(DISCOUNT * learned.worst, abs=0.6)
    assert float(values[~ended].mean()) > float(values[ended].mean())


def test_values_stay_within_what_costs_can_come_to_however_strange_the_state():
    data = stays()
    learned = learner(updates=0.2)
    learned.fit(data, data.states[:, 0], generator=generator())
    strange = learned(torch.tensor([[[-50.0, 30.0]], [[80.0, -30.0]]])).detach()
    assert strange.shape == (2, 1)
    assert float(strange.min()) >= -1 / (1 - DISCOUNT)
    assert float(strange.max()) <= learned.worst


def test_pessimism_adds_the_disagreement_between_critics():
    data = stays()
    bold, careful = learner(pessimism=0.0, updates=0.2), learner(pessimism=1.0, updates=0.2)
    for one in (bold, careful):
        one.fit(data, data.states[:, 0], generator=generator())
    assert (careful(data.states) > bold(data.states)).float().mean() > 0.9


def test_gradient_steps_go_by_the_new_transitions():
    data = stays()
    learned = learner(updates=0.1)
    learned.fit(data[:200], data.states[:200, 0], generator=generator())
    assert learned.state_dict()["steps"] == 20
    learned.fit(data, data.states[:, 0], generator=generator())
    assert learned.state_dict()["steps"] == 30


def test_values_are_zero_before_the_first_fit():
    assert learner()(torch.ones(3, 2)).tolist() == [0, 0, 0]
    assert not learner().trained


def test_what_was_saved_goes_on_as_if_nothing_had_happened():
    data = stays()
    one = learner(updates=0.2)
    one.fit(data[:200], data.states[:200, 0], generator=generator())
    other = learner(updates=0.2, seed=5)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.fit(data, data.states[:, 0], generator=generator(1))
    assert torch.equal(one(data.states), other(data.states))
    assert torch.equal(mean_action(one, data.states), mean_action(other, data.states))
    assert one.worst == other.worst


def test_noise_is_in_standard_deviations_of_the_policy():
    learned = learner()
    states = torch.zeros(2, 2)
    apart = learned.act(states, noise=torch.tensor([[0.0], [1.0]])).detach()
    assert apart[1] > apart[0]
    assert apart.abs().max() <= 1


def test_new_statistics_keep_the_function_of_the_networks():
    network = LayerNormNetwork(2, (3, 8, 1), generator())
    raw = torch.randn(5, 3, generator=generator(2))
    old, new = Normalizer.identity(2), Normalizer(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    outputs_old, outputs_new = Normalizer.identity(1), Normalizer(torch.tensor([4.0]), torch.tensor([0.2]))

    def value(inputs, outputs):
        rows = torch.cat([inputs.normalize(raw[:, :2]), raw[:, 2:]], -1)
        return outputs.restore(network(rows))

    before = value(old, outputs_old)
    network.renormalize_inputs(old, new)
    network.renormalize_outputs(outputs_old, outputs_new)
    assert torch.allclose(value(new, outputs_new), before, atol=1e-5)
    assert torch.equal(network(raw, torch.tensor([1])), network(raw)[1:])


def test_what_cannot_be_used_is_refused():
    for settings, message in (
        ({"discount": 1}, "discount is 1"),
        ({"updates": 0}, "updates is 0"),
        ({"critics": 1}, "critics is 1"),
        ({"proposals": -1}, "proposals is -1"),
        ({"actor_every": 0}, "actor_every is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            learner(**settings)
    with pytest.raises(ValueError, match="format version"):
        learner().load_state_dict({})


def test_going_on_is_the_average_cost_of_the_periods_and_what_follows():
    value, rows = learner(discount=0.9, updates=0.01), stays(100)
    value.fit(rows, torch.ones(100), generator=generator())
    assert value.going_on(rows.states[:1], 3).item() == pytest.approx(3 + 10, rel=1e-5)
