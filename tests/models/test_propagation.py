import pytest
import torch
from known_systems import hand_made
from torch import Generator

from models.propagation import assignments, match_moments
from models.uncertainty import split_variance

ZERO = torch.zeros(1)


def still(candidates: int, horizon: int) -> torch.Tensor:
    return torch.zeros(candidates, horizon, 1)


def test_ts_infinity_keeps_members():
    model = hand_made([1.0, -2.0], propagation="tsinf", particles=4)
    rollout = model.rollout(torch.zeros(4, 3, 1), still(3, 5), generator=Generator())
    assert rollout.members.tolist() == [0, 0, 1, 1]
    assert torch.allclose(rollout.states[:, 0, -1, 0], torch.tensor([5.0, 5.0, -10.0, -10.0]))


def test_ts1_changes_members_in_balance():
    model = hand_made([1.0, -1.0], propagation="ts1", particles=4)
    states = model.rollout(ZERO, still(2, 40), generator=Generator().manual_seed(1)).states[:, 0, :, 0]
    steps = states.diff(dim=1)
    assert torch.allclose(steps.sum(0), torch.zeros(40), atol=1e-5)
    assert (steps.abs() == 1).all()
    assert (steps.sum(1).abs() < 40).all()
    assert not torch.equal(steps[0], steps[1])


def test_expectation_has_one_noiseless_particle_per_member():
    model = hand_made([1.0, -2.0, 4.0], std=3.0, propagation="expectation", particles=9)
    rollout = model.rollout(ZERO, still(2, 2), generator=Generator())
    assert torch.allclose(rollout.states[:, 0, -1, 0], torch.tensor([2.0, -4.0, 8.0]))
    assert rollout.members.tolist() == [0, 1, 2]


def test_moment_matching_keeps_mean_and_variance_of_the_mixture():
    model = hand_made([1.0, -3.0], std=0.5, propagation="moment-matching", particles=4000)
    states = model.rollout(ZERO, still(1, 1), generator=Generator().manual_seed(0)).states[:, 0, 1, 0]
    assert states.mean() == pytest.approx(-1.0, abs=0.1)
    assert states.std() == pytest.approx((4 + 0.25) ** 0.5, rel=0.05)
    assert ((states + 1).abs() < 0.5).float().mean() > 0.15, "two separate heaps were not merged into one"


def test_match_moments_of_known_particles():
    particles = torch.tensor([1.0, 3.0]).view(2, 1, 1)
    matched = match_moments(particles, torch.tensor([0.5, -2.0]).view(2, 1, 1))
    assert matched.flatten().tolist() == [2.5, 0.0]


def test_assignments_are_permutations_and_vary():
    order = assignments(30, 6, 3, Generator().manual_seed(0))
    assert torch.equal(order.sort(-1).values, torch.arange(6).expand(30, -1))
    assert len(order.unique(dim=0)) > 20
    turns = assignments(3, 3, 3, None)
    assert turns[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_noise_has_the_predicted_standard_deviation(scale):
    model = hand_made([0.0], std=0.3, scale=scale, particles=5000)
    states = model.rollout(ZERO, still(1, 1), generator=Generator().manual_seed(0)).states
    assert states[:, 0, 1].std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("propagation", ["ts1", "tsinf", "moment-matching"])
def test_noise_does_not_depend_on_the_number_of_candidates(propagation):
    model = hand_made([0.5, -0.5], std=0.3, propagation=propagation, particles=6)
    few, many = (model.rollout(ZERO, still(count, 7), generator=Generator().manual_seed(3)).states for count in (1, 9))
    assert torch.allclose(many, few.expand_as(many), atol=1e-6)


def test_without_a_generator_there_is_no_noise():
    model = hand_made([0.5, -0.5], std=0.3, propagation="tsinf", particles=6)
    states = model.rollout(ZERO, still(1, 2)).states
    assert states[:, 0, -1, 0].tolist() == [1.0, -1.0]


def test_every_particle_may_start_elsewhere():
    model = hand_made([1.0, 2.0], propagation="tsinf")
    start = torch.arange(6.0).view(2, 3, 1)
    states = model.rollout(start, still(3, 1)).states
    assert torch.equal(states[:, :, 0], start)
    assert torch.equal(states[:, :, 1], start + torch.tensor([1.0, 2.0]).view(2, 1, 1))


def test_variance_splits_into_doubt_and_noise():
    model = hand_made([1.0, -1.0], std=0.5, propagation="tsinf", particles=8000)
    rollout = model.rollout(ZERO, still(1, 1), generator=Generator().manual_seed(0))
    groups = [rollout.states[rollout.members == member] for member in range(2)]
    epistemic, aleatoric = split_variance(
        torch.stack([group.mean(0) for group in groups]), torch.stack([group.var(0, correction=0) for group in groups])
    )
    assert epistemic[0, 1, 0] == pytest.approx(1.0, rel=0.05)
    assert aleatoric[0, 1, 0] == pytest.approx(0.25, rel=0.05)
    doubt, noise = split_variance(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 1.5]))
    assert (float(doubt), float(noise)) == (1.0, 1.0)
