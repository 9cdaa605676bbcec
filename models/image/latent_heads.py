"""Bootstrap heads that move a latent state, and rollouts with them."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from models.dynamics import Rollout
from models.image.frames import FrameSequences
from models.inference import FrozenNetwork, Precision
from models.network import EnsembleNetwork
from models.normalizer import Normalizer
from models.split import uniform_hash

_BATCH = 128


class LatentHeads(nn.Module):
    """K networks that each predict ẑ' = ẑ + f_k(ẑ, a); head k moves particle k, so P = K."""

    def __init__(
        self, latent_size: int, action_size: int, *, heads: int, hidden: tuple[int, ...], generator: Generator
    ) -> None:
        super().__init__()
        self.latent_size, self.action_size, self.heads = latent_size, action_size, heads
        self.network = EnsembleNetwork(
            members=heads,
            inputs=latent_size + action_size,
            hidden=hidden,
            targets=latent_size,
            logits=0,
            gaussian=False,
            generator=generator,
        )
        self._frozen: FrozenNetwork | None = None

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The next latents (K, B, d) of latents (K, B, d) and actions (B, nu), through which gradients flow."""
        change, _, _ = self.network(torch.cat([latents, actions.expand(len(latents), -1, -1)], -1))
        following: Tensor = latents + change
        return following

    def flops_per_row(self) -> float:
        """Floating point operations of one step of one candidate by all heads."""
        return float(self.heads * sum(2 * weight.shape[1] * weight.shape[2] for weight in self.network.weights))

    def thaw(self) -> None:
        """Forget the copy of the weights that rollouts use; to be called whenever weights change."""
        self._frozen = None

    def rollout(self, state: Tensor, actions: Tensor, precision: Precision) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics.rollout``.

        Gradients flow to actions and state where they are required, then in float32.
        """
        start = state.float().expand(self.heads, len(actions), self.latent_size)
        actions = actions.float()
        if torch.is_grad_enabled() and (actions.requires_grad or state.requires_grad):
            steps = [start]
            for step in range(actions.shape[1]):
                steps.append(self(steps[-1], actions[:, step]))
            states = torch.stack(steps, 2)
        else:
            with torch.no_grad():
                states = self._roll_out_fast(start, actions, precision)
        return Rollout(states, members=torch.arange(self.heads, device=states.device))

    def _roll_out_fast(self, start: Tensor, actions: Tensor, precision: Precision) -> Tensor:
        frozen = self._freeze(precision)
        horizon, size = actions.shape[1], self.latent_size
        states = start.new_empty((horizon + 1, *start.shape))
        states[0] = start
        inputs = frozen.empty_inputs(self.heads, len(actions))
        for step in range(horizon):
            inputs[..., :size] = states[step]
            inputs[..., size:] = actions[:, step]
            for part, raw in frozen.evaluate(inputs):
                torch.add(states[step][part], raw, out=states[step + 1][part])
        return states.permute(1, 2, 0, 3)

    def _freeze(self, precision: Precision) -> FrozenNetwork:
        if self._frozen is None:
            device = self.network.weights[0].device
            self._frozen = FrozenNetwork(
                self.network,
                torch.arange(self.heads, device=device),
                Normalizer.identity(self.latent_size + self.action_size, device),
                Normalizer.identity(self.latent_size, device),
                predicts_reward=False,
                precision=precision,
            )
        return self._frozen


def prediction_loss(heads: LatentHeads, latents: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    """How far the heads' open-loop predictions are from what happened.

    Args:
        heads: K of them.
        latents: (H + 1, B, d) in the order of time.
        actions: (B, at least H, nu).
        weights: (K, B), see ``bootstrap_weights``.

    Returns:
        the squared error, averaged over steps, windows, heads and columns.
    """
    predicted = latents[0].expand(heads.heads, -1, -1)
    errors = []
    for step in range(len(latents) - 1):
        predicted = heads(predicted, actions[:, step])
        errors.append((predicted - latents[step + 1]).square().mean(-1))
    return (torch.stack(errors).mean(0) * weights).mean()


@dataclass(frozen=True)
class FarFit:
    """How heads are trained alone, far ahead, on latents that do not change.

    Attributes:
        unroll: predicted steps per window, fewer where the longest episode is shorter.
        steps: gradient steps; 0 leaves it out.
        learning_rate: of Adam, falling to zero along half a cosine.
        seed: of the bootstrap.
    """

    unroll: int
    steps: int
    learning_rate: float
    seed: int

    def fit(
        self, heads: LatentHeads, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator
    ) -> None:
        """Train them; nothing happens where no episode is left to learn from.

        Args:
            heads: what to train.
            latents: (F, d).
            data: the frames that they were made from, with the actions after each.
            held_out: (F,) true where a frame is not to be learned from.
            generator: draws the batches.
        """
        if not self.steps:
            return
        longest = int(torch.unique_consecutive(data.episodes, return_counts=True)[1].max()) - 1
        unroll = min(self.unroll, longest)
        starts = data.windows(unroll + 1).cpu()
        starts = starts[~held_out[starts]]
        if not len(starts):
            return
        actions = data.actions.to(latents.device)
        optimizer = torch.optim.Adam(heads.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            picked = starts[torch.randint(len(starts), (_BATCH,), generator=generator)]
            rows = (picked.unsqueeze(-1) + torch.arange(unroll + 1)).to(latents.device)
            weights = bootstrap_weights(picked, heads.heads, self.seed).to(latents.device)
            loss = prediction_loss(heads, latents[rows].transpose(0, 1), actions[rows], weights)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(heads.parameters(), 10.0)
            optimizer.step()
            schedule.step()


def bootstrap_weights(rows: Tensor, heads: int, seed: int) -> Tensor:
    """(K, B) how often each row counts for each head: Poisson with mean 1, the same at every call.

    Sampling with replacement tends to this, and a row's count does not change when rows are added.
    """
    if heads == 1:
        return torch.ones(1, len(rows))
    counts = torch.arange(9, dtype=torch.float64)
    cumulative = torch.exp(-1 - torch.lgamma(counts + 1)).cumsum(0)
    draws = torch.stack([uniform_hash(rows, seed + 1 + head) for head in range(heads)])
    return torch.searchsorted(cumulative, draws, right=True).float()
