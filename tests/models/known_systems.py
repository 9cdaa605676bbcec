"""Systems whose answers are known, and models made by hand."""

import torch
from torch import Generator, Tensor

from models.ensemble import ProbabilisticEnsemble
from models.normalizer import Normalizer
from models.state import StateSpec
from models.transitions import Transitions

LINEAR = StateSpec(("x", "y"), action_size=1)
NOISE = torch.tensor([0.05, 0.2])
DRIFT = torch.tensor([[0.0, 0.1], [-0.2, 0.0]])
PUSH = torch.tensor([[0.0, 0.5]])


def linear_step(states: Tensor, actions: Tensor) -> Tensor:
    return states + states @ DRIFT.T + actions @ PUSH


def linear_data(rows: int, *, seed: int = 0, noise: Tensor = NOISE, centre: float = 0.0) -> Transitions:
    generator = Generator().manual_seed(seed)
    states = centre + torch.randn(rows, 2, generator=generator)
    actions = torch.rand(rows, 1, generator=generator) * 2 - 1
    following = linear_step(states, actions) + noise * torch.randn(rows, 2, generator=generator)
    return Transitions(states, actions, following, None, None, torch.arange(rows))


def fitted(data: Transitions, spec: StateSpec = LINEAR, *, steps: int = 300, **settings: object):
    model = ProbabilisticEnsemble(spec, **({"hidden": (32, 32), "first_steps": steps} | settings))
    report = model.fit(data, generator=Generator().manual_seed(0))
    return model, report


def hand_made(
    shifts: list[float], std: float = 0.0, *, columns: int = 1, scale: float = 1.0, **settings: object
) -> ProbabilisticEnsemble:
    """Members whose every column changes by their own shift plus action, with a known standard deviation."""
    spec = StateSpec(tuple(f"s{index}" for index in range(columns)), action_size=columns)
    head = "gaussian" if std else "deterministic"
    model = ProbabilisticEnsemble(
        spec, **({"members": len(shifts), "hidden": (), "head": head, "particles": len(shifts)} | settings)
    )
    network = model._average.network
    with torch.no_grad():
        weight, bias = network.weights[0], network.biases[0]
        weight.zero_()
        bias.zero_()
        weight[:, columns:, :columns] = torch.eye(columns) / scale
        bias[:, 0, :columns] = torch.tensor(shifts).unsqueeze(-1) / scale
        if std:
            bias[:, 0, columns:] = 2 * torch.tensor(std / scale).log()
            network.min_log_variance = -40.0
            network.max_log_variance = 40.0
    model._targets = Normalizer(torch.zeros(columns), torch.full((columns,), scale))
    model._freeze()
    return model
