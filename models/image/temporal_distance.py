"""How many steps apart two latent states are: a distance to plan with."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from models.image.frames import FrameSequences

HORIZON = 30
"""Steps between two states of one episode that are compared, at most."""

SCALE = 10.0
"""Steps that make a distance of 1, so that it saturates near HORIZON / SCALE."""

EXPECTILE = 0.9
"""Weight of over-estimates, so that of several times between two states the shortest wins."""

APART, FAR = 0.1, 4.0
"""How strongly states of different moments are pushed apart, and how far. Without it states look near that no path
joins: a wrist at one end of its range and at the other make similar pictures, and plans stop at the wrong end."""


class TemporalDistance(nn.Module):
    """d(x, g) = ‖φ(z_x) − φ(z_g)‖, which learns the time between states of the same episode.

    Euclidean distances between latents leave planners in local minima; time does not. What is not known to be
    near is pushed apart, as in quasimetric reinforcement learning (Wang et al. 2023, arXiv:2304.01203). It is
    symmetric: where time cannot run backwards (gravity, pushing) it is only as good as that.
    """

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        first, second, third, last = self.layer_sizes(latent_size)
        self.embed = nn.Sequential(
            nn.Linear(first, second), nn.SiLU(inplace=True),
            nn.Linear(second, third), nn.SiLU(inplace=True),
            nn.Linear(third, last),
        )  # fmt: skip

    @staticmethod
    def layer_sizes(latent_size: int) -> tuple[int, int, int, int]:
        """Widths of φ from the latent to the embedding."""
        return latent_size, 128, 128, 32

    def forward(self, states: Tensor, goals: Tensor) -> Tensor:
        """Distances (...) of latent states (..., d) from goals, which are broadcast against them."""
        embedded = self.embed(states.reshape(-1, states.shape[-1])).view(*states.shape[:-1], -1)
        distances: Tensor = torch.linalg.vector_norm(embedded - self.embed(goals), dim=-1)
        return distances


def pairs_in_time(data: FrameSequences, generator: Generator) -> Callable[[int], tuple[Tensor, Tensor]]:
    """What draws random pairs of one episode: rows (B,), and how many steps later the others are (B,), 1 to HORIZON."""
    starts = data.windows(2).cpu()
    ends = (data.episodes[1:] != data.episodes[:-1]).nonzero().squeeze(-1).cpu()
    last_rows = torch.cat([ends, torch.tensor([len(data.episodes) - 1])])
    remaining = last_rows[torch.searchsorted(last_rows, starts)] - starts

    def draw(batch: int) -> tuple[Tensor, Tensor]:
        picked = torch.randint(len(starts), (batch,), generator=generator)
        longest = remaining[picked].clamp(max=HORIZON)
        apart = 1 + (torch.rand(batch, generator=generator) * longest).long().clamp(max=HORIZON - 1)
        return starts[picked], apart

    return draw


def fit_temporal_distance(
    head: TemporalDistance,
    latents: Tensor,
    data: FrameSequences,
    *,
    steps: int,
    generator: Generator,
    batch: int = 512,
    learning_rate: float = 1e-3,
) -> float:
    """Learn from random pairs of one episode, by expectile regression on the time between them.

    Pairs of any episodes are pushed apart at the same time, more weakly.

    Args:
        head: what to train.
        latents: (F, d), one for each frame of the data, fixed.
        data: says which frames belong to one episode.
        steps: gradient steps.
        generator: draws the pairs.
        batch: pairs per step.
        learning_rate: of Adam, falling to zero along half a cosine.

    Returns:
        the mean loss over the last tenth of the steps.
    """
    optimizer = torch.optim.Adam(head.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = pairs_in_time(data, generator)
    losses = []
    for _ in range(steps):
        here, apart = (rows.to(latents.device) for rows in draw(batch))
        there = here + apart
        error = head(latents[here], latents[there]) - apart / SCALE
        loss = (torch.where(error > 0, EXPECTILE, 1 - EXPECTILE) * error.square()).mean()
        others = there[torch.randperm(batch, generator=generator).to(there.device)]
        loss = loss + APART * (FAR - head(latents[here], latents[others])).clamp(min=0).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    tail = losses[-max(1, steps // 10) :]
    return sum(tail) / len(tail)
