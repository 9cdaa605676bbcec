import sys
from functools import cache
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, draw, move, picture, wander

from models.image.frames import FrameSequences
from models.image.rate_encoder import RateEncoder
from models.image.solar import SOLAR, QuadraticReward
from models.image.solar_local import fit_local
from models.image.solar_messages import Chain, Potentials, absorb, smooth
from models.image.solar_regression import Moments, Regression

DOUBLE = torch.float64


def positive(generator: torch.Generator, *shape: int) -> torch.Tensor:
    root = torch.randn(*shape, shape[-1], generator=generator, dtype=DOUBLE)
    return root @ root.mT + 0.3 * torch.eye(shape[-1], dtype=DOUBLE)


def test_messages_are_the_posterior_of_one_large_gaussian() -> None:
    generator = torch.Generator().manual_seed(0)
    chains, steps, size = 2, 5, 3

    def draw_normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    chain = Chain(
        draw_normal(size),
        positive(generator, size),
        0.5 * draw_normal(steps - 1, size, size),
        draw_normal(chains, steps - 1, size),
        positive(generator, steps - 1, size),
    )
    evidence = Potentials(positive(generator, chains, steps, size), draw_normal(chains, steps, size))
    found = smooth(chain, evidence)
    pick = torch.eye(steps * size, dtype=DOUBLE).view(steps, size, steps * size)
    links = [pick[0], *(pick[step + 1] - chain.transition[step] @ pick[step] for step in range(steps - 1))]
    spreads = [chain.covariance, *chain.noise]
    for index in range(chains):
        means = [chain.mean, *chain.drift[index]]
        prior_precision = sum(link.T @ torch.linalg.solve(cov, link) for link, cov in zip(links, spreads, strict=True))
        pull = sum(
            link.T @ torch.linalg.solve(cov, mean) for link, cov, mean in zip(links, spreads, means, strict=True)
        )
        prior = torch.distributions.MultivariateNormal(
            torch.linalg.solve(prior_precision, pull), precision_matrix=0.5 * (prior_precision + prior_precision.T)
        )
        observed = torch.block_diag(*evidence.precision[index])
        information = evidence.information[index].flatten()
        covariance = torch.linalg.inv(prior_precision + observed)
        mean = covariance @ (pull + information)
        assert torch.allclose(found.mean[index].flatten(), mean)
        blocks = covariance.view(steps, size, steps, size)
        for step in range(steps):
            assert torch.allclose(found.covariance[index, step], blocks[step, :, step])
        for step in range(steps - 1):
            assert torch.allclose(found.crossed[index, step], blocks[step, :, step + 1])
        potential = -0.5 * mean @ observed @ mean + information @ mean
        posterior = torch.distributions.MultivariateNormal(mean, covariance)
        evidence_here = prior.log_prob(mean) + potential - posterior.log_prob(mean)
        assert torch.allclose(found.log_evidence[index], evidence_here)


def test_a_potential_that_says_nothing_changes_nothing() -> None:
    mean, covariance = torch.tensor([1.0, 2.0], dtype=DOUBLE), torch.eye(2, dtype=DOUBLE)
    zero = torch.zeros(2, 2, dtype=DOUBLE)
    same, spread, gained = absorb(mean, covariance, zero, zero[0])
    assert torch.equal(same, mean)
    assert torch.equal(spread, covariance)
    assert gained == 0


def moments(inputs: torch.Tensor, outputs: torch.Tensor) -> Moments:
    return Moments(inputs.T @ inputs, outputs.T @ inputs, outputs.T @ outputs, torch.tensor(float(len(inputs))))


def test_the_regression_is_ridge_and_its_noise_the_residuals() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 4, generator=generator, dtype=DOUBLE)
    outputs = inputs @ torch.randn(4, 2, generator=generator, dtype=DOUBLE) + 0.1 * torch.randn(
        30, 2, generator=generator, dtype=DOUBLE
    )
    prior = Regression(
        torch.randn(2, 4, generator=generator, dtype=DOUBLE),
        positive(generator, 4),
        positive(generator, 2),
        torch.tensor(5.0, dtype=DOUBLE),
    )
    found = prior.posterior(moments(inputs, outputs))
    root = torch.linalg.cholesky(prior.precision).T
    stacked = torch.cat([inputs, root]), torch.cat([outputs, root @ prior.mean.T])
    expected = torch.linalg.lstsq(*stacked).solution.T
    assert torch.allclose(found.mean, expected)
    residuals, change = outputs - inputs @ expected.T, expected - prior.mean
    assert torch.allclose(found.scale, prior.scale + residuals.T @ residuals + change @ prior.precision @ change.T)
    assert found.dof == 35
    assert torch.allclose(found.precision, prior.precision + inputs.T @ inputs)


