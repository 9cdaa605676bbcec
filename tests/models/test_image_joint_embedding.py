import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, draw, move, picture, wander

from models.image.encoders import ImageEncoder
from models.image.frames import ImageSpec
from models.image.joint_embedding import JointEmbedding
from models.image.latent_heads import bootstrap_weights
from models.image.sigreg import sigreg
from models.image.temporal_distance import SCALE, TemporalDistance, fit_temporal_distance

SMALL = {
    "latent_size": 2, "stack": 1, "heads": 3, "hidden": (48, 48), "widths": (8, 16), "batch_size": 64, "unroll": 2,
    "learning_rate": 3e-3, "first_steps": 400, "far_unroll": 5, "far_steps": 150, "distance_steps": 300,
    "policy_steps": 300, "mixed_precision": False,
}  # fmt: skip


@cache
def fitted() -> JointEmbedding:
    data, _ = wander(60, 20, seed=0)
    model = JointEmbedding(SPEC, **SMALL)  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    return model


def test_gaussian_latents_are_left_alone_and_collapsed_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(512, 8, generator=generator)

    def statistic(latents: torch.Tensor) -> float:
        return float(sigreg(latents, directions=64, generator=generator))

    usual = statistic(normal)
    assert usual < 3
    assert statistic(torch.zeros(512, 8)) > 50 * usual
    assert statistic(3 * normal) > 20 * usual
    assert statistic(normal + 1.0) > 20 * usual
    half = torch.cat([normal[:, :4], torch.zeros(512, 4)], -1)
    assert statistic(half) > 5 * usual


def test_the_regulariser_can_be_followed_downhill_to_a_gaussian() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = (0.1 * torch.randn(128, 2, generator=generator) + 2.0).requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.1)
    for _ in range(100):
        adam.zero_grad()
        sigreg(latents, directions=16, generator=generator).backward()
        adam.step()
    assert latents.detach().mean(0).abs().max() < 0.2
    assert (latents.detach().std(0) - 1).abs().max() < 0.3


def test_the_world_of_the_dot_is_predicted_far_better_than_by_standing_still() -> None:
    model = fitted()
    data, positions = wander(20, 20, seed=1)
    report = model.calibrate(data, horizon=5)
    assert report.one_step_rmse < 0.5
    assert report.h_step_rmse < 1.0
    assert report.horizon == 5
    latents = model.encode(data)
    features = torch.cat([latents, latents**2, latents**3, torch.ones(len(positions), 1)], -1)
    read = torch.linalg.lstsq(features[:200], positions[:200]).solution
    assert ((features[200:] @ read - positions[200:]).var(0) / positions.var(0)).max() < 0.1


def test_distance_grows_with_the_time_to_the_goal() -> None:
    model = fitted()
    goal = torch.tensor([[12.0, 12.0]])
    there = model.encode_goal({"camera": picture(draw(goal)[0])})
    line = torch.linspace(0, 1, 6).unsqueeze(-1) * torch.tensor([[-9.0, -9.0]]) + goal
    distances = torch.stack([
        model.distance(model.encode_goal({"camera": picture(frame)}), there) for frame in draw(line)
    ])  # fmt: skip
    assert distances[0] < 0.1
    assert (distances.diff() > 0).all()


def test_distance_is_time_and_a_share_of_that_between_latents() -> None:
    generator = torch.Generator().manual_seed(0)
    states, goal = torch.randn(3, 4, 2, generator=generator), torch.randn(2, generator=generator)
    default, time, latent = (
        JointEmbedding(SPEC, **SMALL | change)  # type: ignore[arg-type]
        for change in ({}, {"latent_weight": 0.0}, {"distance_steps": 0})
    )
    expected = time.distance(states, goal) + 0.25 * latent.distance(states, goal)
    torch.testing.assert_close(default.distance(states, goal), expected)


