import math

import pytest
import torch
from known_systems import LINEAR, NOISE, fitted, hand_made, linear_data, linear_step
from torch import Generator

from models.calibration import calibrate
from models.ensemble import ProbabilisticEnsemble
from models.state import StateSpec
from models.transitions import Transitions


@pytest.fixture(scope="module")
def linear():
    return fitted(linear_data(3000), steps=400)


def test_recovers_mean_and_noise_of_a_linear_system(linear):
    model, _ = linear
    test = linear_data(500, seed=1)
    prediction = model.predict(test.states, test.actions)
    truth = linear_step(test.states, test.actions)
    error = (prediction.mean.mean(0) - truth).square().mean(0).sqrt()
    assert (error < 0.4 * NOISE).all()
    std = prediction.variance.mean((0, 1)).sqrt()
    assert torch.allclose(std, NOISE, rtol=0.25)


def test_intervals_cover_what_they_promise(linear):
    model, _ = linear
    report = calibrate(model, linear_data(2000, seed=2))
    for level, covered in report.coverage.items():
        assert covered == pytest.approx(level, abs=0.08)
    assert report.epistemic < 0.2 * report.aleatoric


def test_report_measures_the_error_in_state_units(linear):
    _, report = linear
    assert report.one_step_rmse_states == pytest.approx(NOISE.tolist(), rel=0.3)
    assert 0 < report.steps <= 400
    assert len(report.member_losses) == 5


def test_disagreement_grows_away_from_data(linear):
    model, _ = linear
    near, far = linear_data(200, seed=3), linear_data(200, seed=3, centre=8.0)
    spread = [model.predict(d.states, d.actions).mean.var(0).mean() for d in (near, far)]
    assert spread[1] > 5 * spread[0]


def test_novelty_is_about_one_for_unseen_rows_and_grows_away(linear):
    model, _ = linear
    assert model.novelty(linear_data(500, seed=4).states).median() == pytest.approx(1, rel=0.4)
    assert (model.novelty(torch.full((3, 2), 8.0)) > 20).all()


def test_angles_take_the_short_way():
    spec = StateSpec(("angle", "speed"), 1, angles=(0,))
    generator = Generator().manual_seed(0)
    angle = torch.rand(1000, generator=generator) * 2 * math.pi - math.pi
    turned = torch.remainder(angle + 0.3 + math.pi, 2 * math.pi) - math.pi
    zero = torch.zeros(1000)
    data = Transitions(
        torch.stack([angle, zero], -1), torch.zeros(1000, 1), torch.stack([turned, zero], -1), None, None,
        torch.arange(1000),
    )  # fmt: skip
    model, _ = fitted(data, spec, steps=60)
    start = torch.tensor([3.0, 0.0])
    states = model.rollout(start, torch.zeros(1, 4, 1)).states
    assert torch.allclose(states[:, 0, :, 0].mean(0), 3.0 + 0.3 * torch.arange(5), atol=0.05)
    whole_turn = model.rollout(start + torch.tensor([2 * math.pi, 0.0]), torch.zeros(1, 4, 1)).states
    assert torch.allclose(whole_turn[..., 0] - 2 * math.pi, states[..., 0], atol=1e-4)


def test_a_constant_column_stays_constant():
    data = linear_data(400)
    data.states[:, 0] = 3.0
    data.next_states[:, 0] = 3.0
    model, _ = fitted(data, steps=40)
    states = model.rollout(torch.tensor([3.0, 0.0]), torch.zeros(4, 10, 1), generator=Generator()).states
    assert torch.allclose(states[..., 0], torch.tensor(3.0), atol=1e-3)


def test_unseen_columns_are_predicted_but_have_no_influence():
    spec = StateSpec(("x", "y"), 1, unseen=(0,))
    model, _ = fitted(linear_data(500), spec, steps=40)
    actions = torch.ones(1, 5, 1)
    here = model.rollout(torch.tensor([0.0, 1.0]), actions).states
    there = model.rollout(torch.tensor([50.0, 1.0]), actions).states
    assert torch.allclose(there[..., 0] - 50, here[..., 0], atol=1e-4)
    assert torch.equal(there[..., 1], here[..., 1])


