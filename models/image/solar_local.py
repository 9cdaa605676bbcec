"""Dynamics, states and behaviour of the rollouts of one policy: variational inference of time-varying linear models."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.image.solar_messages import Chain, Potentials, Smoothed, smooth
from models.image.solar_regression import Moments, Regression

_BEHAVIOUR_STRENGTH = 1.0
_SMALLEST_ACTION_STD = 0.05
_POOLED = 6.0
"""Steps as far apart as this share nothing."""


@dataclass(frozen=True)
class LocalModel:
    """What happens around the rollouts of one policy, step by step over H steps, and the policy itself.

    Attributes:
        matrix: x' = matrix_t [x; u] + offset_t + noise, (H, nx, nx + nu).
        offset: (H, nx).
        noise: covariance, (H, nx, nx).
        initial_mean: (nx,).
        initial_covariance: (nx, nx).
        policy_gains: u ~ N(gains_t x + offsets_t, covariance_t), (H, nu, nx).
        policy_offsets: (H, nu).
        policy_covariance: (H, nu, nu).
    """

    matrix: Tensor
    offset: Tensor
    noise: Tensor
    initial_mean: Tensor
    initial_covariance: Tensor
    policy_gains: Tensor
    policy_offsets: Tensor
    policy_covariance: Tensor


def infer_states(
    dynamics: Regression, actions: Tensor, evidence: Potentials, mean: Tensor, covariance: Tensor
) -> Smoothed:
    """The states of B rollouts under uncertain dynamics: the E step.

    Args:
        dynamics: of [s; u; 1]; one, or one for each of the T - 1 steps.
        actions: (B, T - 1, nu).
        evidence: about the states, (B, T).
        mean: of the first state, (d,).
        covariance: of the first state, (d, d).
    """
    size, steps = len(mean), actions.shape[1]
    inputs = torch.cat([actions, torch.ones_like(actions[..., :1])], -1)
    matrix = dynamics.mean.expand(steps, -1, -1)
    chain = Chain(
        mean,
        covariance,
        matrix[..., :size],
        (matrix[..., size:] @ inputs.unsqueeze(-1)).squeeze(-1),
        dynamics.noise.expand(steps, -1, -1),
    )
    doubt = dynamics.doubt.expand(steps, -1, -1)
    precision, information = evidence.precision.clone(), evidence.information.clone()
    precision[:, :-1] += doubt[:, :size, :size]
    information[:, :-1] -= (doubt[:, :size, size:] @ inputs.unsqueeze(-1)).squeeze(-1)
    return smooth(chain, Potentials(precision, information))


def moments_of(states: Smoothed, actions: Tensor) -> Moments:
    """Expected moments of s_t+1 against [s_t; u_t; 1] in every rollout and step: leading dimensions (B, T - 1)."""
    size = states.mean.shape[-1]
    inputs = torch.cat([states.mean[:, :-1], actions, torch.ones_like(actions[..., :1])], -1)
    following = states.mean[:, 1:]
    xx = inputs.unsqueeze(-1) * inputs.unsqueeze(-2)
    xx[..., :size, :size] += states.covariance[:, :-1]
    yx = following.unsqueeze(-1) * inputs.unsqueeze(-2)
    yx[..., :size] += states.crossed.mT
    yy = following.unsqueeze(-1) * following.unsqueeze(-2) + states.covariance[:, 1:]
    return Moments(xx, yx, yy, torch.ones_like(inputs[..., 0]))


def summed(moments: Moments, dimensions: tuple[int, ...]) -> Moments:
    """Added up over some of the leading dimensions."""
    return Moments(
        moments.xx.sum(dimensions),
        moments.yx.sum(dimensions),
        moments.yy.sum(dimensions),
        moments.count.sum(dimensions),
    )


def fit_local(prior: Regression, actions: Tensor, evidence: Potentials, *, rounds: int) -> LocalModel:
    """Fit time-varying dynamics, the start and the behaviour to the rollouts of one policy.

    The dynamics of a step are fitted to the steps around it too. A few rollouts of one step alone say too little of
    what actions do against the noise of states, and a planner finds the errors that please it.

    Args:
        prior: of the dynamics at every step.
        actions: (B, H, nu).
        evidence: about the H + 1 states of every rollout.
        rounds: of inferring states and refitting.
    """
    size = evidence.information.shape[-1]
    steps = actions.shape[1]
    mean, covariance = evidence.information.new_zeros(size), torch.eye(size, dtype=actions.dtype)
    dynamics = prior
    prior_each = Regression(
        prior.mean.expand(steps, -1, -1),
        prior.precision.expand(steps, -1, -1),
        prior.scale.expand(steps, -1, -1),
        prior.dof.expand(steps),
    )
    for _ in range(rounds):
        states = infer_states(dynamics, actions, evidence, mean, covariance)
        dynamics = prior_each.posterior(_pooled(summed(moments_of(states, actions), (0,))))
        first = states.mean[:, 0]
        mean = first.mean(0)
        apart = first - mean
        covariance = states.covariance[:, 0].mean(0) + apart.mT @ apart / len(first)
    behaviour = _behaviour(states, actions)
    controls = dynamics.mean.shape[-1] - 1
    return LocalModel(
        dynamics.mean[..., :controls],
        dynamics.mean[..., controls],
        dynamics.noise,
        mean,
        covariance,
        behaviour.mean[..., :size],
        behaviour.mean[..., size],
        behaviour.noise,
    )


def _pooled(moments: Moments) -> Moments:
    """Of every step with those of the steps around it, which count less the further away they are: (H,)."""
    steps = torch.arange(len(moments.count)).to(moments.count)
    weight = (1 - (steps.unsqueeze(0) - steps.unsqueeze(1)).abs() / _POOLED).clamp(min=0)
    parts = (moments.xx, moments.yx, moments.yy, moments.count)
    return Moments(*(torch.tensordot(weight, part, 1) for part in parts))


def _behaviour(states: Smoothed, actions: Tensor) -> Regression:
    """u_t against [s_t; 1]."""
    size, controls = states.mean.shape[-1], actions.shape[-1]
    inputs = torch.cat([states.mean[:, :-1], torch.ones_like(actions[..., :1])], -1)
    xx = inputs.unsqueeze(-1) * inputs.unsqueeze(-2)
    xx[..., :size, :size] += states.covariance[:, :-1]
    seen = Moments(
        xx,
        actions.unsqueeze(-1) * inputs.unsqueeze(-2),
        actions.unsqueeze(-1) * actions.unsqueeze(-2),
        torch.ones_like(actions[..., 0]),
    )
    precision = _BEHAVIOUR_STRENGTH * torch.eye(size + 1, dtype=actions.dtype)
    precision[size, size] = 1e-6
    strength = controls + 1.0
    steps = actions.shape[1]
    prior = Regression(
        actions.new_zeros(steps, controls, size + 1),
        precision.expand(steps, -1, -1),
        (strength * _SMALLEST_ACTION_STD**2 * torch.eye(controls, dtype=actions.dtype)).expand(steps, -1, -1),
        actions.new_full((steps,), strength),
    )
    return prior.posterior(summed(seen, (0,)))
