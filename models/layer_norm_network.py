"""A batch of multilayer perceptrons with layer normalisation, for values that are learned from themselves."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.network import truncated_normal
from models.normalizer import Normalizer

LAST_LAYER_SCALE = 0.1
"""Untrained outputs start near zero, and so near each other."""


class LayerNormNetwork(nn.Module):
    """E networks of linear layers, each but the last followed by layer normalisation and SiLU.

    The normalisation bounds what a network says where it has no data, without which targets that are made from its own
    outputs run away when many gradient steps are taken per transition (Hiraoka et al., Dropout Q-Functions for Doubly
    Efficient Reinforcement Learning, 2022, arXiv:2110.02034).
    """

    def __init__(self, members: int, sizes: Sequence[int], generator: Generator) -> None:
        """Build networks.

        Args:
            members: networks, E.
            sizes: widths from the inputs to the outputs.
            generator: draws the initial weights.
        """
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(truncated_normal((members, rows, columns), 1 / math.sqrt(rows), generator))
            for rows, columns in pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, columns)) for columns in sizes[1:])
        with torch.no_grad():
            self.weights[-1].mul_(LAST_LAYER_SCALE)

    def forward(self, inputs: Tensor, members: Tensor | None = None) -> Tensor:
        """Inputs (B, n), the same for all, to outputs (E, B, m) of the ``members`` given, or of all."""
        hidden = inputs.expand(len(self.weights[0]) if members is None else len(members), -1, -1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if members is not None:
                weight, bias = weight[members], bias[members]
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = functional.silu(functional.layer_norm(hidden, hidden.shape[-1:]))
        return hidden

    @torch.no_grad()
    def renormalize_inputs(self, old: Normalizer, new: Normalizer) -> None:
        """Keep the function of the raw inputs when the statistics of the first columns change."""
        weight, bias = self.weights[0], self.biases[0]
        columns = slice(0, len(old.mean))
        bias.add_(((new.mean - old.mean) / old.std).unsqueeze(0) @ weight[:, columns])
        weight[:, columns] *= (new.std / old.std).unsqueeze(-1)

    @torch.no_grad()
    def renormalize_outputs(self, old: Normalizer, new: Normalizer) -> None:
        """Keep the outputs in raw units when their statistics change."""
        ratio = old.std / new.std
        self.weights[-1].mul_(ratio)
        self.biases[-1].mul_(ratio).add_((old.mean - new.mean) / new.std)
