"""Message passing in a linear-Gaussian chain: a Kalman filter in potentials, and the smoother behind it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chain:
    """s_0 ~ N(mean, covariance), s_t+1 ~ N(transition_t s_t + drift_t, noise_t); B chains of T states.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        transition: (T - 1, d, d).
        drift: (B, T - 1, d), the offset and what actions add.
        noise: (T - 1, d, d).
    """

    mean: Tensor
    covariance: Tensor
    transition: Tensor
    drift: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Potentials:
    """Evidence about every state: exp(−½ sᵀ precision s + informationᵀ s).

    Attributes:
        precision: (B, T, d, d), positive semidefinite.
        information: (B, T, d).
    """

    precision: Tensor
    information: Tensor


@dataclass(frozen=True)
class Smoothed:
    """The posterior of the states, and the logarithm of the evidence.

    Attributes:
        mean: (B, T, d).
        covariance: (B, T, d, d).
        crossed: (B, T - 1, d, d), the covariance of s_t with s_t+1.
        log_evidence: log ∫ p(s) Π potentials ds, (B,).
    """

    mean: Tensor
    covariance: Tensor
    crossed: Tensor
    log_evidence: Tensor


def absorb(mean: Tensor, covariance: Tensor, precision: Tensor, information: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """N(mean, covariance) times one potential: the new mean (..., d), covariance, and log integral (...)."""
    size = mean.shape[-1]
    system = torch.eye(size, dtype=mean.dtype, device=mean.device) + covariance @ precision
    pulled = information - (precision @ mean.unsqueeze(-1)).squeeze(-1)
    new_covariance = torch.linalg.solve(system, covariance.expand(system.shape))
    new_covariance = 0.5 * (new_covariance + new_covariance.mT)
    shift = (new_covariance @ pulled.unsqueeze(-1)).squeeze(-1)
    inner = (mean * (information + pulled)).sum(-1) + (pulled * shift).sum(-1)
    return mean + shift, new_covariance, 0.5 * (inner - torch.linalg.slogdet(system).logabsdet)


def smooth(chain: Chain, evidence: Potentials) -> Smoothed:
    """The posterior of every state given all potentials (Rauch, Tung and Striebel 1965); gradients flow."""
    steps = evidence.information.shape[1]
    mean = chain.mean.expand(evidence.information[:, 0].shape)
    covariance = chain.covariance.expand(evidence.precision[:, 0].shape)
    log_evidence = torch.zeros_like(mean[:, 0])
    filtered, predicted = [], []
    for step in range(steps):
        mean, covariance, gained = absorb(mean, covariance, evidence.precision[:, step], evidence.information[:, step])
        log_evidence = log_evidence + gained
        filtered.append((mean, covariance))
        if step + 1 < steps:
            transition = chain.transition[step]
            mean = mean @ transition.mT + chain.drift[:, step]
            covariance = transition @ covariance @ transition.mT + chain.noise[step]
            predicted.append((mean, covariance))
    means, covariances, crossed = [filtered[-1][0]], [filtered[-1][1]], []
    for step in reversed(range(steps - 1)):
        mean, covariance = filtered[step]
        guess, spread = predicted[step]
        gain = torch.linalg.solve(spread, chain.transition[step] @ covariance).mT
        crossed.append(gain @ covariances[-1])
        means.append(mean + (gain @ (means[-1] - guess).unsqueeze(-1)).squeeze(-1))
        covariances.append(covariance + gain @ (covariances[-1] - spread) @ gain.mT)
    return Smoothed(
        torch.stack(means[::-1], 1),
        torch.stack(covariances[::-1], 1),
        torch.stack(crossed[::-1], 1) if crossed else evidence.precision[:, :0],
        log_evidence,
    )
