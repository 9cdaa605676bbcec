"""What states earn, by heads that have learned it from different episodes."""

import torch
from torch import Generator, Tensor, nn

from models.image.frames import FrameSequences
from models.image.latent_heads import bootstrap_weights
from models.network import EnsembleNetwork

_HIDDEN = (128, 128)
_BATCH = 256


class RewardHeads(nn.Module):
    """K networks from features of a state to a reward.

    What an episode pays for it often says in one place only, where its target is. Heads that have seen other episodes
    disagree about the places that were never paid for.
    """

    def __init__(self, size: int, features: nn.Module, *, heads: int, seed: int) -> None:
        """Build untrained heads.

        Args:
            size: of a state, d.
            features: what heads see of states (..., d).
            heads: K.
            seed: of the initial weights and the bootstrap.
        """
        super().__init__()
        self.heads, self._seed = heads, seed
        self.features = features
        self.network = EnsembleNetwork(
            members=heads,
            inputs=features(torch.zeros(1, size)).shape[-1],
            hidden=_HIDDEN,
            targets=1,
            logits=0,
            gaussian=False,
            generator=Generator().manual_seed(seed),
        )
        self.statistics: Tensor
        self.register_buffer("statistics", torch.tensor([0.0, 1.0, -torch.inf, torch.inf]))

    @torch.no_grad()
    def adapt(self, rewards: Tensor) -> None:
        """Take mean, spread and range from rewards (F,)."""
        self.statistics.copy_(
            torch.stack([rewards.mean(), rewards.std(correction=0).clamp(min=1e-6), rewards.min(), rewards.max()])
        )

    def forward(self, states: Tensor) -> Tensor:
        """Rewards (K, ...) of states (K, ..., d), within the range seen."""
        rewards = self._normalised(self.features(states)) * self.statistics[1] + self.statistics[0]
        return torch.clamp(rewards, self.statistics[2], self.statistics[3])

    def error(self, states: Tensor, data: FrameSequences, rows: Tensor) -> Tensor:
        """The squared error at states (B, d) of rows (B,), in units of the rewards' spread.

        Rewards are of arriving; a frame that starts an episode has none and does not count.
        """
        return self._error(self.features(states), data, rows)

    def fit(
        self,
        states: Tensor,
        data: FrameSequences,
        held_out: Tensor,
        *,
        steps: int,
        learning_rate: float,
        generator: Generator,
    ) -> None:
        """Train the heads alone.

        Args:
            states: (F, d), which do not change.
            data: the frames that they were made from, with rewards.
            held_out: (F,) true where a frame is not to be learned from.
            steps: gradient steps.
            learning_rate: of Adam.
            generator: draws the batches (a CPU generator).
        """
        rows = (~held_out).nonzero().squeeze(-1)
        seen = self.features(states)
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate, fused=True)
        for _ in range(steps):
            picked = rows[torch.randint(len(rows), (_BATCH,), generator=generator)]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(self._error(seen[picked.to(seen.device)], data, picked))
            optimizer.step()

    def _error(self, seen: Tensor, data: FrameSequences, rows: Tensor) -> Tensor:
        assert data.rewards is not None
        counts = bootstrap_weights(data.episodes[rows].cpu(), self.heads, self._seed).to(seen.device)
        counts = counts * (rows > data.first_rows[rows]).to(seen.device)
        wanted = (data.rewards[rows].to(seen.device) - self.statistics[0]) / self.statistics[1]
        error = (self._normalised(seen.expand(self.heads, -1, -1)) - wanted).square()
        mean: Tensor = (error * counts).sum() / counts.sum().clamp(min=1)
        return mean

    def _normalised(self, seen: Tensor) -> Tensor:
        """Rewards (K, ...) in units of their spread, of features (K, ..., f)."""
        means, _, _ = self.network(seen.reshape(self.heads, -1, seen.shape[-1]))
        rewards: Tensor = means.view(seen.shape[:-1])
        return rewards
