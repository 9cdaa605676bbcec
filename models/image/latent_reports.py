"""Reports on models of latent states, in the same terms as those on models of measured states."""

from typing import Protocol

import torch
from torch import Tensor

from models.calibration import CalibrationReport
from models.dynamics import Rollout
from models.fitting import FitReport
from models.image.frames import FrameSequences


class LatentModel(Protocol):
    """What reports need of a model."""

    def encode(self, sequences: FrameSequences) -> Tensor:
        """(F, nx)."""
        ...

    def rollout(self, state: Tensor, actions: Tensor) -> Rollout:
        """See ``Dynamics``."""
        ...


@torch.no_grad()
def report_fit(
    model: LatentModel,
    latents: Tensor,
    data: FrameSequences,
    held_out: Tensor,
    *,
    train_loss: float,
    steps: int,
    seconds: float,
) -> FitReport:
    """How well one step is predicted on frames held out.

    Args:
        model: fitted.
        latents: (F, nx) of the data.
        data: F frames.
        held_out: rows.
        train_loss: of the last gradient step.
        steps: gradient steps taken.
        seconds: wall time.
    """
    starts = data.windows(2).to(latents.device)
    chosen = starts[torch.isin(starts, held_out)]
    errors, scale = _one_step(model, latents, data, chosen if len(chosen) else starts)
    members = (errors / scale).square().mean((1, 2))
    mean_error = errors.mean(0)
    return FitReport(
        train_loss=train_loss,
        holdout_loss=float(members.mean()),
        member_losses=tuple(members.tolist()),
        one_step_rmse=float((mean_error / scale).square().mean().sqrt()),
        one_step_rmse_states=tuple(mean_error.square().mean(0).sqrt().tolist()),
        elites=tuple(range(len(members))),
        rows=len(data),
        steps=steps,
        seconds=seconds,
    )


@torch.no_grad()
def calibrate_latent(model: LatentModel, executed: FrameSequences, *, horizon: int) -> CalibrationReport:
    """Errors on recorded frames, in standard deviations of a one-step change of the latent state there.

    Latent models predict no noise, so likelihood and coverage are left out, and ``aleatoric`` is 0.
    """
    latents = model.encode(executed)
    starts = executed.windows(2).to(latents.device)
    errors, scale = _one_step(model, latents, executed, starts)
    horizon = min(horizon, int(torch.unique_consecutive(executed.episodes, return_counts=True)[1].max()) - 1)
    begins = executed.windows(horizon + 1).to(latents.device)
    rows = begins.unsqueeze(-1) + torch.arange(horizon, device=begins.device)
    reached = model.rollout(latents[begins], executed.actions.to(latents.device)[rows]).states[:, :, -1].mean(0)
    far_error = reached - latents[begins + horizon]
    mean_error = errors.mean(0)
    return CalibrationReport(
        one_step_rmse=float((mean_error / scale).square().mean().sqrt()),
        one_step_rmse_states=tuple(mean_error.square().mean(0).sqrt().tolist()),
        h_step_rmse=float((far_error / scale).square().mean().sqrt()),
        h_step_rmse_states=tuple(far_error.square().mean(0).sqrt().tolist()),
        horizon=horizon,
        log_likelihood=None,
        coverage={},
        epistemic=float((errors.var(0, correction=0) / scale.square()).mean()),
        aleatoric=0.0,
    )


def _one_step(model: LatentModel, latents: Tensor, data: FrameSequences, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Errors (P, B, nx) of one step from rows (B,), and the spread (nx,) of the changes there."""
    actions = data.actions.to(latents.device)[starts].unsqueeze(1)
    predicted = model.rollout(latents[starts], actions).states[:, :, 1]
    change = latents[starts + 1] - latents[starts]
    scale = change.std(0, correction=0).clamp(min=1e-9)
    return predicted - latents[starts + 1], scale