def test_data_may_come_in_parts() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs, outputs = (torch.randn(20, size, generator=generator, dtype=DOUBLE) for size in (3, 2))
    prior = Regression(
        torch.zeros(2, 3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE), torch.tensor(4.0)
    )
    at_once = prior.posterior(moments(inputs, outputs))
    parts = prior.posterior(moments(inputs[:7], outputs[:7])).posterior(moments(inputs[7:], outputs[7:]))
    assert torch.allclose(at_once.mean, parts.mean)
    assert torch.allclose(at_once.scale, parts.scale)


def follow_gains(
    matrix: torch.Tensor, rollouts: int, generator: torch.Generator, noise: float
) -> tuple[torch.Tensor, torch.Tensor, Potentials]:
    """States (B, H + 1, 2), actions (B, H, 1) and evidence of x' = matrix_t [x; u] + 0.05, u = [0.3, -0.4] x + 0.2."""
    gain = torch.tensor([[0.3, -0.4]], dtype=DOUBLE)
    states = [torch.tensor([1.0, -1.0], dtype=DOUBLE) + torch.randn(rollouts, 2, generator=generator, dtype=DOUBLE)]
    actions = []
    for now in matrix:
        drawn = torch.randn(rollouts, 1, generator=generator, dtype=DOUBLE)
        actions.append(states[-1] @ gain.T + 0.2 + 0.5 * drawn)
        pushed = noise * torch.randn(rollouts, 2, generator=generator, dtype=DOUBLE)
        states.append(torch.cat([states[-1], actions[-1]], 1) @ now.T + 0.05 + pushed)
    seen = torch.stack(states, 1)
    precision = 1e4 * torch.eye(2, dtype=DOUBLE).expand(rollouts, len(matrix) + 1, 2, 2)
    return seen, torch.stack(actions, 1), Potentials(precision, (precision @ seen.unsqueeze(-1)).squeeze(-1))


def stay() -> Regression:
    return Regression(
        torch.eye(2, 4, dtype=DOUBLE), 0.01 * torch.eye(4, dtype=DOUBLE), 0.01 * torch.eye(2, dtype=DOUBLE),
        torch.tensor(4.0, dtype=DOUBLE),
    )  # fmt: skip


def test_dynamics_and_behaviour_of_rollouts_are_recovered() -> None:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.tensor([[1.0, 0.1, 0.5], [-0.2, 0.9, 1.0]], dtype=DOUBLE).expand(4, 2, 3)
    seen, actions, evidence = follow_gains(matrix, 200, generator, noise=0.01)
    found = fit_local(stay(), actions, evidence, rounds=5)
    assert torch.allclose(found.matrix, matrix, atol=0.02)
    assert torch.allclose(found.offset, torch.full((4, 2), 0.05, dtype=DOUBLE), atol=0.02)
    assert torch.allclose(found.initial_mean, seen[:, 0].mean(0), atol=0.01)
    assert torch.allclose(found.policy_gains, torch.tensor([[0.3, -0.4]], dtype=DOUBLE).expand(4, 1, 2), atol=0.15)
    assert torch.allclose(found.policy_covariance.flatten(), torch.full((4,), 0.25, dtype=DOUBLE), atol=0.06)


def test_a_few_noisy_rollouts_are_enough_for_dynamics_that_change_slowly() -> None:
    generator = torch.Generator().manual_seed(3)
    turning = torch.linspace(0, 0.5, 30, dtype=DOUBLE)
    matrix = torch.tensor([[0.9, 0.1, 0.5], [-0.1, 0.9, 1.0]], dtype=DOUBLE).repeat(30, 1, 1)
    matrix[:, 0, 2] += turning
    _, actions, evidence = follow_gains(matrix, 6, generator, noise=0.3)
    found = fit_local(stay(), actions, evidence, rounds=5)
    wrong = (found.matrix - matrix)[..., 2]
    assert wrong.square().mean().sqrt() < 0.2
    assert float(torch.corrcoef(torch.stack([found.matrix[:, 0, 2], turning]))[0, 1]) > 0.5


