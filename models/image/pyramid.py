"""Pictures at several scales: how far a thing is from where it should be shows only on the coarse ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.image.encoders import ImageEncoder
from models.image.frames import ImageSpec

_LEVELS, _WINDOW = 4, 4


def pyramid(pictures: Tensor) -> list[Tensor]:
    """Pictures (B, C, H, W), and three more with half the height and width each.

    Every pixel spreads over overlapping windows of the next level and keeps its sum there, so that a small thing
    counts on the coarse levels as much as it does on the fine ones, and moves smoothly over them.
    """
    levels = [pictures]
    while len(levels) < _LEVELS:
        padded = functional.pad(levels[-1], (1, 1, 1, 1))
        levels.append(_WINDOW * functional.avg_pool2d(padded, _WINDOW, stride=2))
    return levels


def pyramid_error(drawn: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared error of pictures (B, C, H, W) on every level, added up."""
    return torch.stack([level.square().mean() for level in pyramid(drawn - wanted)]).sum()


class PyramidEncoder(ImageEncoder):
    """A perceptron that sees pictures on all levels.

    On pixels alone, two places of a small thing are as different when they are near as when they are far; what a
    network makes of them is folded and torn at first, and training does not undo that.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, hidden: int, outputs: int) -> None:
        """Build the untrained encoder; see ``ImageEncoder``."""
        super().__init__(spec, stack=stack, widths=(), hidden=hidden, outputs=outputs)
        pixels = sum((spec.height >> level) * (spec.width >> level) for level in range(_LEVELS))
        inputs = spec.channels * stack * pixels + spec.proprioception_size
        self.perceptron = nn.Sequential(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, outputs),
        )  # fmt: skip

    def _features(self, stacks: Tensor) -> Tensor:
        seen = super()._features(stacks).unflatten(1, (-1, *stacks.shape[-2:]))
        return torch.cat([level.flatten(1) for level in pyramid(seen)], 1)
