"""What to do to be somewhere so many steps later: a first guess for a planner."""

import torch
from torch import Generator, Tensor, nn

from models.image.frames import FrameSequences
from models.image.temporal_distance import HORIZON, pairs_in_time


class GoalPolicy(nn.Module):
    """a = π(z, z_g, k): the action that was taken where z_g was seen k steps after z.

    Every pair of states of one episode is an example of how to get from the one to the other. After goal-conditioned
    supervised learning (Ghosh et al. 2021, arXiv:1912.06088), with the time that is left as an input.
    """

    def __init__(self, latent_size: int, action_size: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(2 * latent_size + 1, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, action_size),
        )  # fmt: skip

    def forward(self, states: Tensor, goals: Tensor, remaining: Tensor) -> Tensor:
        """Actions (B, nu) in latents (B, d) towards latents (B, d) that are ``remaining`` (B,) steps away."""
        actions: Tensor = self.network(torch.cat([states, goals, remaining.unsqueeze(-1) / HORIZON], -1))
        return actions


def fit_goal_policy(
    policy: GoalPolicy,
    latents: Tensor,
    data: FrameSequences,
    *,
    steps: int,
    generator: Generator,
    batch: int = 512,
    learning_rate: float = 1e-3,
) -> None:
    """Learn the actions between pairs of one episode, at most ``HORIZON`` steps apart.

    Args:
        policy: what to train.
        latents: (F, d), one for each frame of the data, fixed.
        data: says which frames belong to one episode, and what was done between them.
        steps: gradient steps.
        generator: draws the pairs.
        batch: pairs per step.
        learning_rate: of Adam, falling to zero along half a cosine.
    """
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = pairs_in_time(data, generator)
    actions = data.actions.to(latents.device)
    for _ in range(steps):
        here, apart = (rows.to(latents.device) for rows in draw(batch))
        loss = (policy(latents[here], latents[here + apart], apart) - actions[here]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
