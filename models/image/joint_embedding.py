"""A latent state that can be predicted and told from others, learned without reconstructing pictures."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.calibration import CalibrationReport
from models.checks import require
from models.dynamics import Rollout
from models.fitting import FitReport, Progress
from models.image.encoders import ImageEncoder
from models.image.familiarity import Familiarity, ReferenceFrames
from models.image.frames import FrameSequences, ImageSpec
from models.image.latent_heads import LatentHeads, bootstrap_weights, fit_heads, prediction_loss
from models.image.latent_reports import calibrate_latent, report_fit
from models.image.sigreg import sigreg
from models.image.temporal_distance import TemporalDistance, fit_temporal_distance
from models.inference import Precision
from models.split import uniform_hash

FORMAT_VERSION = 1
_ENCODED_AT_ONCE = 512
_WARM_UP = 100


class JointEmbedding:
    """An encoder, K bootstrap heads that move its latent state, and a distance to plan with.

    Trained jointly: each head predicts the latents of the next ``unroll`` frames from the actions, the latents
    of a batch are kept Gaussian (SIGReg), so that they cannot collapse, and the action between two frames can
    be read off their latents, so that what the robot controls is in them. Then, on fixed latents, the temporal
    distance is learned. After LeWorldModel (Maes et al. 2026), with heads, inverse dynamics and a temporal
    distance added.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_size: int = 32,
        stack: int = 2,
        heads: int = 4,
        hidden: tuple[int, ...] = (200, 200),
        widths: tuple[int, ...] = (32, 64, 128),
        unroll: int = 4,
        sigreg_weight: float = 0.1,
        sigreg_directions: int = 128,
        inverse_weight: float = 1.0,
        learning_rate: float = 1e-3,
        batch_size: int = 100,
        first_steps: int = 2700,
        refit_steps: int = 300,
        far_unroll: int = 10,
        far_steps: int = 1500,
        distance_steps: int = 4000,
        holdout_fraction: float = 0.05,
        mixed_precision: bool = True,
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            latent_size: d.
            stack: frames that the encoder sees at once; velocity needs 2.
            heads: K; 1 knows no doubt.
            hidden: widths of the heads' hidden layers.
            widths: channels of the encoder's convolutions.
            unroll: predicted steps per window while the encoder learns.
            sigreg_weight: λ; it counts as the batch size grows, see ``sigreg``.
            sigreg_directions: random directions of each step.
            inverse_weight: ω, of the inverse dynamics; 0 leaves them out.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            far_unroll: predicted steps per window when the heads go on alone, on fixed latents.
            far_steps: gradient steps of that, in every fit; 0 leaves it out.
            distance_steps: gradient steps of the temporal distance, in every fit.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in the encoder's training.
            precision: of the products in rollouts.
            seed: of the initial weights, the holdout and the bootstrap.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(latent_size >= 1, f"latent_size is {latent_size}; it must be at least 1")
        require(stack >= 1, f"stack is {stack}; it must be at least 1")
        require(heads >= 1, f"heads is {heads}; it must be at least 1")
        require(unroll >= 1, f"unroll is {unroll}; it must be at least 1")
        require(batch_size >= 2, f"batch_size is {batch_size}; it must be at least 2")
        require(first_steps >= 1, f"first_steps is {first_steps}; it must be at least 1")
        require(far_unroll >= 1, f"far_unroll is {far_unroll}; it must be at least 1")
        require(0 < holdout_fraction < 1, f"holdout_fraction is {holdout_fraction}; it must be between 0 and 1")
        self.spec, self.stack, self.heads = spec, stack, heads
        self._unroll, self._batch_size = unroll, batch_size
        self._sigreg_weight, self._directions, self._inverse_weight = sigreg_weight, sigreg_directions, inverse_weight
        self._learning_rate = learning_rate
        self._first_steps, self._refit_steps, self._distance_steps = first_steps, refit_steps, distance_steps
        self._far_unroll, self._far_steps = far_unroll, far_steps
        self._holdout_fraction, self._mixed, self._precision = holdout_fraction, mixed_precision, precision
        self._seed = seed
        self._latent_size = latent_size
        frame = (spec.channels, spec.height, spec.width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._parts = nn.ModuleDict(
                {
                    "encoder": ImageEncoder(spec, stack=stack, widths=widths, hidden=256, outputs=latent_size),
                    "heads": LatentHeads(
                        latent_size,
                        spec.action_size,
                        heads=heads,
                        hidden=hidden,
                        generator=Generator().manual_seed(seed),
                    ),
                    "inverse": nn.Sequential(
                        nn.Linear(2 * latent_size, 128), nn.SiLU(), nn.Linear(128, spec.action_size)
                    ),
                    "distance": TemporalDistance(latent_size),
                    "reference": ReferenceFrames(frame, latent_size),
                }
            )
        self._encoder: ImageEncoder = self._part("encoder")
        self._heads: LatentHeads = self._part("heads")
        self._inverse: nn.Sequential = self._part("inverse")
        self._distance: TemporalDistance = self._part("distance")
        self._reference: ReferenceFrames = self._part("reference")
        self._parts.eval()
        self._transitions_seen = 0

    def _part(self, name: str) -> Any:
        return self._parts[name]

    @property
    def state_size(self) -> int:
        """The size of the latent state, d."""
        return self._latent_size

    @property
    def action_size(self) -> int:
        """The number of action variables, nu."""
        return self.spec.action_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._encoder.background.device

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        per_row = sum(2 * weight.shape[1] * weight.shape[2] for weight in self._heads.network.weights)
        return float(per_row * candidates * self.heads)

    def fit(self, data: FrameSequences, *, generator: Generator, progress: Progress | None = None) -> FitReport:
        """Learn from all frames so far; weights go on from the last fit.

        Args:
            data: the whole data set.
            generator: draws the batches (a CPU generator).
            progress: called now and then with the steps done, the steps at most, and the last loss.

        Raises:
            ValueError: if no episode is long enough.
        """
        started = time.perf_counter()
        windows = data.windows(self._unroll + 1)
        require(
            len(windows) >= 2,
            f"fit: there are {len(windows)} windows of {self._unroll + 1} frames; record longer episodes",
        )
        held_out = uniform_hash(data.episodes.cpu(), self._seed) < self._holdout_fraction
        if held_out.all() or not held_out.any():
            held_out = torch.zeros(len(data.frames), dtype=torch.bool)
            held_out[-max(1, len(held_out) // 10) :] = True
        learned_from = windows[~held_out[windows.cpu()].to(windows.device)]
        windows = learned_from if len(learned_from) >= 2 else windows
        first = not self._transitions_seen
        if first:
            self._encoder.adapt(_thinned(data.frames), data.proprioception)
        steps = self._first_steps if first else self._refit_steps
        loss = self._descend(data, windows.cpu(), steps, generator, progress)
        self._transitions_seen = len(data)
        latents = self.encode(data)
        if self._far_steps:
            self._look_further(latents, data, held_out, generator)
        if self._distance_steps:
            fit_temporal_distance(self._distance, latents, data, steps=self._distance_steps, generator=generator)
        self._parts.eval()
        self._heads.thaw()
        rows = held_out.nonzero().squeeze(-1).to(self.device)
        self._reference.fit(data.frames.to(self.device), latents, rows)
        return report_fit(
            self, latents, data, rows, train_loss=loss, steps=steps, seconds=time.perf_counter() - started
        )

    def _descend(
        self,
        data: FrameSequences,
        windows: Tensor,
        steps: int,
        generator: Generator,
        progress: Progress | None,
    ) -> float:
        trained = [self._encoder, self._heads, self._inverse]
        parameters = [parameter for part in trained for parameter in part.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=self._learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self._learning_rate,
            total_steps=steps,
            pct_start=min(0.3, _WARM_UP / steps),
            cycle_momentum=False,
        )
        self._parts.train()
        loss = torch.zeros(())
        for step in range(steps):
            picked = windows[torch.randint(len(windows), (self._batch_size,), generator=generator)]
            loss = self._loss(data, picked, generator)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, 10.0)
            optimizer.step()
            schedule.step()
            if progress is not None and (step + 1) % 50 == 0:
                progress(step + 1, steps, float(loss.detach()))
        return float(loss.detach())

    def _look_further(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        """Teach the heads longer windows of latents (F, d) that no longer change."""
        longest = int(torch.unique_consecutive(data.episodes, return_counts=True)[1].max()) - 1
        unroll = min(self._far_unroll, longest)
        windows = data.windows(unroll + 1).cpu()
        windows = windows[~held_out[windows]]
        if not len(windows):
            return
        fit_heads(
            self._heads,
            latents,
            data.actions.to(latents.device),
            windows,
            unroll=unroll,
            steps=self._far_steps,
            learning_rate=self._learning_rate,
            generator=generator,
            seed=self._seed,
        )

    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        """Of windows that start at rows (B,)."""
        rows = (starts.unsqueeze(-1) + torch.arange(self._unroll + 1)).to(data.frames.device)
        stacks = data.stacks(rows.flatten(), self.stack).to(self.device)
        proprioception = data.proprioception[rows.flatten()].to(self.device)
        actions = data.actions[rows].to(self.device)
        with self._casting():
            encoded = self._encoder(stacks, proprioception)
        latents = encoded.view(len(starts), self._unroll + 1, -1).transpose(0, 1)
        weights = bootstrap_weights(starts, self.heads, self._seed).to(self.device)
        loss = prediction_loss(self._heads, latents, actions, weights)
        loss = loss + self._sigreg_weight * sigreg(latents, directions=self._directions, generator=generator)
        if self._inverse_weight:
            guessed = self._inverse(torch.cat([latents[:-1], latents[1:]], -1))
            sent = actions[:, : self._unroll].transpose(0, 1)
            loss = loss + self._inverse_weight * functional.mse_loss(guessed, sent)
        return loss

    def _casting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed)

    @torch.no_grad()
    def encode(self, sequences: FrameSequences) -> Tensor:
        """The latent states (F, d) of recorded frames."""
        rows = torch.arange(len(sequences.frames), device=sequences.frames.device)
        self._encoder.eval()
        return torch.cat(
            [
                self._encoder(
                    sequences.stacks(part, self.stack).to(self.device),
                    sequences.proprioception[part].to(self.device),
                )
                for part in torch.split(rows, _ENCODED_AT_ONCE)
            ]
        )

    @torch.no_grad()
    def observe(
        self, observation: Mapping[str, Any], memory: Tensor | None, action: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The latent state (d,), and the frames that the next one is stacked on; see ``ImageDynamics``."""
        frame, proprioception = self.spec.see(observation)
        frame = frame.to(self.device).unsqueeze(0)
        frames = frame.expand(self.stack, -1, -1, -1) if memory is None else torch.cat([memory, frame])
        state = self._encoder(frames.unsqueeze(0), proprioception.to(self.device).unsqueeze(0))[0]
        return state, frames[1:]

    def encode_goal(self, goal: Mapping[str, Any]) -> Tensor:
        """The latent state (d,) of being at rest where a picture was taken."""
        return self.observe(goal, None, None)[0]

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """The temporal distance (...) of latents (..., d) from a goal (d,), in units of 10 control periods."""
        distances: Tensor = self._distance(states, goal)
        return distances

    @torch.no_grad()
    def novelty(self, states: Tensor) -> Tensor:
        """How far latents (T, d) are from the data; 1 is usual for frames that were held out."""
        return self._reference.novelty(states)

    @torch.no_grad()
    def familiarity(self, picture: Mapping[str, Any]) -> Familiarity:
        """Whether a picture looks like the data; arrays by name as in ``observe``."""
        frame, _ = self.spec.see(picture)
        return self._reference.familiarity(frame.to(self.device), self.encode_goal(picture))

    @torch.no_grad()
    def pictures(self, states: Tensor) -> Tensor:
        """What latents (T, d) look like: (T, C, H, W) uint8, the recorded frames whose latents are nearest."""
        return self._reference.nearest(states.to(self.device))

    @torch.no_grad()
    def calibrate(self, executed: FrameSequences, *, horizon: int = 10) -> CalibrationReport:
        """Compare predictions with frames that the model was not fitted to."""
        return calibrate_latent(self, executed, horizon=horizon)

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. Head k moves particle k, without noise.

        Raises:
            ValueError: if a shape does not fit.
        """
        require(
            actions.dim() == 3 and actions.shape[2] == self.action_size,
            f"rollout: actions have shape {tuple(actions.shape)}; they must be (N, H, {self.action_size})",
        )
        require(
            state.shape[-1] == self.state_size,
            f"rollout: the state has shape {tuple(state.shape)}; its last dimension must be {self.state_size}",
        )
        return self._heads.rollout(state, actions, self._precision)

    def to(self, device: torch.device | str) -> "JointEmbedding":
        """Move everything to a device, in place."""
        self._parts.to(device)
        self._heads.thaw()
        return self

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned."""
        return {
            "format": FORMAT_VERSION,
            "kind": "joint-embedding",
            "rows_seen": self._transitions_seen,
            "parts": self._parts.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was learned.

        Raises:
            ValueError: if it was learned by another kind of model, or by one of other sizes.
        """
        require(
            state.get("kind") == "joint-embedding" and state.get("format") == FORMAT_VERSION,
            f"the checkpoint holds a model of kind {state.get('kind')!r}, format {state.get('format')!r}; "
            f"this is joint-embedding, format {FORMAT_VERSION}",
        )
        try:
            self._parts.load_state_dict(state["parts"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint does not fit this model: {error}") from None
        self._transitions_seen = int(state["rows_seen"])
        self._heads.thaw()
        self._parts.eval()


def _thinned(frames: Tensor) -> Tensor:
    """At most 1,000 frames, spread evenly: enough for a background."""
    return frames[torch.linspace(0, len(frames) - 1, min(1000, len(frames))).long()]