def test_planning_by_shooting_brings_the_dot_to_the_goal() -> None:
    model, generator = fitted(), torch.Generator().manual_seed(2)
    goals = torch.tensor([[12.0, 3.0], [3.0, 11.0]])
    for goal in goals:
        at = torch.tensor([[7.0, 7.0]])
        there = model.encode_goal({"camera": picture(draw(goal[None])[0])})
        state, memory = model.observe({"camera": picture(draw(at)[0])}, None, None)
        for _ in range(12):
            actions = 2 * torch.rand(128, 5, 2, generator=generator) - 1
            cost = model.distance(model.rollout(state, actions).states[:, :, 1:], there).mean(0).sum(-1)
            at = move(at, actions[cost.argmin(), :1])
            state, memory = model.observe({"camera": picture(draw(at)[0])}, memory, None)
        assert (at - goal).norm() < 2.0


def test_frames_seen_one_by_one_give_the_states_of_the_recording() -> None:
    model = JointEmbedding(SPEC, **(SMALL | {"stack": 3}))  # type: ignore[arg-type]
    data, _ = wander(1, 6, seed=3)
    memory, states = None, []
    for frame in data.frames:
        state, memory = model.observe({"camera": picture(frame)}, memory, None)
        states.append(state)
    assert torch.allclose(torch.stack(states), model.encode(data), atol=1e-5)


def test_rollouts_for_planning_are_those_that_gradients_flow_through() -> None:
    model = fitted()
    actions = 2 * torch.rand(4, 6, 2, generator=torch.Generator().manual_seed(0)) - 1
    state = torch.randn(2, generator=torch.Generator().manual_seed(1))
    fast = model.rollout(state, actions)
    slow = model.rollout(state, actions.clone().requires_grad_())
    assert fast.states.shape == (3, 4, 7, 2)
    assert torch.allclose(fast.states, slow.states.detach(), atol=1e-5)
    assert fast.members is not None
    assert fast.members.tolist() == [0, 1, 2]
    slow.states.sum().backward()


