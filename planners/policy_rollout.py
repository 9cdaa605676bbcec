"""What a policy would do, imagined: candidates for a planner."""

from typing import Protocol

import torch
from torch import Generator, Tensor

from models.dynamics import Dynamics


class Policy(Protocol):
    """Says what to do in a state."""

    def act(self, states: Tensor, *, noise: Tensor) -> Tensor:
        """Actions (K, nu) in states (K, nx), each off the policy's mean by noise (K, nu) standard deviations."""
        ...


def imagined_actions(
    model: Dynamics, policy: Policy, state: Tensor, count: int, steps: int, generator: Generator
) -> Tensor:
    """What a policy would do, each time in another of the model's futures.

    The first sequence is the policy's mean, the others are drawn from it.

    Args:
        model: imagines where the actions lead.
        policy: chooses them.
        state: (nx,) where the futures start.
        count: sequences, K.
        steps: of each sequence, H.
        generator: of the policy's noise and the model's (a generator on the state's device).

    Returns:
        (K, H, nu).
    """
    rows = torch.arange(count, device=state.device)
    states, actions = state.expand(count, -1), []
    with torch.inference_mode():
        for _ in range(steps):
            noise = torch.randn(count, model.action_size, generator=generator, device=state.device)
            noise[0] = 0
            actions.append(policy.act(states, noise=noise))
            futures = model.rollout(states, actions[-1].unsqueeze(1), generator=generator).states[:, :, 1]
            states = futures[rows % len(futures), rows]
    return torch.stack(actions, 1).clone()