@pytest.mark.parametrize(("column", "value"), [("states", math.nan), ("actions", math.inf), ("next_states", math.nan)])
def test_values_that_are_not_finite_are_refused_by_name(column, value):
    data = linear_data(50)
    getattr(data, column)[7, -1] = value
    with pytest.raises(ValueError, match=rf"{column} holds (nan|inf) at row 7"):
        ProbabilisticEnsemble(LINEAR).fit(data, generator=Generator())


def test_settings_out_of_range_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="multiple of the 5 members"):
        ProbabilisticEnsemble(LINEAR, particles=7)
    with pytest.raises(ValueError, match="elites is 6"):
        ProbabilisticEnsemble(LINEAR, elites=6)
    with pytest.raises(ValueError, match="multiple of the 2 members"):
        hand_made([0.0, 1.0]).rollout(torch.zeros(3, 4, 1), torch.zeros(4, 2, 1))
    with pytest.raises(ValueError, match=r"must be \(N, H, 1\)"):
        hand_made([0.0]).rollout(torch.zeros(1), torch.zeros(4, 2, 3))
    with pytest.raises(ValueError, match="last dimension must be 1"):
        hand_made([0.0]).rollout(torch.zeros(2), torch.zeros(4, 2, 1))
    with pytest.raises(ValueError, match="no rewards"):
        ProbabilisticEnsemble(LINEAR, learn_reward=True).fit(linear_data(50), generator=Generator())


def test_rewards_are_learned_and_stay_in_the_range_of_the_data():
    data = linear_data(2000)
    data = Transitions(
        data.states, data.actions, data.next_states, -data.states[:, 1].square(), None, data.episodes
    )  # fmt: skip
    model, _ = fitted(data, learn_reward=True, steps=500)
    states = torch.tensor([[0.0, 1.0], [0.0, -1.5]])
    rewards = model.rollout(states, torch.zeros(2, 3, 1)).rewards
    assert rewards.shape == (5, 2, 3)
    assert torch.allclose(rewards[:, :, 0].mean(0), torch.tensor([-1.0, -2.25]), atol=0.3)
    far = model.rollout(torch.tensor([0.0, 50.0]), torch.zeros(1, 3, 1)).rewards
    assert far.min() >= data.rewards.min()
    assert far.max() <= 0


def test_the_end_of_an_episode_is_learned_and_lasts():
    data = linear_data(3000)
    data = Transitions(
        data.states, data.actions, data.next_states, None, data.states[:, 0] > 1.0, data.episodes
    )  # fmt: skip
    model, _ = fitted(data, learn_termination=True, steps=400)
    states = torch.tensor([[0.2, 0.0], [2.0, 0.0]])
    alive = model.rollout(states, torch.zeros(2, 4, 1)).alive
    assert alive.shape == (5, 2, 5)
    assert alive[:, 0, :2].all()
    assert alive[:, 1, 0].all()
    assert not alive[:, 1, 1:].any()
    returning = model.rollout(torch.tensor([1.5, -2.5]), torch.zeros(1, 8, 1))
    assert (returning.states[:, 0, -1, 0] < 0.8).all()
    assert not returning.alive[:, 0, -1].any(), "an episode that ended went on"


def test_a_single_network_is_a_model_too():
    model, report = fitted(linear_data(500), members=1, particles=3, steps=50)
    rollout = model.rollout(torch.zeros(2), torch.zeros(4, 3, 1), generator=Generator())
    assert rollout.states.shape == (3, 4, 4, 2)
    assert rollout.members is None
    assert report.elites == (0,)


def test_a_deterministic_single_network_has_one_particle_and_its_squared_error():
    model, _ = fitted(linear_data(1000, noise=torch.zeros(2)), members=1, head="deterministic", steps=400)
    rollout = model.rollout(torch.tensor([1.0, 0.0]), torch.ones(4, 1, 1), generator=Generator())
    assert rollout.states.shape == (1, 4, 2, 2)
    expected = linear_step(torch.tensor([1.0, 0.0]), torch.ones(1))
    assert torch.allclose(rollout.states[0, 0, 1], expected, atol=0.05)


def test_the_work_of_a_step_counts_every_product():
    spec = StateSpec(("x", "v"), action_size=1)
    model = ProbabilisticEnsemble(spec, members=2, particles=4, hidden=(10,), head="deterministic")
    assert model.flops_per_step(candidates=3) == 3 * 4 * 2 * (3 * 10 + 10 * 2)