def test_what_was_learned_can_be_saved(tmp_path: Path) -> None:
    model = fitted()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = JointEmbedding(SPEC, **SMALL, seed=5)  # type: ignore[arg-type]
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    data, _ = wander(1, 3, seed=4)
    assert torch.equal(model.encode(data), other.encode(data))
    actions = torch.ones(1, 2, 2)
    assert torch.equal(model.rollout(torch.zeros(2), actions).states, other.rollout(torch.zeros(2), actions).states)
    assert other.state_dict()["rows_seen"] == 60 * 20
    smaller = JointEmbedding(SPEC, **(SMALL | {"latent_size": 4}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not fit this model"):
        smaller.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="kind 'ensemble'"):
        smaller.load_state_dict({"kind": "ensemble", "format": 1})


def test_the_same_seed_learns_the_same() -> None:
    data, _ = wander(6, 8, seed=0)
    short = SMALL | {"first_steps": 3, "far_steps": 3, "distance_steps": 3}
    states = []
    for _ in range(2):
        model = JointEmbedding(SPEC, **short)  # type: ignore[arg-type]
        model.fit(data, generator=torch.Generator().manual_seed(0))
        states.append(model.encode(data))
    assert torch.equal(states[0], states[1])


def test_another_scene_is_strange_and_this_one_is_not() -> None:
    model = fitted()
    data, _ = wander(3, 10, seed=6)
    usual = [model.familiarity({"camera": picture(frame)}).strange for frame in data.frames]
    assert sum(usual) <= 1
    inverted = 255 - data.frames[0]
    assert model.familiarity({"camera": picture(inverted)}).strange
    assert model.novelty(model.encode(data)).median() < 2
    assert model.novelty(torch.full((1, 2), 20.0)).item() > 10


def test_imagined_states_are_shown_as_pictures_of_the_data() -> None:
    model = fitted()
    data, positions = wander(1, 10, seed=7)
    shown = model.pictures(model.encode(data))
    brightest = shown.flatten(1).argmax(-1)
    found = torch.stack([brightest % 16, brightest // 16], -1).float()
    assert (found - positions).norm(dim=-1).median() < 2.0


def test_time_apart_is_learned_as_the_shortest_seen() -> None:
    data, _ = wander(40, 20, seed=0)
    line = torch.cat([torch.arange(21.0).view(-1, 1) / 10] * 40)
    head = TemporalDistance(1)
    fit_temporal_distance(head, line, data, steps=500, generator=torch.Generator().manual_seed(0))
    apart = head(torch.tensor([[0.3], [0.3], [0.3]]), torch.tensor([[0.3], [0.8], [1.3]])).detach()
    assert apart[0] < 0.05
    assert apart[1:].tolist() == pytest.approx([5 / SCALE, 10 / SCALE], rel=0.2)


def test_bootstrap_weights_are_the_same_for_a_row_whatever_its_company() -> None:
    rows = torch.arange(10_000)
    weights = bootstrap_weights(rows, 3, seed=1)
    assert torch.equal(bootstrap_weights(rows[50:60], 3, seed=1), weights[:, 50:60])
    assert weights.mean(-1).tolist() == pytest.approx([1.0] * 3, abs=0.05)
    assert not torch.equal(weights[0], weights[1])
    assert bootstrap_weights(rows, 1, seed=1).min() == 1


def test_pictures_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        ImageEncoder(ImageSpec("camera", 24, 24, action_size=1), stack=1, widths=(4, 4, 4), hidden=8, outputs=2)


def test_episodes_that_are_too_short_are_refused() -> None:
    data, _ = wander(3, 1, seed=0)
    with pytest.raises(ValueError, match="0 windows of 3 frames"):
        JointEmbedding(SPEC, **SMALL).fit(data, generator=torch.Generator())  # type: ignore[arg-type]


def test_proprioception_that_a_goal_picture_lacks_is_guessed_from_it() -> None:
    data, positions = wander(60, 20, seed=0)
    data = replace(data, proprioception=positions)
    spec = replace(SPEC, proprioception=(("place", 2),))
    model = JointEmbedding(spec, **SMALL | {"first_steps": 100, "far_steps": 0, "posture_steps": 200})  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    shown, places = wander(2, 10, seed=5)
    spread = model.encode(data).std(0)
    errors = []
    for frame, place in zip(shown.frames, places, strict=True):
        measured = model.encode_goal({"camera": picture(frame), "place": place.numpy()})
        errors.append((model.encode_goal({"camera": picture(frame)}) - measured) / spread)
    assert torch.stack(errors).square().mean().sqrt() < 0.2


def test_the_policy_goes_to_the_goal() -> None:
    model = fitted()
    at, goal = torch.tensor([[4.0, 4.0]]), torch.tensor([[10.0, 7.0]])
    state = model.encode_goal({"camera": picture(draw(at)[0])})
    there = model.encode_goal({"camera": picture(draw(goal)[0])})
    proposed = model.propose(state, there, 8)
    assert proposed is not None
    assert proposed.shape == (8, 2)
    assert proposed.abs().max() <= 1
    for action in proposed:
        at = move(at, action[None])
    assert (at - goal).norm() < 0.5 * (torch.tensor([[4.0, 4.0]]) - goal).norm()
    assert JointEmbedding(SPEC, **SMALL | {"policy_steps": 0}).propose(state, there, 8) is None  # type: ignore[arg-type]


def test_a_picture_without_the_moving_thing_is_strange_though_almost_all_of_it_is_the_same() -> None:
    model = fitted()
    shown = draw(torch.tensor([[7.0, 7.0]]))[0]
    assert not model.familiarity({"camera": picture(shown)}).strange
    empty = torch.full_like(shown, int(shown.flatten().median()))
    assert model.familiarity({"camera": picture(empty)}).pixels > 1
