"""How well a model's predictions, and its doubts, agree with what happened."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.dynamics import Dynamics
from models.transitions import Transitions
from models.uncertainty import split_variance
from models.unrolling import follows

if TYPE_CHECKING:
    from models.ensemble import ProbabilisticEnsemble

LEVELS = (0.5, 0.9, 0.95)


@dataclass(frozen=True)
class CalibrationReport:
    """Errors of a model on transitions; columns that hold commands are left out of all averages.

    Normalised errors are in standard deviations of a one-step change in the transitions the report is about.

    Attributes:
        one_step_rmse: normalised, of the ensemble's mean.
        one_step_rmse_states: (nx) values, in state units.
        h_step_rmse: normalised, of the ensemble's mean at the end of ``horizon`` open-loop steps.
        h_step_rmse_states: (nx) values, in state units.
        horizon: steps of the open-loop prediction; less than asked for where no episode is that long.
        log_likelihood: mean over rows and columns of the log density of the observed change under the mixture
            of the members' Gaussians, in normalised units; None for a deterministic head.
        coverage: for each level the part of observations within the mixture's central interval of that
            probability; empty for a deterministic head.
        epistemic: mean variance of the members' means, normalised.
        aleatoric: mean of the members' variances, normalised.
    """

    one_step_rmse: float
    one_step_rmse_states: tuple[float, ...]
    h_step_rmse: float
    h_step_rmse_states: tuple[float, ...]
    horizon: int
    log_likelihood: float | None
    coverage: dict[float, float]
    epistemic: float
    aleatoric: float


@torch.no_grad()
def calibrate(model: "ProbabilisticEnsemble", transitions: Transitions, *, horizon: int = 25) -> CalibrationReport:
    """Compare predictions with transitions that the model was not fitted to.

    Args:
        model: fitted.
        transitions: in order, episodes contiguous.
        horizon: steps of the open-loop prediction.
    """
    features = model.features
    learned = features.learned
    prediction = model.predict(transitions.states, transitions.actions)
    scale = _scale(features.targets(transitions.states, transitions.next_states))
    error = features.targets(transitions.next_states, prediction.mean.mean(0))
    epistemic, aleatoric = split_variance(prediction.mean, prediction.variance)
    horizon, far_error = _open_loop_error(model, transitions, horizon)
    members_error = features.targets(prediction.mean, transitions.next_states.expand_as(prediction.mean)) / scale
    std = prediction.variance[..., learned].sqrt() / scale
    gaussian = bool((std > 0).all())
    return CalibrationReport(
        one_step_rmse=float((error / scale).square().mean().sqrt()),
        one_step_rmse_states=_per_state(model, error),
        h_step_rmse=float((far_error / scale).square().mean().sqrt()),
        h_step_rmse_states=_per_state(model, far_error),
        horizon=horizon,
        log_likelihood=_log_likelihood(members_error, std) if gaussian else None,
        coverage={level: _coverage(members_error, std, level) for level in LEVELS} if gaussian else {},
        epistemic=float((epistemic[..., learned] / scale.square()).mean()),
        aleatoric=float((aleatoric[..., learned] / scale.square()).mean()),
    )


@torch.no_grad()
def predicted_trajectories(model: Dynamics, states: Tensor, actions: Tensor) -> Tensor:
    """What each planning member would have predicted, open loop and without noise.

    Args:
        model: fitted.
        states: (T, nx), of which the first is where predictions start; or (nx,).
        actions: (H, nu), what was sent.

    Returns:
        (P, H + 1, nx), one particle per member under TS∞ and expectation, for plots against what was
        observed.
    """
    start = states if states.dim() == 1 else states[0]
    return model.rollout(start, actions.unsqueeze(0)).states[:, 0]


def contiguous_windows(transitions: Transitions, length: int) -> Tensor:
    """The first rows (W,) of all runs of ``length`` transitions in which each follows the last."""
    continues = follows(transitions)
    breaks = torch.cat([continues.new_zeros(1), ~continues]).long().cumsum(0)
    first = torch.arange(max(0, len(transitions) - length + 1), device=breaks.device)
    return first[breaks[first] == breaks[first + length - 1]]


def _open_loop_error(model: "ProbabilisticEnsemble", transitions: Transitions, horizon: int) -> tuple[int, Tensor]:
    starts = contiguous_windows(transitions, horizon)
    while not len(starts):
        horizon -= 1
        starts = contiguous_windows(transitions, horizon)
    rows = starts.unsqueeze(-1) + torch.arange(horizon, device=starts.device)
    states = model.rollout(transitions.states[starts], transitions.actions[rows]).states
    reached = states[:, :, -1].mean(0)
    return horizon, model.features.targets(transitions.next_states[rows[:, -1]], reached)


def _scale(change: Tensor) -> Tensor:
    std = change.std(0, correction=0)
    return torch.where(std > 1e-9, std, torch.ones_like(std))


def _per_state(model: "ProbabilisticEnsemble", error: Tensor) -> tuple[float, ...]:
    values = torch.zeros(model.state_size, device=error.device)
    values[model.features.learned] = error.square().mean(0).sqrt()
    return tuple(values.tolist())


def _log_likelihood(error: Tensor, std: Tensor) -> float:
    density = -0.5 * (error / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
    return float((density.logsumexp(0) - math.log(len(error))).mean())


def _coverage(error: Tensor, std: Tensor, level: float) -> float:
    """How often the mixture's distribution function at the observation is outside both tails."""
    probability = torch.special.ndtr(error / std).mean(0)
    tail = (1 - level) / 2
    return float(((probability >= tail) & (probability <= 1 - tail)).float().mean())
