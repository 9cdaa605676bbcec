"""Running averages of weights, which predict better than the weights of any one gradient step."""

import copy

import torch

from models.network import EnsembleNetwork

WINDOW = 500
"""Gradient steps that an average looks back, about."""


class AveragedNetwork:
    """The exponential average of a network's weights over its gradient steps (Polyak and Juditsky 1992).

    Gradient steps of constant size never settle: the weights go round their optimum, and their average is nearer to
    it. Early on it looks back a tenth of the steps so far only.

    Attributes:
        network: the averaged weights.
        steps: gradient steps that it has followed.
    """

    def __init__(self, network: EnsembleNetwork) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.steps = 0

    def follow(self, network: EnsembleNetwork) -> None:
        """Take a gradient step into account."""
        self.steps += 1
        share = max(1 / WINDOW, 10 / (10 + self.steps))
        torch._foreach_lerp_(list(self.network.parameters()), [p.detach() for p in network.parameters()], share)
