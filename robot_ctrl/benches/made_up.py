"""Made-up robots of a given size: data, and models that have learned something from it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator

from models.ensemble import ProbabilisticEnsemble
from models.propagation import Propagation
from models.state import StateSpec
from models.transitions import Transitions

ROWS = 4000
FIRST_STEPS = 100


@dataclass(frozen=True)
class Size:
    """The size of a robot's state and action, and of the networks that learn it."""

    state_size: int
    action_size: int
    members: int
    hidden: tuple[int, ...]
    particles: int
    propagation: Propagation = "ts1"

    def model(self, **settings: Any) -> ProbabilisticEnsemble:
        """An untrained model."""
        return ProbabilisticEnsemble(
            StateSpec(tuple(f"x{index}" for index in range(self.state_size)), action_size=self.action_size),
            members=self.members,
            hidden=self.hidden,
            particles=self.particles,
            propagation=self.propagation,
            **settings,
        )

    def __str__(self) -> str:
        layers = f"{len(self.hidden)}×{self.hidden[0]}"
        return f"nx {self.state_size}, nu {self.action_size}, {self.members} networks {layers}, P {self.particles}"


def transitions(size: Size, rows: int = ROWS) -> Transitions:
    """A smooth random system, driven at random, one step from each of many states."""
    generator = Generator().manual_seed(0)
    inputs = size.state_size + size.action_size
    coupling = torch.randn(inputs, size.state_size, generator=generator) / inputs**0.5
    states = torch.randn(rows, size.state_size, generator=generator)
    actions = torch.rand(rows, size.action_size, generator=generator) * 2 - 1
    change = 0.1 * torch.tanh(torch.cat([states, actions], -1) @ coupling) - 0.02 * states
    return Transitions(states, actions, states + change, None, None, torch.zeros(rows, dtype=torch.int64))


def fitted(size: Size, data: Transitions, **settings: Any) -> ProbabilisticEnsemble:
    """A model of that size after a short fit."""
    model = size.model(first_steps=FIRST_STEPS, **settings)
    model.fit(data, generator=Generator().manual_seed(0))
    return model
