import torch
from torch import nn

from models.image.frames import FrameSequences
from models.image.reward_heads import RewardHeads


def episodes(rewards: torch.Tensor, steps: int) -> FrameSequences:
    """Episodes of so many steps that earn the same reward (E,) at each."""
    count = len(rewards) * steps
    return FrameSequences(
        frames=torch.zeros(count, 1, 4, 4, dtype=torch.uint8),
        proprioception=torch.zeros(count, 0),
        actions=torch.zeros(count, 1),
        rewards=rewards.repeat_interleave(steps),
        episodes=torch.arange(len(rewards)).repeat_interleave(steps),
    )


def fitted(states: torch.Tensor, rewards: torch.Tensor) -> RewardHeads:
    heads = RewardHeads(2, nn.Identity(), heads=8, seed=0)
    data = episodes(rewards, 4)
    heads.adapt(rewards)
    held_out = torch.zeros(len(rewards) * 4, dtype=torch.bool)
    seen = states.repeat_interleave(4, 0)
    generator = torch.Generator().manual_seed(0)
    heads.fit(seen, data, held_out, steps=200, learning_rate=3e-3, generator=generator)
    return heads


def test_heads_agree_where_many_episodes_were_and_disagree_where_one_was() -> None:
    crowded, lonely = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])
    states = torch.cat([crowded.expand(20, -1), lonely.expand(1, -1), torch.tensor([[0.0, 2.0]]).expand(20, -1)])
    rewards = torch.cat([torch.ones(21), torch.zeros(20)])
    heads = fitted(states, rewards)
    at = heads(torch.stack([crowded, lonely]).expand(8, -1, -1)).detach()
    assert at[:, 0].mean() > 0.9
    assert at[:, 0].std() < 0.05
    assert at[:, 1].std() > 0.1


def test_rewards_are_between_those_seen() -> None:
    states = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    heads = fitted(states.repeat(10, 1), torch.tensor([2.0, 3.0]).repeat(10))
    far = heads(torch.tensor([[-90.0, 0.0], [90.0, 0.0]]).expand(8, -1, -1))
    assert far.min() >= 2.0
    assert far.max() <= 3.0


def test_a_frame_that_starts_an_episode_is_not_paid_for() -> None:
    heads = RewardHeads(2, nn.Identity(), heads=1, seed=0)
    data = episodes(torch.ones(2), 4)
    heads.adapt(torch.zeros(3))
    rows = torch.tensor([0, 4])
    assert heads.error(torch.zeros(2, 2), data, rows) == 0
    assert heads.error(torch.zeros(2, 2), data, rows + 1) > 0
