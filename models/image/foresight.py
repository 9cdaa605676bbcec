"""Visual foresight: pictures are predicted by moving their pixels, and a designated pixel's whereabouts with them.

Finn, Goodfellow, Levine 2016 (CDNA); Ebert, Finn, Lee, Levine 2017 (SNA); Finn, Levine 2017, "Deep visual foresight for
planning robot motion"; Ebert, Finn, Dasari, Xie, Lee, Levine 2018, "Visual foresight".
"""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.calibration import CalibrationReport
from models.checks import check_kind, require
from models.dynamics import Rollout
from models.fitting import FitReport, Progress
from models.image.familiarity import Familiarity, ReferenceFrames
from models.image.foresight_motion import belief_at, expected_distance, expected_pixel, move, move_belief
from models.image.foresight_network import MotionNetwork
from models.image.foresight_reports import FrameErrors, frame_errors
from models.image.foresight_robot import LinearRobot
from models.image.frames import FrameSequences, ImageSpec
from models.image.latent_heads import bootstrap_weights
from models.split import uniform_hash

FORMAT_VERSION = 1
_TOGETHER = 64
"""Candidates that are imagined together: few enough for the processor's cache."""

_WARM_UP, _THUMBNAIL = 100, 4


class Foresight:
    """A bootstrap ensemble of predictors of pixel motion; member k moves particle k.

    A state is the newest frame (C·H·W, in [0, 1]), the belief about where the designated pixel is (H·W, sum 1), and the
    robot's own measurements (q), one after another. A rollout's background is the frame that it starts from, and the
    belief's is its first belief.

    Attributes:
        spec: what it sees.
        members: K.
        arrival: the distance of the designated pixel from the goal that counts as reached, pixels.
        shown_as: how ``pictures`` makes a picture of a state, in words.
    """

    kind: ClassVar[str] = "foresight"
    shown_as: ClassVar[str] = "as the predicted picture"
    arrival: ClassVar[float] = 1.0

    def __init__(
        self,
        spec: ImageSpec,
        *,
        members: int = 3,
        kernels: int = 8,
        kernel_size: int = 5,
        width: int = 16,
        unroll: int = 5,
        points: tuple[str, ...] = (),
        designated: str = "designated_pixel",
        learning_rate: float = 2e-3,
        batch_size: int = 16,
        first_steps: int = 900,
        refit_steps: int = 100,
        holdout_fraction: float = 0.05,
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            members: K; 1 knows no doubt.
            kernels: M, motions that one step may mix.
            kernel_size: k, pixels both ways, odd: nothing moves further than half of it in one step.
            width: channels of the first convolution.
            unroll: steps that are predicted in training, each from the prediction before.
            points: names of measurements among ``spec.proprioception`` that are places in the picture, column and row;
                they are drawn into the network's input.
            designated: name of the measured pixel (2,), column and row, that is to be moved.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per member and gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            holdout_fraction: part of the episodes that is not learned from.
            seed: of the initial weights, the holdout and the bootstrap.

        Raises:
            ValueError: if a number is out of its range, or a point is no measurement of two numbers.
        """
        require(members >= 1, f"members is {members}; it must be at least 1")
        require(kernels >= 1, f"kernels is {kernels}; it must be at least 1")
        require(
            kernel_size >= 3 and kernel_size % 2 == 1,
            f"kernel_size is {kernel_size}; it must be odd and at least 3",
        )
        require(unroll >= 1, f"unroll is {unroll}; it must be at least 1")
        require(batch_size >= 1, f"batch_size is {batch_size}; it must be at least 1")
        require(0 < holdout_fraction < 1, f"holdout_fraction is {holdout_fraction}; it must be between 0 and 1")
        self.spec, self.members = spec, members
        self._designated, self._unroll, self._seed = designated, unroll, seed
        self._learning_rate, self._batch_size = learning_rate, batch_size
        self._first_steps, self._refit_steps = first_steps, refit_steps
        self._holdout_fraction = holdout_fraction
        self._points = torch.tensor(_columns_of(spec, points), dtype=torch.int64).view(-1, 2)
        shape = (spec.channels, spec.height, spec.width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = [
                MotionNetwork(
                    channels=spec.channels,
                    height=spec.height,
                    width=spec.width,
                    points=len(points),
                    extra=spec.action_size + spec.proprioception_size,
                    kernels=kernels,
                    side=kernel_size,
                    width_fine=width,
                )
                for _ in range(members)
            ]
        self._networks = nn.ModuleList(networks)
        self._robot = LinearRobot(spec.proprioception_size, spec.action_size)
        self._reference = ReferenceFrames(
            shape, spec.channels * (spec.height // _THUMBNAIL) * (spec.width // _THUMBNAIL)
        )
        self._networks.eval()
        self._transitions_seen = 0

    @property
    def state_size(self) -> int:
        """Numbers in a frame, a belief and the robot's measurements, nx."""
        return self._frame_size + self._cells + self.spec.proprioception_size

    @property
    def action_size(self) -> int:
        """The number of action variables, nu."""
        return self.spec.action_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._robot.matrix.device

    @property
    def _cells(self) -> int:
        return self.spec.height * self.spec.width

    @property
    def _frame_size(self) -> int:
        return self.spec.channels * self._cells

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        network = cast("MotionNetwork", self._networks[0])
        return self.members * candidates * network.flops_per_frame(self.spec.channels + 1)

    def frames(self, states: Tensor) -> Tensor:
        """The frames (..., C, H, W) in states (..., nx), in [0, 1]."""
        shape = (*states.shape[:-1], self.spec.channels, self.spec.height, self.spec.width)
        return states[..., : self._frame_size].reshape(shape)

    def beliefs(self, states: Tensor) -> Tensor:
        """The beliefs (..., H, W) in states (..., nx) about where the designated pixel is."""
        cells = states[..., self._frame_size : self._frame_size + self._cells]
        return cells.reshape(*states.shape[:-1], self.spec.height, self.spec.width)

    def robot(self, states: Tensor) -> Tensor:
        """The robot's measurements (..., q) in states (..., nx)."""
        return states[..., self._frame_size + self._cells :]

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """The expected distance (...) of the designated pixel from a goal, pixels.

        Args:
            states: (..., nx).
            goal: a pixel (2,), column and row, or a state (nx,) whose expected pixel is the goal.
        """
        pixel = goal if goal.shape == (2,) else expected_pixel(self.beliefs(goal))
        return expected_distance(self.beliefs(states), pixel)

    @torch.no_grad()
    def observe(self, observation: Mapping[str, Any], memory: None, action: Tensor | None) -> tuple[Tensor, None]:
        """The state (nx,) that an observation shows; where no pixel is designated the belief is uniform."""
        frame, measured = self.spec.see(observation)
        height, width = self.spec.height, self.spec.width
        if self._designated in observation:
            pixel = torch.as_tensor(observation[self._designated], dtype=torch.float32)
            belief = belief_at(pixel, height, width)
        else:
            belief = torch.full((height, width), 1.0 / self._cells)
        return torch.cat([frame.flatten() / 255, belief.flatten(), measured]).to(self.device), None

    def encode_goal(self, goal: Mapping[str, Any]) -> Tensor:
        """The state (nx,) that a picture with a designated pixel shows."""
        return self.observe(goal, None, None)[0]

    def encode(self, sequences: FrameSequences) -> Tensor:
        """The states (F, nx) of recorded frames, with uniform beliefs."""
        frames = sequences.frames.flatten(1).float() / 255
        beliefs = frames.new_full((len(frames), self._cells), 1.0 / self._cells)
        return torch.cat([frames, beliefs, sequences.proprioception], -1).to(self.device)

    def pictures(self, states: Tensor) -> Tensor:
        """What states (T, nx) look like: (T, C, H, W) uint8."""
        return (self.frames(states) * 255).round().clamp(0, 255).to(torch.uint8)

    def novelty(self, states: Tensor) -> Tensor:
        """How far the frames of states (T, nx) are from the data; 1 is usual for frames that were held out."""
        return self._reference.novelty(self._thumbnails(self.frames(states)))

    def familiarity(self, picture: Mapping[str, Any]) -> Familiarity:
        """Whether a picture looks like the data; arrays by name as in ``observe``."""
        frame = self.spec.see(picture)[0].to(self.device)
        return self._reference.familiarity(frame, self._thumbnails(frame.unsqueeze(0) / 255)[0])

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. There is no noise.

        Gradients flow to actions and states where they are required.

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
        start = state.float().expand(self.members, len(actions), self.state_size)
        actions = actions.float()
        with torch.set_grad_enabled(torch.is_grad_enabled() and (actions.requires_grad or state.requires_grad)):
            particles = []
            for member in range(self.members):
                parts = zip(torch.split(start[member], _TOGETHER), torch.split(actions, _TOGETHER), strict=True)
                particles.append(torch.cat([self._imagine(member, *part) for part in parts]))
            states = torch.stack(particles)
        return Rollout(states, members=torch.arange(self.members, device=states.device))

    def _imagine(self, member: int, start: Tensor, actions: Tensor) -> Tensor:
        """States (B, H + 1, nx) from states (B, nx) and actions (B, H, nu), by one member."""
        first_frame, first_belief = self.frames(start), self.beliefs(start)
        frame, belief, robot = first_frame, first_belief, self.robot(start)
        states = [start]
        for step in range(actions.shape[1]):
            kernels, masks, robot = self._motion(member, frame, first_frame, robot, actions[:, step])
            frame = move(frame, first_frame, kernels, masks)
            belief = move_belief(belief, first_belief, kernels, masks)
            states.append(torch.cat([frame.flatten(1), belief.flatten(1), robot], -1))
        return torch.stack(states, 1)

    def _motion(
        self, member: int, frame: Tensor, first: Tensor, robot: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Kernels, masks, and the robot's next measurements."""
        following = self._robot(robot, action)
        points = self._points.to(robot.device)
        extra = torch.cat([self._robot.normalized(robot), action], -1)
        kernels, masks = self._networks[member](frame, first, robot[:, points], following[:, points], extra)
        return kernels, masks, following

    def fit(self, data: FrameSequences, *, generator: Generator, progress: Progress | None = None) -> FitReport:
        """Learn from all frames so far; weights go on from the last fit.

        Each member learns from windows drawn with replacement (bootstrap), to predict ``unroll`` frames one after
        another from the first, each from the prediction before: the mean squared error of their pixels.

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
        self._robot.fit(data)
        steps = self._refit_steps if self._transitions_seen else self._first_steps
        loss = self._descend(data, windows, steps, generator, progress)
        self._transitions_seen = len(data)
        rows = held_out.nonzero().squeeze(-1)
        self._reference.fit(
            data.frames.to(self.device), self._thumbnails(data.frames.to(self.device) / 255), rows.to(self.device)
        )
        errors = self.errors(data, rows=rows, horizon=1)
        return FitReport(
            train_loss=loss,
            holdout_loss=errors.one_step**2,
            member_losses=tuple(error**2 for error in errors.member_one_step),
            one_step_rmse=errors.one_step,
            one_step_rmse_states=(),
            elites=tuple(range(self.members)),
            rows=len(data),
            steps=steps,
            seconds=time.perf_counter() - started,
        )

    def _descend(
        self, data: FrameSequences, windows: Tensor, steps: int, generator: Generator, progress: Progress | None
    ) -> float:
        counts = bootstrap_weights(windows, self.members, self._seed).long()
        tables = [windows.repeat_interleave(count) if int(count.sum()) else windows for count in counts]
        parameters = list(self._networks.parameters())
        optimizer = torch.optim.Adam(parameters, lr=self._learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self._learning_rate,
            total_steps=max(steps, 2),
            pct_start=min(0.3, _WARM_UP / steps),
            cycle_momentum=False,
        )
        self._networks.train()
        total = 0.0
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            total = 0.0
            for member, table in enumerate(tables):
                picked = table[torch.randint(len(table), (self._batch_size,), generator=generator)]
                loss = self._loss(member, data, picked)
                torch.autograd.backward(loss)
                total += float(loss.detach()) / self.members
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if progress is not None and (step + 1) % 50 == 0:
                progress(step + 1, steps, total)
        self._networks.eval()
        return total

    def _loss(self, member: int, data: FrameSequences, starts: Tensor) -> Tensor:
        rows = (starts.unsqueeze(-1) + torch.arange(self._unroll + 1)).to(data.frames.device)
        frames = data.frames[rows].to(self.device).float() / 255
        actions = data.actions[rows].to(self.device)
        robot = data.proprioception[rows[:, 0]].to(self.device)
        frame = first = frames[:, 0]
        loss = frame.new_zeros(())
        for step in range(self._unroll):
            kernels, masks, robot = self._motion(member, frame, first, robot, actions[:, step])
            frame = move(frame, first, kernels, masks)
            loss = loss + functional.mse_loss(frame, frames[:, step + 1])
        return loss / self._unroll

    def _held_out(self, data: FrameSequences) -> Tensor:
        """(F,) whether a frame belongs to an episode that is not learned from; some do and some do not."""
        held_out = uniform_hash(data.episodes.cpu(), self._seed) < self._holdout_fraction
        if held_out.all() or not held_out.any():
            held_out = torch.zeros(len(data.frames), dtype=torch.bool)
            held_out[-max(1, len(held_out) // 10) :] = True
        return held_out

    def _thumbnails(self, frames: Tensor) -> Tensor:
        """Frames (T, C, H, W) in [0, 1] as short vectors that tell them apart."""
        return functional.avg_pool2d(frames, _THUMBNAIL).flatten(1)

    def errors(self, data: FrameSequences, *, horizon: int, rows: Tensor | None = None) -> FrameErrors:
        """How far predicted frames are from those recorded, see ``frame_errors``."""
        return frame_errors(self, data, horizon=horizon, rows=rows)

    def calibrate(self, executed: FrameSequences, *, horizon: int = 10) -> CalibrationReport:
        """Compare predictions with frames that the model was not fitted to, in units of copying the last frame."""
        errors = self.errors(executed, horizon=horizon)
        return CalibrationReport(
            one_step_rmse=errors.one_step,
            one_step_rmse_states=(),
            h_step_rmse=errors.h_step,
            h_step_rmse_states=(),
            horizon=errors.horizon,
            log_likelihood=None,
            coverage={},
            epistemic=errors.spread,
            aleatoric=0.0,
        )

    def to(self, device: torch.device | str) -> Self:
        """Move everything to a device, in place."""
        for part in (self._networks, self._robot, self._reference):
            part.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned."""
        return {
            "format": FORMAT_VERSION,
            "kind": self.kind,
            "rows_seen": self._transitions_seen,
            "networks": self._networks.state_dict(),
            "robot": self._robot.state_dict(),
            "reference": self._reference.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was learned.

        Raises:
            ValueError: if it was learned by another kind of model, or by one of other sizes.
        """
        check_kind(state, self.kind, FORMAT_VERSION)
        try:
            self._networks.load_state_dict(state["networks"])
            self._robot.load_state_dict(state["robot"])
            self._reference.load_state_dict(state["reference"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint does not fit this model: {error}") from None
        self._transitions_seen = int(state["rows_seen"])


def _columns_of(spec: ImageSpec, points: tuple[str, ...]) -> list[tuple[int, int]]:
    """The two columns of each point among the measurements that join the picture."""
    starts, at = {}, 0
    for name, size in spec.proprioception:
        starts[name] = (at, size)
        at += size
    for name in points:
        if starts.get(name, (0, 0))[1] != 2:
            raise ValueError(
                f"points: {name!r} is no measurement of two numbers that joins the picture; there are "
                f"{', '.join(f'{known} ({size})' for known, size in spec.proprioception) or 'none'}."
            )
    return [(starts[name][0], starts[name][0] + 1) for name in points]
