"""How far predicted frames are from recorded ones, against taking the last frame for the next."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.dynamics import Rollout
from models.image.frames import FrameSequences

_AT_MOST = 256


class FramePredictor(Protocol):
    """What the errors need of a model."""

    def encode(self, sequences: FrameSequences) -> Tensor:
        """(F, nx)."""
        ...

    def frames(self, states: Tensor) -> Tensor:
        """(..., C, H, W)."""
        ...

    def rollout(self, state: Tensor, actions: Tensor) -> Rollout:
        """See ``Dynamics``."""
        ...


@dataclass(frozen=True)
class FrameErrors:
    """Root mean squared errors of pixels, in units of those of copying the start's frame: below 1 is better than that.

    Attributes:
        one_step: of the members' mean.
        h_step: the same after ``horizon`` steps.
        horizon: steps.
        copy_one_step: of copying, in grey levels from 0 to 1.
        copy_h_step: the same after ``horizon`` steps.
        member_one_step: of each member.
        spread: mean variance over the members after one step, in the same units squared.
    """

    one_step: float
    h_step: float
    horizon: int
    copy_one_step: float
    copy_h_step: float
    member_one_step: tuple[float, ...]
    spread: float


@torch.no_grad()
def frame_errors(
    model: FramePredictor, data: FrameSequences, *, horizon: int, rows: Tensor | None = None
) -> FrameErrors:
    """Predict recorded frames from at most 256 of them, spread evenly.

    Args:
        model: fitted.
        data: F frames.
        horizon: steps; fewer where no episode is that long.
        rows: begin only at these; None begins anywhere. If no window of ``horizon`` steps begins there, anywhere.
    """
    longest = int(torch.unique_consecutive(data.episodes, return_counts=True)[1].max()) - 1
    horizon = min(horizon, longest)
    starts = data.windows(horizon + 1).cpu()
    if rows is not None and torch.isin(starts, rows.cpu()).any():
        starts = starts[torch.isin(starts, rows.cpu())]
    starts = starts[torch.linspace(0, len(starts) - 1, min(len(starts), _AT_MOST)).long()]
    window = starts.unsqueeze(-1) + torch.arange(horizon + 1)
    part = FrameSequences(
        data.frames[starts], data.proprioception[starts], data.actions[starts], None, torch.arange(len(starts))
    )
    begin = model.encode(part)
    predicted = model.frames(model.rollout(begin, data.actions[window[:, :-1]].to(begin.device)).states)
    wanted = (data.frames[window[:, [1, horizon]]].float() / 255).to(begin.device)
    now = (data.frames[starts].float() / 255).to(begin.device)
    copied = [_rms(now - wanted[:, index]) for index in (0, 1)]
    members = predicted[:, :, 1] - wanted[:, 0]
    return FrameErrors(
        one_step=_rms(members.mean(0)) / copied[0],
        h_step=_rms(predicted[:, :, horizon].mean(0) - wanted[:, 1]) / copied[1],
        horizon=horizon,
        copy_one_step=copied[0],
        copy_h_step=copied[1],
        member_one_step=tuple(_rms(error) / copied[0] for error in members),
        spread=float(members.var(0, correction=0).mean()) / copied[0] ** 2,
    )


def _rms(error: Tensor) -> float:
    return max(float(error.square().mean().sqrt()), 1e-9)
