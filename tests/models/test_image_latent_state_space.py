import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SIZE, SPEC, picture, wander

from models.image.frames import FrameSequences
from models.image.latent_state_space import LatentStateSpace

SMALL = {
    "latent_size": 2, "stack": 1, "heads": 2, "hidden": (48, 48), "widths": (8, 16), "batch_size": 32, "unroll": 2,
    "learning_rate": 3e-3, "first_steps": 150, "far_steps": 150, "distance_steps": 0, "mixed_precision": False,
    "learn_reward": True,
}  # fmt: skip


def rewarded(episodes: int, seed: int) -> tuple[FrameSequences, torch.Tensor]:
    """The dot earns how far right it is."""
    data, positions = wander(episodes, 15, seed)
    rewards = positions[:, 0] / SIZE
    rewards[data.first_rows == torch.arange(len(rewards))] = 0.0
    return replace(data, rewards=rewards), positions


def settings(encoding: str) -> dict[str, object]:
    longer = {"unroll": 4, "batch_size": 24, "first_steps": 300}
    return SMALL | {"encoding": encoding} | (longer if encoding == "recurrent" else {})


@pytest.mark.parametrize("encoding", ["deterministic", "stochastic", "recurrent"])
def test_pictures_rewards_and_what_actions_do_are_learned_together(encoding: str) -> None:
    data, _ = rewarded(60, seed=0)
    model = LatentStateSpace(SPEC, **settings(encoding))  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    fresh, positions = rewarded(10, seed=1)
    states = model.encode(fresh)
    seen = fresh.frames.float()
    unexplained = (model.pictures(states).float() - seen).square().mean() / (seen - seen.mean(0)).square().mean()
    assert unexplained < 0.8
    assert model.calibrate(fresh, horizon=3).one_step_rmse < 0.75
    starts = fresh.windows(4)
    actions = fresh.actions[starts.unsqueeze(-1) + torch.arange(3)]
    rollout = model.rollout(states[starts], actions)
    assert rollout.rewards is not None
    assert rollout.rewards.shape == (2, len(starts), 3)
    error = (rollout.rewards.mean(0)[:, -1] - positions[starts + 3, 0] / SIZE).square().mean()
    assert error < 0.3 * (positions[:, 0] / SIZE).var()


@pytest.mark.parametrize("encoding", ["stochastic", "recurrent"])
def test_frames_seen_one_by_one_give_the_states_of_the_recording(encoding: str) -> None:
    model = LatentStateSpace(SPEC, **(settings(encoding) | {"stack": 2}))  # type: ignore[arg-type]
    data, _ = wander(2, 6, seed=3)
    memory, states = None, []
    for row, frame in enumerate(data.frames):
        beginning = row in (0, 7)
        memory = None if beginning else memory
        state, memory = model.observe({"camera": picture(frame)}, memory, None if beginning else data.actions[row - 1])
        states.append(state)
    assert torch.allclose(torch.stack(states), model.encode(data), atol=1e-5)


def test_a_recurrent_state_depends_on_what_was_seen_before() -> None:
    model = LatentStateSpace(SPEC, **settings("recurrent"))  # type: ignore[arg-type]
    data, _ = wander(1, 3, seed=0)
    alone, _ = model.observe({"camera": picture(data.frames[2])}, None, None)
    assert not torch.allclose(alone, model.encode(data)[2], atol=1e-3)


def test_rewards_stay_within_what_was_seen() -> None:
    data, _ = rewarded(4, seed=0)
    model = LatentStateSpace(SPEC, **(settings("stochastic") | {"first_steps": 2}))  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    assert data.rewards is not None
    rewards = model.rollout(torch.full((2,), 50.0), torch.ones(1, 3, 2)).rewards
    assert rewards is not None
    assert rewards.min() >= data.rewards.min()
    assert rewards.max() <= data.rewards.max()


def test_rewards_that_are_not_there_cannot_be_learned() -> None:
    data, _ = wander(4, 6, seed=0)
    with pytest.raises(ValueError, match="no rewards"):
        LatentStateSpace(SPEC, **settings("stochastic")).fit(data, generator=torch.Generator())  # type: ignore[arg-type]


def test_what_was_learned_can_be_saved() -> None:
    data, _ = rewarded(4, seed=0)
    model = LatentStateSpace(SPEC, **(settings("recurrent") | {"first_steps": 2}))  # type: ignore[arg-type]
    model.fit(data, generator=torch.Generator().manual_seed(0))
    other = LatentStateSpace(SPEC, **(settings("recurrent") | {"seed": 4}))  # type: ignore[arg-type]
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.encode(data), model.encode(data))
    actions = torch.ones(1, 3, 2)
    one, two = (each.rollout(torch.zeros(2), actions) for each in (model, other))
    assert one.rewards is not None
    assert two.rewards is not None
    assert torch.equal(one.rewards, two.rewards)
