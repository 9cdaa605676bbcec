"""How doubt travels along a rollout: which member moves which particle (PETS, arXiv:1805.12114)."""

from typing import Literal

import torch
from torch import Generator, Tensor

Propagation = Literal["ts1", "tsinf", "expectation", "moment-matching"]


def assignments(horizon: int, particles: int, members: int, generator: Generator | None) -> Tensor:
    """TS1: the order (H, P) in which particles take the P places that belong to members, P / E places each.

    Every member moves the same number of particles at every step. Candidates share the order. Without a
    generator the particles go round the members in turn.
    """
    if generator is not None:
        return torch.rand((horizon, particles), generator=generator, device=generator.device).argsort(-1)
    turns = torch.arange(horizon).unsqueeze(-1) * (particles // members)
    return (torch.arange(particles) + turns) % particles


def match_moments(states: Tensor, noise: Tensor) -> Tensor:
    """Replace particles by draws from a Gaussian with their mean and variance in each column.

    Args:
        states: (P, N, n).
        noise: (P, 1, n) standard normal numbers, shared by the candidates.
    """
    return states.mean(0, keepdim=True) + states.std(0, correction=0, keepdim=True) * noise
