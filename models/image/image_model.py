"""What models on pictures share: training on windows of frames, states of stacks, reference pictures, saving."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn

from models.calibration import CalibrationReport
from models.checks import check_kind, require
from models.dynamics import Rollout
from models.fitting import FitReport, Progress
from models.image.decoders import Decoder
from models.image.encoders import FrameEncoder
from models.image.familiarity import Familiarity, ReferenceFrames
from models.image.frames import FrameSequences, ImageSpec
from models.image.latent_reports import calibrate_latent, report_fit
from models.image.posture import Posture, fit_posture
from models.split import uniform_hash

FORMAT_VERSION = 3
_ENCODED_AT_ONCE = 512
_WARM_UP = 100


class ImageModel(ABC):
    """Base of the models whose state a stack of frames is encoded to.

    Subclasses say what their parts are, what a batch of windows costs, and how actions move the state.

    Attributes:
        kind: the model's name, which checkpoints carry.
        spec: what it sees.
        stack: frames that the encoder sees at once.
        shown_as: how ``pictures`` makes a picture of a state, in words.
        arrival: the distance within which a goal counts as reached: what two control periods usually cover.
    """

    kind: ClassVar[str]
    shown_as: ClassVar[str] = "as the recorded picture whose latent state is nearest to it"

    def __init__(
        self,
        spec: ImageSpec,
        parts: Callable[[], dict[str, nn.Module]],
        *,
        latent_size: int,
        stack: int,
        unroll: int,
        learning_rate: float,
        batch_size: int,
        first_steps: int,
        refit_steps: int,
        holdout_fraction: float,
        mixed_precision: bool,
        seed: int,
        posture_steps: int = 5000,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            parts: makes the networks, of which "encoder" makes states of stacks; called with a seeded generator.
            latent_size: d.
            stack: frames that the encoder sees at once.
            unroll: steps after the first frame of a window.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in training where a subclass casts.
            seed: of the initial weights and the holdout.
            posture_steps: gradient steps of the first fit of what guesses proprioception from goal pictures; later
                fits take as many fewer as ``refit_steps`` are fewer. Without proprioception there is nothing to guess.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(latent_size >= 1, f"latent_size is {latent_size}; it must be at least 1")
        require(stack >= 1, f"stack is {stack}; it must be at least 1")
        require(unroll >= 1, f"unroll is {unroll}; it must be at least 1")
        require(batch_size >= 2, f"batch_size is {batch_size}; it must be at least 2")
        require(first_steps >= 1, f"first_steps is {first_steps}; it must be at least 1")
        require(refit_steps >= 1, f"refit_steps is {refit_steps}; it must be at least 1")
        require(0 < holdout_fraction < 1, f"holdout_fraction is {holdout_fraction}; it must be between 0 and 1")
        self.spec, self.stack = spec, stack
        self._latent_size, self._unroll, self._seed = latent_size, unroll, seed
        self._learning_rate, self._batch_size = learning_rate, batch_size
        self._first_steps, self._refit_steps, self._posture_steps = first_steps, refit_steps, posture_steps
        self._holdout_fraction, self._mixed = holdout_fraction, mixed_precision
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._parts = nn.ModuleDict(parts())
            if spec.proprioception:
                self._parts["posture"] = Posture(spec)
        frame = (spec.channels, spec.height, spec.width)
        self._reference = ReferenceFrames(frame, latent_size)
        self._encoder: FrameEncoder = self._part("encoder")
        self._parts.eval()
        self._transitions_seen = 0
        self.arrival = 0.0

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

    @abstractmethod
    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""

    @abstractmethod
    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``."""

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """How far states (..., d) are from a goal (d,), in the unit that planning with it sums up: squared, here."""
        apart: Tensor = (states - goal).square().sum(-1)
        return apart

    def propose(self, state: Tensor, goal: Tensor, steps: int) -> Tensor | None:
        """No first guess; see ``ImageDynamics``."""
        return None

    @abstractmethod
    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        """Of windows that start at rows (B,)."""

    @abstractmethod
    def _finish(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        """What is left to learn on latents (F, d) that no longer change; rows (F,) held out are true."""

    def _adapt(self, data: FrameSequences) -> None:
        """What is taken from the data before the first gradient step."""
        self._encoder.adapt(_thinned(data.frames), data.proprioception)

    def _changed(self) -> None:
        """Weights have changed: from here on they are used, not trained."""
        self._parts.eval()

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
        windows = data.windows(self._unroll + 1).cpu()
        require(
            len(windows) >= 2,
            f"fit: there are {len(windows)} windows of {self._unroll + 1} frames; record longer episodes",
        )
        held_out = self._held_out(data)
        learned_from = windows[~held_out[windows]]
        windows = learned_from if len(learned_from) >= 2 else windows
        first = not self._transitions_seen
        if first:
            self._adapt(data)
        steps = self._first_steps if first else self._refit_steps
        loss = self._descend(data, windows, steps, generator, progress)
        self._transitions_seen = len(data)
        latents = self.encode(data)
        self._finish(latents, data, held_out, generator)
        if self.spec.proprioception:
            self._fit_posture(data, held_out, first, generator)
        self._changed()
        rows = held_out.nonzero().squeeze(-1).to(self.device)
        self._reference.fit(data.frames.to(self.device), latents, rows)
        self.arrival = self._usual_distance(latents, data, steps=2)
        return report_fit(
            self, latents, data, rows, train_loss=loss, steps=steps, seconds=time.perf_counter() - started
        )

    @torch.no_grad()
    def _usual_distance(self, latents: Tensor, data: FrameSequences, steps: int) -> float:
        """The median distance between states (F, d) that are so many steps apart."""
        starts = data.windows(steps + 1).to(latents.device)
        here, there = latents[starts], latents[starts + steps]
        return float(self.distance(here, there).median()) if len(starts) else 0.0

    def _held_out(self, data: FrameSequences) -> Tensor:
        """(F,) whether a frame belongs to an episode that is not learned from; some do and some do not."""
        held_out = uniform_hash(data.episodes.cpu(), self._seed) < self._holdout_fraction
        if held_out.all() or not held_out.any():
            held_out = torch.zeros(len(data.frames), dtype=torch.bool)
            held_out[-max(1, len(held_out) // 10) :] = True
        return held_out

    def _descend(
        self, data: FrameSequences, windows: Tensor, steps: int, generator: Generator, progress: Progress | None
    ) -> float:
        parameters = list(self._parts.parameters())
        optimizer = torch.optim.Adam(parameters, lr=self._learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self._learning_rate,
            total_steps=max(steps, 2),
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

    def _fit_posture(self, data: FrameSequences, held_out: Tensor, first: bool, generator: Generator) -> None:
        posture: Posture = self._part("posture")
        if first:
            posture.adapt(_thinned(data.frames), data.proprioception)
        fit_posture(
            posture,
            data,
            (~held_out).nonzero().squeeze(-1),
            steps=self._posture_steps if first else -(-self._posture_steps * self._refit_steps // self._first_steps),
            generator=generator,
            mixed_precision=self._mixed,
        )

    def _window_rows(self, data: FrameSequences, starts: Tensor) -> Tensor:
        """The rows (B, unroll + 1) of windows that start at rows (B,)."""
        return (starts.unsqueeze(-1) + torch.arange(self._unroll + 1)).to(data.frames.device)

    def _encoded(self, data: FrameSequences, rows: Tensor) -> Tensor:
        """What the encoder makes of rows (B, L): (B, L, outputs), through which gradients flow."""
        stacks = data.stacks(rows.flatten(), self.stack).to(self.device)
        with self._casting():
            encoded = self._encoder(stacks, data.proprioception[rows.flatten()].to(self.device))
        windows: Tensor = encoded.unflatten(0, rows.shape)
        return windows

    def _casting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed)

    @torch.no_grad()
    def encode(self, sequences: FrameSequences) -> Tensor:
        """The states (F, d) of recorded frames, without noise."""
        rows = torch.arange(len(sequences.frames), device=sequences.frames.device)
        self._encoder.eval()
        states: list[Tensor] = [
            self._encoder(
                sequences.stacks(part, self.stack).to(self.device),
                sequences.proprioception[part].to(self.device),
            )[:, : self._latent_size]
            for part in torch.split(rows, _ENCODED_AT_ONCE)
        ]
        return torch.cat(states)

    @torch.no_grad()
    def observe(
        self, observation: Mapping[str, Any], memory: Tensor | None, action: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The state (d,), and the frames that the next one is stacked on; see ``ImageDynamics``."""
        frame, proprioception = (seen.to(self.device).unsqueeze(0) for seen in self.spec.see(observation))
        frames = frame.expand(self.stack, -1, -1, -1) if memory is None else torch.cat([memory, frame])
        state = self._encoder(frames.unsqueeze(0), proprioception)[0]
        return state[: self._latent_size], frames[1:]

    @torch.no_grad()
    def encode_goal(self, goal: Mapping[str, Any]) -> Tensor:
        """The state (d,) of being at rest where a picture was taken; proprioception that is missing is guessed."""
        if not self.spec.measures(goal):
            frame = self.spec.frame(goal[self.spec.camera]).to(self.device).unsqueeze(0)
            goal = {**goal, **self.spec.named(self._part("posture")(frame)[0])}
        return self.observe(goal, None, None)[0]

    @torch.no_grad()
    def novelty(self, states: Tensor) -> Tensor:
        """How far states (T, d) are from the data; 1 is usual for frames that were held out."""
        return self._reference.novelty(states)

    @torch.no_grad()
    def familiarity(self, picture: Mapping[str, Any]) -> Familiarity:
        """Whether a picture looks like the data; arrays by name as in ``observe``."""
        frame = self.spec.frame(picture[self.spec.camera])
        return self._reference.familiarity(frame.to(self.device), self.encode_goal(picture))

    @torch.no_grad()
    def pictures(self, states: Tensor) -> Tensor:
        """What states (T, d) look like: (T, C, H, W) uint8, decoded.

        Without a decoder they are the recorded frames whose states are nearest.
        """
        states = states.to(self.device)
        if "decoder" not in self._parts:
            return self._reference.nearest(states)
        decoder: Decoder = self._part("decoder")
        return decoder.pictures(states, self._encoder.background, self._encoder.contrast)

    @torch.no_grad()
    def calibrate(self, executed: FrameSequences, *, horizon: int = 10) -> CalibrationReport:
        """Compare predictions with frames that the model was not fitted to."""
        return calibrate_latent(self, executed, horizon=horizon)

    def _check_rollout(self, state: Tensor, actions: Tensor) -> None:
        require(
            actions.dim() == 3 and actions.shape[2] == self.action_size,
            f"rollout: actions have shape {tuple(actions.shape)}; they must be (N, H, {self.action_size})",
        )
        require(
            state.shape[-1] == self.state_size,
            f"rollout: the state has shape {tuple(state.shape)}; its last dimension must be {self.state_size}",
        )

    def to(self, device: torch.device | str) -> Self:
        """Move everything to a device, in place."""
        self._parts.to(device)
        self._reference.to(device)
        self._changed()
        return self

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned."""
        return {
            "format": FORMAT_VERSION,
            "kind": self.kind,
            "rows_seen": self._transitions_seen,
            "arrival": self.arrival,
            "parts": self._parts.state_dict(),
            "reference": self._reference.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was learned.

        Raises:
            ValueError: if it was learned by another kind of model, or by one of other sizes.
        """
        check_kind(state, self.kind, FORMAT_VERSION)
        try:
            self._parts.load_state_dict(state["parts"])
            self._reference.load_state_dict(state["reference"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint does not fit this model: {error}") from None
        self._transitions_seen = int(state["rows_seen"])
        self.arrival = float(state["arrival"])
        self._changed()


def _thinned(frames: Tensor) -> Tensor:
    """At most 1,000 frames, spread evenly: enough for a background."""
    return frames[torch.linspace(0, len(frames) - 1, min(1000, len(frames))).long()]
