"""Embed to Control: a variational latent in which the dynamics are locally linear (Watter et al. 2015)."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.checks import require
from models.dynamics import Rollout
from models.image.decoders import ImageDecoder
from models.image.frames import FrameSequences, ImageSpec
from models.image.image_model import ImageModel
from models.image.pyramid import PyramidEncoder, stack_error

_SMALLEST_STD = 0.05
_MAP_UNROLL, _MAP_BATCH = 4, 256


class E2C(ImageModel):
    """q(z|x) = N(μ, diag σ²), and z' = A(z) z + B(z) u + o(z) with A = I + v(z) r(z)ᵀ.

    The loss is −log p(x|z) − log p(x'|ẑ') + KL(q(z|x) ‖ N(0, I)) + λ KL(q̂(z'|z, u) ‖ q(z'|x')), where q̂ carries
    the posterior through the linear map. Pictures are seen and compared at several scales, without which the latent
    comes out torn; then the map alone is trained on, several steps ahead, on the finished latent.

    Plans are made where it was meant to be controlled, by iLQR in the latent, whose distance is quadratic; any other
    planner works too. One network: it knows no doubt.

    Source: M. Watter et al., "Embed to Control", 2015.
    """

    kind = "e2c"
    shown_as = "as the decoder draws it"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_size: int = 8,
        stack: int = 2,
        hidden: int = 128,
        widths: tuple[int, ...] = (32, 64, 128),
        divergence_weight: float = 3.0,
        consistency_weight: float = 10.0,
        motion_weight: float = 10.0,
        system_noise: float = 0.05,
        learning_rate: float = 1e-3,
        batch_size: int = 100,
        first_steps: int = 3000,
        refit_steps: int = 300,
        map_steps: int = 3000,
        holdout_fraction: float = 0.05,
        mixed_precision: bool = True,
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            latent_size: d.
            stack: frames that the encoder sees at once.
            hidden: width of the network that gives v, r, B and o.
            widths: channels of the decoder's convolutions; none for a perceptron.
            divergence_weight: of one nat of divergence against the squared error per pixel, in units of contrast and
                added up over the scales.
            consistency_weight: λ.
            motion_weight: of the squared error of how frames of a stack differ against that of the newest: without
                it speeds, which show little, are not worth a number of the latent.
            system_noise: standard deviation that a step adds in every dimension.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: transitions per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            map_steps: gradient steps of every fit that train the map alone.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in the training of encoder and decoder.
            seed: of the initial weights and the holdout.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(system_noise > 0, f"system_noise is {system_noise}; it must be above 0")

        def parts() -> dict[str, nn.Module]:
            return {
                "encoder": PyramidEncoder(spec, stack=stack, hidden=256, outputs=2 * latent_size, slow=latent_size),
                "decoder": ImageDecoder(spec, widths=widths, inputs=latent_size, frames=stack),
                "map": LocalMap(latent_size, spec.action_size, hidden),
            }

        super().__init__(
            spec,
            parts,
            latent_size=latent_size,
            stack=stack,
            unroll=1,
            learning_rate=learning_rate,
            batch_size=batch_size,
            first_steps=first_steps,
            refit_steps=refit_steps,
            holdout_fraction=holdout_fraction,
            mixed_precision=mixed_precision,
            seed=seed,
        )
        self._divergence_weight, self._consistency_weight = divergence_weight, consistency_weight
        self._motion_weight, self._system_noise, self._map_steps = motion_weight, system_noise, map_steps
        self._encoder: PyramidEncoder = self._part("encoder")
        self._decoder: ImageDecoder = self._part("decoder")
        self._map: LocalMap = self._part("map")

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        return float(candidates * sum(2 * weight.numel() for weight in self._map.parameters()))

    def _adapt(self, data: FrameSequences) -> None:
        super()._adapt(data)
        self._encoder.start_slow(data)

    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        rows = self._window_rows(data, starts)
        actions = data.actions[rows[:, 0]].to(self.device)
        mean, raw = self._encoded(data, rows).chunk(2, -1)
        std = functional.softplus(raw) + _SMALLEST_STD
        noise = torch.randn(mean[:, 0].shape, generator=generator).to(self.device)
        state = mean[:, 0] + std[:, 0] * noise
        matrix, control, offset = self._map(state)
        following = _apply(matrix, control, offset, state, actions)
        stacks = data.stacks(rows.T.flatten(), self.stack).to(self.device).float()
        wanted = ((stacks - self._encoder.background) / self._encoder.contrast).flatten(1, 2)
        with self._casting():
            decoded = self._decoder(torch.cat([state, following]))
        error = stack_error(decoded - wanted, self.spec.channels, self._motion_weight)
        prior = 0.5 * (std[:, 0].square() + mean[:, 0].square() - 1 - 2 * std[:, 0].log()).sum(-1)
        carried = _apply(matrix, control, offset, mean[:, 0], actions)
        spread = matrix * std[:, :1].square() @ matrix.mT + self._system_noise**2 * torch.eye(self.state_size).to(
            matrix
        )
        apart = gaussian_divergence(carried, spread, mean[:, 1], std[:, 1])
        return error + self._divergence_weight * (prior + self._consistency_weight * apart).mean()

    def _finish(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        windows = data.windows(_MAP_UNROLL + 1).cpu()
        windows = windows[~held_out[windows]]
        if len(windows):
            fit_map(
                self._map,
                latents,
                data.actions.to(latents.device),
                windows,
                steps=self._map_steps,
                learning_rate=self._learning_rate,
                generator=generator,
            )

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. P = 1; gradients flow where they are required.

        Raises:
            ValueError: if a shape does not fit.
        """
        self._check_rollout(state, actions)
        state, actions = state.float(), actions.float()
        states = [state.expand(1, len(actions), self.state_size)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and (state.requires_grad or actions.requires_grad)):
            for step in range(actions.shape[1]):
                matrix, control, offset = self._map(states[-1])
                states.append(_apply(matrix, control, offset, states[-1], actions[:, step]))
            return Rollout(torch.stack(states, 2))


class LocalMap(nn.Module):
    """The linear map around a latent state."""

    def __init__(self, latent_size: int, action_size: int, hidden: int) -> None:
        super().__init__()
        self._sizes = (latent_size, latent_size, latent_size * action_size, latent_size)
        self._action_size = action_size
        self.trunk = nn.Sequential(
            nn.Linear(latent_size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, sum(self._sizes)),
        )  # fmt: skip

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A (..., d, d), B (..., d, nu) and o (..., d) of states (..., d)."""
        along, across, control, offset = self.trunk(states).split(self._sizes, -1)
        size = states.shape[-1]
        identity = torch.eye(size, device=states.device)
        matrix = identity + along.unsqueeze(-1) * across.unsqueeze(-2)
        return matrix, control.unflatten(-1, (size, self._action_size)), offset


def fit_map(
    local: LocalMap,
    latents: Tensor,
    actions: Tensor,
    starts: Tensor,
    *,
    steps: int,
    learning_rate: float,
    generator: Generator,
) -> None:
    """Train a map alone, four steps ahead, on latents that do not change.

    Args:
        local: what to train.
        latents: (F, d).
        actions: (F, nu) after each of them.
        starts: (W,) rows where windows of five frames begin.
        steps: gradient steps.
        learning_rate: of Adam, falling to zero along half a cosine.
        generator: draws the batches.
    """
    optimizer = torch.optim.Adam(local.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    scale = (latents[1:] - latents[:-1]).std(0)
    for _ in range(steps):
        picked = starts[torch.randint(len(starts), (_MAP_BATCH,), generator=generator)].to(latents.device)
        states = latents[picked]
        errors = []
        for step in range(_MAP_UNROLL):
            matrix, control, offset = local(states)
            states = _apply(matrix, control, offset, states, actions[picked + step])
            errors.append(((states - latents[picked + step + 1]) / scale).square().mean())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(errors).mean())
        nn.utils.clip_grad_norm_(local.parameters(), 10.0)
        optimizer.step()
        schedule.step()


def gaussian_divergence(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """KL(N(mean, covariance) ‖ N(other_mean, diag other_std²)) in nats.

    Args:
        mean: (B, d).
        covariance: (B, d, d), positive definite.
        other_mean: (B, d).
        other_std: (B, d).
    """
    variance = other_std.square()
    trace = (torch.diagonal(covariance, dim1=-2, dim2=-1) / variance).sum(-1)
    distance = ((other_mean - mean).square() / variance).sum(-1)
    volume = variance.log().sum(-1) - torch.logdet(covariance)
    divergence: Tensor = 0.5 * (trace + distance - mean.shape[-1] + volume)
    return divergence


def _apply(matrix: Tensor, control: Tensor, offset: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """A z + B u + o."""
    moved = (matrix @ states.unsqueeze(-1) + control @ actions.expand(*states.shape[:-1], -1).unsqueeze(-1)).squeeze(-1)
    following: Tensor = moved + offset
    return following
