import sys
from functools import cache
from pathlib import Path

import torch
from torch.distributions import MultivariateNormal, kl_divergence

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, draw, move, picture, wander

from models.image.e2c import E2C, gaussian_divergence

SMALL = {
    "latent_size": 2, "stack": 1, "hidden": 64, "widths": (8, 16), "batch_size": 64, "first_steps": 400,
    "map_steps": 250, "learning_rate": 3e-3, "mixed_precision": False,
}  # fmt: skip


@cache
def fitted() -> E2C:
    data, _ = wander(60, 20, seed=0)
    model = E2C(SPEC, **SMALL)  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    return model


def test_the_divergence_is_that_of_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 3, 3, generator=generator)
    covariance = root @ root.mT + 0.1 * torch.eye(3)
    mean, other = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    std = 0.5 + torch.rand(5, 3, generator=generator)
    expected = kl_divergence(MultivariateNormal(mean, covariance), MultivariateNormal(other, torch.diag_embed(std**2)))
    assert torch.allclose(gaussian_divergence(mean, covariance, other, std), expected, rtol=1e-4)


def test_the_latent_is_the_dots_place_neither_folded_nor_torn() -> None:
    model = fitted()
    fresh, places = wander(10, 15, seed=1)
    states = torch.cat([model.encode(fresh), torch.ones(len(places), 1)], 1)
    fit = torch.linalg.lstsq(states, places).solution
    assert ((states @ fit - places).square().mean(0) / places.var(0)).max() < 0.05
    seen = fresh.frames.float()
    drawn = model.pictures(model.encode(fresh)).float()
    assert (drawn - seen).square().mean() < 0.8 * (seen - seen.mean(0)).square().mean()
    assert model.calibrate(fresh, horizon=3).one_step_rmse < 0.4


def test_a_step_is_linear_in_the_action_and_gradients_flow() -> None:
    model = fitted()
    actions = torch.tensor([[[0.2, 0.1]], [[0.4, 0.2]], [[0.8, 0.4]]]).requires_grad_()
    states = model.rollout(torch.tensor([0.3, -0.2]), actions).states
    assert states.shape == (1, 3, 2, 2)
    moved = states[0, :, 1]
    assert torch.allclose((moved[2] - moved[1]), 2 * (moved[1] - moved[0]), atol=1e-5)
    moved.sum().backward()
    assert actions.grad is not None
    assert actions.grad.abs().max() > 0


def test_shooting_in_the_latent_brings_the_dot_to_the_goal() -> None:
    model, generator = fitted(), torch.Generator().manual_seed(2)
    goal, at = torch.tensor([11.0, 4.0]), torch.tensor([[6.0, 9.0]])
    there = model.encode_goal({"camera": picture(draw(goal[None])[0])})
    memory = None
    for _ in range(12):
        state, memory = model.observe({"camera": picture(draw(at)[0])}, memory, None)
        actions = 2 * torch.rand(128, 5, 2, generator=generator) - 1
        cost = model.distance(model.rollout(state, actions).states[:, :, 1:], there).mean(0).sum(-1)
        at = move(at, actions[cost.argmin(), :1])
    assert (at - goal).norm() < 2.0
