"""The latent state-space model: an encoder, latent dynamics, and decoders of pictures and rewards, learned jointly.

Maximises E[log p(s'|s, a) + log p(o|s) + log p(r|s)] over the states that the encoder gives, as in S. Levine,
CS 285, "Model-based reinforcement learning": with a deterministic encoder s = g(o), or with a stochastic one
q(s|o) by variational inference, where the entropy of q is added; pictures are one frame, a stack, or all so far
through a recurrent posterior q(s_t | o_1:t, a_1:t). Then dynamics and rewards are trained on alone, on states that
no longer change.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.checks import require
from models.dynamics import Rollout
from models.fitting import FitReport, Progress
from models.image.decoders import Decoder, ImageDecoder
from models.image.encoders import FrameEncoder
from models.image.frames import FrameSequences, ImageSpec
from models.image.image_model import ImageModel
from models.image.keypoints import KeypointDecoder, KeypointEncoder, PointDistances
from models.image.latent_heads import FarFit, LatentHeads, bootstrap_weights
from models.image.pyramid import stack_error
from models.image.rate_encoder import RateEncoder
from models.image.reward_heads import RewardHeads
from models.image.temporal_distance import TemporalDistance, fit_temporal_distance
from models.inference import Precision

Encoding = Literal["deterministic", "stochastic", "recurrent"]
Features = Literal["codes", "keypoints"]
_SMALLEST_STD = 0.05
_MEMORY = 128


class LatentStateSpace(ImageModel):
    """Latent states that pictures and rewards can be read off, moved by K bootstrap heads.

    The prediction error of every head is the likelihood of a Gaussian with a learned spread in each dimension. Pictures
    are seen and compared at several scales. A state is a code of the newest frame and how the code has changed since
    the frame before, and both frames are drawn: what moves how fast shows little, and a state that does not hold it
    cannot be predicted.
    """

    kind = "latent-state-space"
    shown_as = "as the decoder draws it"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_size: int = 16,
        encoding: Encoding = "stochastic",
        features: Features = "codes",
        stack: int = 2,
        heads: int = 4,
        hidden: tuple[int, ...] = (200, 200),
        widths: tuple[int, ...] = (32, 64, 128),
        unroll: int = 4,
        learn_reward: bool = False,
        motion_weight: float = 10.0,
        dynamics_weight: float = 3.0,
        reward_weight: float = 10.0,
        learning_rate: float = 1e-3,
        batch_size: int = 50,
        first_steps: int = 2000,
        refit_steps: int = 200,
        far_unroll: int = 10,
        far_steps: int = 1000,
        distance_steps: int = 2000,
        holdout_fraction: float = 0.05,
        mixed_precision: bool = True,
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            latent_size: d.
            encoding: of a stack of frames to one state, to a Gaussian, or to a Gaussian by way of a recurrent
                network that remembers the episode.
            features: what states are made of: codes of whole pictures, or points in them that follow what is seen.
            stack: frames that the encoder sees at once: 2, or 1, which shows no velocity unless the encoding is
                recurrent. The latent size is a multiple of it.
            heads: K; 1 knows no doubt.
            hidden: widths of the heads' hidden layers.
            widths: channels of the decoder's convolutions; none for a perceptron.
            unroll: predicted steps per window in training.
            learn_reward: predict the reward of arriving at a state.
            motion_weight: of the squared error of how frames of a stack differ against that of the newest.
            dynamics_weight: of one nat of the prediction's likelihood and, for Gaussians, the posterior's entropy,
                against the squared error per pixel, in units of the pictures' contrast and added up over the scales.
            reward_weight: of the squared error of the reward, in units of its spread.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            far_unroll: predicted steps per window once the states no longer change.
            far_steps: gradient steps of every fit that train the heads alone, and the reward alone.
            distance_steps: gradient steps of the temporal distance, in every fit; 0 plans to goal pictures with
                the Euclidean distance instead.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in the training of encoder and decoder.
            precision: of the products in rollouts.
            seed: of the initial weights, the holdout and the bootstrap.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(heads >= 1, f"heads is {heads}; it must be at least 1")
        recurrent = encoding == "recurrent"
        require(
            not recurrent or features == "codes",
            "features is keypoints, which have no memory; encoding cannot be recurrent",
        )

        def parts() -> dict[str, nn.Module]:
            encoder: FrameEncoder
            decoder: Decoder
            if features == "keypoints":
                encoder = KeypointEncoder(spec, stack=stack, size=latent_size)
                decoder = KeypointDecoder(spec, inputs=latent_size, frames=stack)
                rewarded: nn.Module = PointDistances(inputs=latent_size, frames=stack)
            else:
                encoder = RateEncoder(spec, stack=stack, hidden=256, size=_MEMORY if recurrent else latent_size)
                decoder = ImageDecoder(spec, widths=widths, inputs=latent_size, frames=stack)
                rewarded = nn.Identity()
            made: dict[str, nn.Module] = {
                "encoder": encoder,
                "heads": LatentHeads(
                    latent_size, spec.action_size, heads=heads, hidden=hidden, generator=Generator().manual_seed(seed)
                ),
                "decoder": decoder,
                "noise": _Spread(latent_size),
                "distance": TemporalDistance(latent_size),
                "reward": RewardHeads(latent_size, rewarded, heads=heads, seed=seed),
            }
            if recurrent:
                made["memory"] = nn.GRUCell(2 * _MEMORY + spec.action_size, _MEMORY)
                made["posterior"] = nn.Linear(_MEMORY, 2 * latent_size)
            return made

        super().__init__(
            spec,
            parts,
            latent_size=latent_size,
            stack=stack,
            unroll=unroll,
            learning_rate=learning_rate,
            batch_size=batch_size,
            first_steps=first_steps,
            refit_steps=refit_steps,
            holdout_fraction=holdout_fraction,
            mixed_precision=mixed_precision,
            seed=seed,
        )
        self.heads, self.encoding, self.learn_reward = heads, encoding, learn_reward
        self._motion_weight, self._dynamics_weight = motion_weight, dynamics_weight
        self._reward_weight, self._distance_steps, self._precision = reward_weight, distance_steps, precision
        self._far_steps = far_steps
        self._far = FarFit(unroll=far_unroll, steps=far_steps, learning_rate=learning_rate, seed=seed)
        self._heads: LatentHeads = self._part("heads")
        self._decoder: Decoder = self._part("decoder")
        self._noise: _Spread = self._part("noise")
        self._distance: TemporalDistance = self._part("distance")
        self._reward: RewardHeads = self._part("reward")

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        return self._heads.flops_per_row() * candidates

    def fit(self, data: FrameSequences, *, generator: Generator, progress: Progress | None = None) -> FitReport:
        """Learn from all frames so far, see ``ImageModel.fit``.

        Raises:
            ValueError: if no episode is long enough, or there are no rewards to learn.
        """
        if self.learn_reward:
            if data.rewards is None:
                raise ValueError("fit: the frames have no rewards, which learn_reward needs; record them.")
            self._reward.adapt(data.rewards)
        return super().fit(data, generator=generator, progress=progress)

    def _adapt(self, data: FrameSequences) -> None:
        super()._adapt(data)
        self._encoder.start_slow(data)

    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        rows = self._window_rows(data, starts)
        actions = data.actions[rows].to(self.device)
        mean, log_std = self._posterior(self._encoded(data, rows), actions)
        states = mean
        if log_std is not None:
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            states = mean + log_std.exp() * noise
        surprise = self._surprise(states, mean, log_std, actions, starts)
        loss = self._reconstruction_error(data, rows, states) + self._dynamics_weight * surprise
        if self.learn_reward:
            loss = loss + self._reward_weight * self._reward.error(states.flatten(0, 1), data, rows.flatten())
        return loss

    def _posterior(self, encoded: Tensor, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log standard deviation (B, L, d) of what was encoded, (B, L, outputs); None for no noise."""
        if self.encoding != "recurrent":
            mean, std = encoded.chunk(2, -1)
            return mean, std.log() if self.encoding == "stochastic" else None
        memory = encoded.new_zeros(len(encoded), self._part("memory").hidden_size)
        before = torch.zeros_like(actions[:, 0])
        steps = []
        for step in range(encoded.shape[1]):
            memory = self._part("memory")(torch.cat([encoded[:, step], before], -1), memory)
            steps.append(self._part("posterior")(memory))
            before = actions[:, step]
        mean, raw = torch.stack(steps, 1).chunk(2, -1)
        return mean, torch.log(functional.softplus(raw) + _SMALLEST_STD)

    def _reconstruction_error(self, data: FrameSequences, rows: Tensor, states: Tensor) -> Tensor:
        stacks = data.stacks(rows.flatten(), self.stack).to(self.device).float()
        wanted = ((stacks - self._encoder.background) / self._encoder.contrast).flatten(1, 2)
        with self._casting():
            decoded = self._decoder(states.flatten(0, 1))
        return stack_error(decoded - wanted, self.spec.channels, self._motion_weight)

    def _surprise(
        self, states: Tensor, mean: Tensor, log_std: Tensor | None, actions: Tensor, starts: Tensor
    ) -> Tensor:
        """−log p(s_1 … s_H | s_0, a) − entropy of q, and −log N(s_0; 0, 1) that fixes the scale, in nats a step."""
        weights = bootstrap_weights(starts, self.heads, self._seed).to(self.device)
        spread = self._noise.log_std
        predicted = states[:, 0].expand(self.heads, -1, -1)
        total = 0.5 * states[:, 0].square().sum(-1).mean()
        for step in range(self._unroll):
            predicted = self._heads(predicted, actions[:, step])
            error = ((predicted - states[:, step + 1]) / spread.exp()).square()
            likelihood = (0.5 * error + spread).sum(-1)
            total = total + (likelihood * weights).mean()
        if log_std is not None:
            total = total - log_std.sum(-1).mean(0).sum()
        return total / (self._unroll + 1)

    def _finish(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        self._far.fit(self._heads, latents, data, held_out, generator)
        if self.learn_reward:
            self._reward.fit(
                latents,
                data,
                held_out,
                steps=self._far_steps,
                learning_rate=self._learning_rate,
                generator=generator,
            )
        if self._distance_steps:
            fit_temporal_distance(self._distance, latents, data, steps=self._distance_steps, generator=generator)

    def _changed(self) -> None:
        super()._changed()
        self._heads.thaw()

    @torch.no_grad()
    def encode(self, sequences: FrameSequences) -> Tensor:
        """The states (F, d) of recorded frames: the posterior's mean."""
        if self.encoding != "recurrent":
            return super().encode(sequences)
        self._parts.eval()
        states = []
        for episode in torch.unique_consecutive(sequences.episodes):
            rows = (sequences.episodes == episode).nonzero().squeeze(-1)
            encoded = torch.cat([self._encoded(sequences, part.unsqueeze(0))[0] for part in torch.split(rows, 256)])
            mean, _ = self._posterior(encoded.unsqueeze(0), sequences.actions[rows].unsqueeze(0).to(self.device))
            states.append(mean[0])
        return torch.cat(states)

    @torch.no_grad()
    def observe(self, observation: Mapping[str, Any], memory: Any, action: Tensor | None) -> tuple[Tensor, Any]:
        """The posterior's mean (d,), and the memory: frames, and the recurrent state; see ``ImageDynamics``."""
        if self.encoding != "recurrent":
            return super().observe(observation, memory, action)
        frame, proprioception = self.spec.see(observation)
        frame = frame.to(self.device).unsqueeze(0)
        frames = frame.expand(self.stack, -1, -1, -1) if memory is None else torch.cat([memory[0], frame])
        encoded = self._encoder(frames.unsqueeze(0), proprioception.to(self.device).unsqueeze(0))
        cell = self._part("memory")
        before = encoded.new_zeros(1, cell.hidden_size) if memory is None else memory[1]
        sent = encoded.new_zeros(1, self.action_size) if action is None else action.unsqueeze(0)
        after = cell(torch.cat([encoded, sent], -1), before)
        mean = self._part("posterior")(after)[0, : self.state_size]
        return mean, (frames[1:], after)

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """The temporal distance (...) of states (..., d) from a goal (d,), in units of 10 control periods."""
        if not self._distance_steps:
            apart: Tensor = torch.linalg.vector_norm(states - goal, dim=-1)
            return apart
        distances: Tensor = self._distance(states, goal)
        return distances

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. Head k moves particle k, without noise.

        Raises:
            ValueError: if a shape does not fit.
        """
        self._check_rollout(state, actions)
        rollout = self._heads.rollout(state, actions, self._precision)
        if not self.learn_reward:
            return rollout
        rewards = self._reward(rollout.states[:, :, 1:])
        return Rollout(rollout.states, rewards=rewards, members=rollout.members)


class _Spread(nn.Module):
    """The dynamics' standard deviation in each dimension, learned."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(size))

    @property
    def log_std(self) -> Tensor:
        return torch.log(functional.softplus(self.raw) + _SMALLEST_STD)
