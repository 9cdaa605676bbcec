"""SOLAR: a latent in which the dynamics around one policy are linear, with a conjugate posterior (Zhang 2019)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.checks import require
from models.dynamics import Rollout
from models.image.decoders import ImageDecoder
from models.image.frames import FrameSequences, ImageSpec
from models.image.image_model import ImageModel
from models.image.pyramid import pyramid_error
from models.image.rate_encoder import RateEncoder
from models.image.solar_local import LocalModel, fit_local, infer_states, moments_of, summed
from models.image.solar_messages import Potentials, absorb
from models.image.solar_regression import Moments, Regression

_FORGETTING = 0.02
_ROUNDS = 5
_EPISODES_AT_ONCE = 32
_REST = 5
_REWARD_ITERATIONS = 3


class SOLAR(ImageModel):
    """A variational autoencoder whose states form a linear-Gaussian chain; F and Σ have a conjugate posterior.

    A state is a code of the frame and the code's rate of change. The encoder gives each frame a Gaussian potential of
    both; message passing through the chain turns those of a window into its posterior. The loss is the evidence bound:
    −log p(o | s) − log p(r | s) + KL(q(s) ‖ p(s | F, Σ)), where pictures are compared at several scales and the reward
    r is a concave quadratic of the state. The posterior of F and Σ given all windows is kept up to date in closed form
    (structured variational autoencoder, Johnson 2016).

    After each fit the dynamics of the last ``local_rollouts`` episodes are inferred for every step, with the
    global posterior as the prior: ``local``, which a planner improves the policy of those episodes with. States
    that are observed are filtered through it. ``rollout`` follows the global dynamics, which are one linear map.

    Source: M. Zhang et al., "SOLAR: Deep Structured Representations for Model-Based Reinforcement Learning", 2019.
    """

    kind = "solar"
    shown_as = "as the decoder draws it"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_size: int = 8,
        stack: int = 2,
        widths: tuple[int, ...] = (),
        unroll: int = 9,
        divergence_weight: float = 0.1,
        reward_weight: float = 3.0,
        local_rollouts: int = 20,
        learn_reward: bool = False,
        prior_strength: float = 1.0,
        learning_rate: float = 1e-3,
        batch_size: int = 20,
        first_steps: int = 600,
        refit_steps: int = 60,
        holdout_fraction: float = 0.05,
        mixed_precision: bool = True,
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            latent_size: d.
            stack: 2 for states with rates, 1 where a frame shows everything.
            widths: channels of the decoder's convolutions; none for a perceptron.
            unroll: steps of the windows that are trained on.
            divergence_weight: of one nat of divergence per frame against the squared error per pixel, in units of
                contrast and added up over the scales.
            reward_weight: of the share of the rewards' variance that is left unexplained, against the same.
            local_rollouts: the last so many episodes are one policy's, and of one length.
            learn_reward: shape the latent so that rewards are quadratic in it, and fit them to the last rollouts.
            prior_strength: how many transitions the global dynamics count for, as the prior of each step's.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in the training of encoder and decoder.
            seed: of the initial weights and the holdout.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(local_rollouts >= 2, f"local_rollouts is {local_rollouts}; it must be at least 2")
        require(prior_strength > 0, f"prior_strength is {prior_strength}; it must be above 0")

        def parts() -> dict[str, nn.Module]:
            return {
                "encoder": RateEncoder(spec, stack=stack, hidden=256, size=latent_size),
                "decoder": ImageDecoder(spec, widths=widths, inputs=latent_size),
                "dynamics": GlobalDynamics(latent_size, spec.action_size),
                "reward": QuadraticReward(latent_size),
            }

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
        self._divergence_weight, self._reward_weight = divergence_weight, reward_weight
        self._local_rollouts = local_rollouts
        self._prior_strength, self.learn_reward = prior_strength, learn_reward
        self._reward: QuadraticReward = self._part("reward")
        self._decoder: ImageDecoder = self._part("decoder")
        self._dynamics: GlobalDynamics = self._part("dynamics")
        self._local: LocalModel | None = None

    @property
    def local(self) -> LocalModel:
        """What happens around the rollouts of the last policy.

        Raises:
            ValueError: before the first fit.
        """
        if self._local is None:
            raise ValueError("SOLAR has no local dynamics yet: fit it to rollouts first.")
        return self._local

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        return 2.0 * candidates * self.state_size * (self.state_size + self.action_size + 1)

    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        rows = self._window_rows(data, starts)
        actions = data.actions[rows[:, :-1]].to(self.device).double()
        evidence = _potentials(self._encoded(data, rows))
        states = infer_states(self._dynamics.posterior(), actions, evidence, *self._anywhere())
        self._dynamics.learn(summed(moments_of(_detached(states), actions), (0, 1)), len(data))
        square = states.covariance + states.mean.unsqueeze(-1) * states.mean.unsqueeze(-2)
        expected = (evidence.information * states.mean).sum((1, 2)) - 0.5 * (evidence.precision * square).sum((1, 2, 3))
        divergence = (expected - states.log_evidence).mean() / rows.shape[1]
        error = self._reward_error(states.mean[:, 1:].float(), data, rows[:, 1:]) if self.learn_reward else 0.0
        noise = torch.randn(states.mean.shape, generator=generator, dtype=torch.float64).to(self.device)
        root = torch.linalg.cholesky(states.covariance)
        drawn = (states.mean + (root @ noise.unsqueeze(-1)).squeeze(-1)).float()
        frames = data.frames[rows.flatten()].to(self.device).float()
        wanted = (frames - self._encoder.background) / self._encoder.contrast
        with self._casting():
            decoded = self._decoder(drawn.flatten(0, 1))
        missed = pyramid_error(decoded - wanted) + self._reward_weight * error
        return missed + self._divergence_weight * divergence.float()

    def _reward_error(self, states: Tensor, data: FrameSequences, rows: Tensor) -> Tensor:
        """The share of the rewards' variance that states (B, T, d) at rows (B, T) do not explain."""
        require(data.rewards is not None, "fit: the frames have no rewards, which learn_reward needs; record them")
        assert data.rewards is not None
        rewards = data.rewards[rows].to(self.device)
        return functional.mse_loss(self._reward(states), rewards) / data.rewards.var().clamp(min=1e-12)

    def _anywhere(self) -> tuple[Tensor, Tensor]:
        """The prior of the first state of a window."""
        size = self.state_size
        return torch.zeros(size, dtype=torch.float64, device=self.device), torch.eye(
            size, dtype=torch.float64, device=self.device
        )

    @torch.no_grad()
    def _finish(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        """Fit the global dynamics to all rollouts, then the local ones to the last."""
        episodes = _episodes(data)
        for part in range(0, len(episodes), _EPISODES_AT_ONCE):
            alike = [rows for rows in episodes[part : part + _EPISODES_AT_ONCE] if len(rows) == len(episodes[-1])]
            if alike:
                evidence, actions = self._rollouts(data, alike)
                states = infer_states(self._dynamics.posterior(), actions, evidence, *self._anywhere())
                self._dynamics.learn(summed(moments_of(states, actions), (0, 1)), len(data), share=0.2)
        last = [rows for rows in episodes[-self._local_rollouts :] if len(rows) == len(episodes[-1])]
        require(
            len(last) >= 2 and len(last[0]) >= 2,
            f"fit: only {len(last)} of the last {self._local_rollouts} episodes are as long as the last one; SOLAR's "
            f"local dynamics need rollouts of one length",
        )
        evidence, actions = self._rollouts(data, last)
        prior = self._dynamics.posterior().tempered(self._prior_strength)
        self._local = fit_local(prior, actions, evidence, rounds=_ROUNDS)
        if self.learn_reward:
            assert data.rewards is not None
            rows = torch.cat([rows[1:] for rows in episodes[-_REWARD_ITERATIONS * self._local_rollouts :]])
            self._reward.fit(latents[rows].double(), data.rewards[rows].to(self.device).double())

    def _rollouts(self, data: FrameSequences, episodes: list[Tensor]) -> tuple[Potentials, Tensor]:
        """Evidence about the states, and actions (B, H, nu), of whole episodes."""
        rows = torch.stack(episodes)
        self._encoder.eval()
        encoded = torch.cat([self._encoded(data, part) for part in torch.split(rows, 8)])
        return _potentials(encoded), data.actions[rows[:, :-1]].to(self.device).double()

    @torch.no_grad()
    def observe(self, observation: Mapping[str, Any], memory: Any, action: Tensor | None) -> tuple[Tensor, Any]:
        """The filtered state (d,); the memory is the frames, its mean and covariance, and the step of the episode."""
        frame, proprioception = self.spec.see(observation)
        frame = frame.to(self.device).unsqueeze(0)
        frames = frame.expand(self.stack, -1, -1, -1) if memory is None else torch.cat([memory[0], frame])
        encoded = self._encoder(frames.unsqueeze(0), proprioception.to(self.device).unsqueeze(0))
        step = 0 if memory is None else memory[3] + 1
        mean, covariance = self._predicted(memory, action, step)
        evidence = _potentials(encoded.unsqueeze(1))
        mean, covariance, _ = absorb(mean, covariance, evidence.precision[0, 0], evidence.information[0, 0])
        return mean.float(), (frames[1:], mean, covariance, step)

    def _predicted(self, memory: Any, action: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """Where a state is before it is seen."""
        local = self._local
        if memory is None or action is None or local is None:
            return self._anywhere() if local is None else (local.initial_mean, local.initial_covariance)
        if step <= len(local.matrix):
            matrix, offset, noise = local.matrix[step - 1], local.offset[step - 1], local.noise[step - 1]
        else:
            everywhere = self._dynamics.posterior()
            matrix, offset, noise = everywhere.mean[:, :-1], everywhere.mean[:, -1], everywhere.noise
        transition = matrix[:, : self.state_size]
        mean = matrix @ torch.cat([memory[1], action.double()]) + offset
        return mean, transition @ memory[2] @ transition.mT + noise

    @torch.no_grad()
    def encode(self, sequences: FrameSequences) -> Tensor:
        """The states (F, d) of recorded frames, given all frames of their episode, under the global dynamics."""
        return torch.cat(
            [
                infer_states(self._dynamics.posterior(), actions, evidence, *self._anywhere()).mean[0].float()
                for evidence, actions in (self._rollouts(sequences, [rows]) for rows in _episodes(sequences))
            ]
        )

    @torch.no_grad()
    def encode_goal(self, goal: Mapping[str, Any]) -> Tensor:
        """The state (d,) of being at rest where a picture was taken: what is inferred from seeing it for a while."""
        frame, proprioception = self.spec.see(goal)
        frames = frame.to(self.device).expand(1, self.stack, -1, -1, -1)
        encoded = self._encoder(frames, proprioception.to(self.device).unsqueeze(0))
        actions = torch.zeros(1, 2 * _REST, self.action_size, dtype=torch.float64, device=self.device)
        evidence = _potentials(encoded.expand(1, 2 * _REST + 1, -1))
        states = infer_states(self._dynamics.posterior(), actions, evidence, *self._anywhere())
        return states.mean[0, _REST].float()

    def reward(self, states: Tensor) -> Tensor:
        """The reward (...) of arriving at states (..., d), as it was fitted to the last rollouts."""
        return _quadratic(states, *(part.detach().to(states) for part in self._reward.parameters()))

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. P = 1, the global dynamics, without noise.

        Raises:
            ValueError: if a shape does not fit.
        """
        self._check_rollout(state, actions)
        state, actions = state.float(), actions.float()
        matrix = self._dynamics.posterior().mean.float()
        states = [state.expand(1, len(actions), self.state_size)]
        for step in range(actions.shape[1]):
            sent = actions[:, step].expand(1, -1, -1)
            states.append(torch.cat([states[-1], sent, torch.ones_like(sent[..., :1])], -1) @ matrix.mT)
        imagined = torch.stack(states, 2)
        return Rollout(imagined, rewards=self.reward(imagined[:, :, 1:]) if self.learn_reward else None)

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned."""
        local = None if self._local is None else vars(self._local)
        return super().state_dict() | {"local": local}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was learned.

        Raises:
            ValueError: if it was learned by another kind of model, or by one of other sizes.
        """
        super().load_state_dict(state)
        local = state["local"]
        self._local = None if local is None else LocalModel(**{key: value.clone() for key, value in local.items()})


class GlobalDynamics(nn.Module):
    """The posterior of one F and Σ, from running means of the moments of all transitions."""

    def __init__(self, size: int, controls: int) -> None:
        super().__init__()
        inputs = size + controls + 1
        self._size = size
        self.xx: Tensor
        self.yx: Tensor
        self.yy: Tensor
        self.count: Tensor
        self.register_buffer("xx", torch.zeros(inputs, inputs, dtype=torch.float64))
        self.register_buffer("yx", torch.zeros(size, inputs, dtype=torch.float64))
        self.register_buffer("yy", torch.zeros(size, size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def prior(self) -> Regression:
        """States that stay where they are, within noise of half a unit."""
        size, inputs = self._size, self.xx.shape[0]
        identity = torch.eye(inputs).to(self.xx)
        dof = torch.full_like(self.count, size + 2.0)
        return Regression(identity[:size], identity, 0.25 * dof * identity[:size, :size], dof)

    def posterior(self) -> Regression:
        """Given all transitions so far."""
        return self.prior().posterior(
            Moments(self.xx * self.count, self.yx * self.count, self.yy * self.count, self.count)
        )

    def learn(self, seen: Moments, transitions: int, share: float = _FORGETTING) -> None:
        """Take in the moments of a batch, a sample of so many transitions: a natural gradient step (Hoffman 2013)."""
        share = share if self.count else 1.0
        for mean, total in ((self.xx, seen.xx), (self.yx, seen.yx), (self.yy, seen.yy)):
            mean.lerp_(total / seen.count, share)
        self.count.fill_(float(transitions))


class QuadraticReward(nn.Module):
    """b − ½ (s − m)ᵀ L Lᵀ (s − m): concave, so that there is a best state."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.best = nn.Parameter(torch.zeros(size))
        self.root = nn.Parameter(0.1 * torch.eye(size))
        self.height = nn.Parameter(torch.zeros(()))

    def forward(self, states: Tensor) -> Tensor:
        """Of states (..., d): (...)."""
        return _quadratic(states, self.best.to(states), self.root.to(states), self.height.to(states))

    def fit(self, states: Tensor, rewards: Tensor) -> None:
        """Least squares on states (F, d) and rewards (F,), from where it is."""
        spread = float(rewards.std()) + 1e-9
        parts = (self.best, self.root, self.height)
        with torch.enable_grad():
            best, root, height = (part.detach().to(states).clone().requires_grad_() for part in parts)
            optimizer = torch.optim.LBFGS([best, root, height], max_iter=200, line_search_fn="strong_wolfe")

            def loss() -> Tensor:
                optimizer.zero_grad()
                error = ((_quadratic(states, best, root, height) - rewards) / spread).square().mean()
                torch.autograd.backward(error)
                return error

            optimizer.step(loss)  # type: ignore[no-untyped-call]
        for kept, found in zip(parts, (best, root, height), strict=True):
            kept.data.copy_(found.detach())


def _quadratic(states: Tensor, best: Tensor, root: Tensor, height: Tensor) -> Tensor:
    value: Tensor = height - 0.5 * ((states - best) @ root).square().sum(-1)
    return value


def _episodes(data: FrameSequences) -> list[Tensor]:
    """The rows of each episode."""
    counts = torch.unique_consecutive(data.episodes, return_counts=True)[1].tolist()
    return list(torch.split(torch.arange(len(data.frames)), counts))


def _potentials(encoded: Tensor) -> Potentials:
    """Evidence (B, T) from what the encoder says: (B, T, 2 d) means and standard deviations."""
    mean, std = encoded.double().chunk(2, -1)
    precision = std.square().reciprocal()
    return Potentials(torch.diag_embed(precision), precision * mean)


def _detached(states: Any) -> Any:
    return dataclasses.replace(states, **{name: value.detach() for name, value in vars(states).items()})