def test_first_codes_are_principal_components_and_rates_their_changes() -> None:
    frames = wander(20, 10, seed=4)[0].frames
    encoder = RateEncoder(SPEC, stack=2, hidden=8, size=6)
    encoder.adapt(frames, torch.zeros(len(frames), 0))
    encoder.eval()
    with torch.no_grad():
        codes = encoder(frames.unsqueeze(1).expand(-1, 2, -1, -1, -1), torch.zeros(len(frames), 0))
        moved = encoder(torch.stack([frames[:-1], frames[1:]], 1), torch.zeros(len(frames) - 1, 0))
    assert torch.allclose(codes[:, :3].T.cov(), torch.eye(3), atol=1e-3)
    assert torch.allclose(codes[:, :3].mean(0), torch.zeros(3), atol=1e-3)
    assert torch.equal(codes[:, 3:6], torch.zeros(len(frames), 3))
    assert torch.allclose(moved[:, :3], codes[1:, :3], atol=1e-5)
    change = codes[1:, :3] - codes[:-1, :3]
    assert torch.allclose(moved[:, 3:6], change * (moved[0, 3] / change[0, 0]), atol=1e-3)
    assert (codes[:, 6:] > 0).all()


@pytest.mark.parametrize(("stack", "size", "said"), [(3, 6, "sees 1 frame, or 2"), (2, 5, "multiple of 2")])
def test_states_that_cannot_be_codes_and_rates_are_refused(stack: int, size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SOLAR(SPEC, latent_size=size, stack=stack)


def test_a_quadratic_reward_is_recovered() -> None:
    generator = torch.Generator().manual_seed(5)
    states = torch.randn(200, 3, generator=generator, dtype=DOUBLE)
    best, curved = torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE), positive(generator, 3)
    apart = states - best
    rewards = 4 - 0.5 * ((apart @ curved) * apart).sum(-1)
    found = QuadraticReward(3)
    found.fit(states, rewards)
    assert torch.allclose(found.best.double(), best, atol=1e-3)
    assert torch.allclose((found.root @ found.root.T).double(), curved, atol=1e-3)


START, GOAL, LENGTH = torch.tensor([[5.0, 5.0]]), torch.tensor([[8.0, 7.0]]), 10


def rollouts(count: int, seed: int) -> FrameSequences:
    """Random motion from the start, rewarded with the negative squared distance to the goal."""
    generator = torch.Generator().manual_seed(seed)
    episodes = []
    for number in range(count):
        places, actions = [START], []
        for _ in range(LENGTH):
            actions.append(2 * torch.rand(1, 2, generator=generator) - 1)
            places.append(move(places[-1], actions[-1]))
        actions.append(torch.zeros(1, 2))
        at = torch.cat(places)
        episodes.append(
            FrameSequences(
                draw(at),
                torch.zeros(LENGTH + 1, 0),
                torch.cat(actions),
                -(at - GOAL).square().sum(-1),
                torch.full((LENGTH + 1,), number),
            )
        )
    return FrameSequences.concatenate(episodes)


@cache
def fitted() -> SOLAR:
    model = SOLAR(
        SPEC, latent_size=3, stack=1, local_rollouts=10, first_steps=120, batch_size=12, unroll=4, learning_rate=3e-3,
        learn_reward=True, mixed_precision=False,
    )  # fmt: skip
    model.fit(rollouts(15, seed=0), generator=torch.Generator().manual_seed(0))
    return model


def test_rewards_are_quadratic_in_the_latent() -> None:
    model, new = fitted(), rollouts(10, seed=1)
    assert new.rewards is not None
    errors = model.reward(model.encode(new)) - new.rewards
    assert errors.square().mean() < 0.1 * new.rewards.var()
    assert not model.reward(model.encode(new)).requires_grad


def test_rewards_that_were_not_recorded_are_missed() -> None:
    model = SOLAR(SPEC, latent_size=3, stack=1, learn_reward=True, first_steps=1, unroll=4)
    with pytest.raises(ValueError, match="the frames have no rewards"):
        model.fit(wander(4, 8, seed=0)[0], generator=torch.Generator().manual_seed(0))


def test_states_are_filtered_and_pictures_drawn() -> None:
    model = fitted()
    first, memory = model.observe({"camera": picture(draw(START)[0])}, None, None)
    assert (first - model.local.initial_mean).norm() < 1.0
    at = move(START, torch.tensor([[1.0, 1.0]]))
    second, memory = model.observe({"camera": picture(draw(at)[0])}, memory, torch.tensor([1.0, 1.0]))
    assert memory[3] == 1
    seen = draw(at).float()
    assert (model.pictures(second[None]) - seen).square().mean() < (draw(START).float() - seen).square().mean()
    assert model.local.matrix.shape == (LENGTH, 3, 5)


def test_a_checkpoint_holds_the_local_dynamics() -> None:
    model = fitted()
    again = SOLAR(SPEC, latent_size=3, stack=1)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.local.matrix, model.local.matrix)
    goal = {"camera": picture(draw(GOAL)[0])}
    assert torch.equal(again.encode_goal(goal), model.encode_goal(goal))
