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
    """A perceptron that sees pictures on all levels, added to a linear map of the coarsest.

    On pixels alone, two places of a small thing are as different when they are near as when they are far; what a
    network makes of them is folded and torn at first, and training does not undo that. This one starts as the principal
    components of the coarsest level, over which small things move smoothly, and the perceptron as nothing.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, hidden: int, outputs: int, components: int) -> None:
        """Build the untrained encoder; see ``ImageEncoder``.

        Args:
            spec: the frames.
            stack: frames seen at once.
            hidden: width of the perceptron.
            outputs: numbers that it makes.
            components: the first so many start as principal components.
        """
        super().__init__(spec, stack=stack, widths=(), hidden=hidden, outputs=outputs)
        pixels = [(spec.height >> level) * (spec.width >> level) for level in range(_LEVELS)]
        inputs = spec.channels * stack * sum(pixels) + spec.proprioception_size
        self.perceptron = nn.Sequential(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, outputs),
        )  # fmt: skip
        self._components = components
        self.coarse = nn.Linear(spec.channels * stack * pixels[-1], outputs)
        for last in (self.perceptron[-1], self.coarse):
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def adapt(self, frames: Tensor, proprioception: Tensor) -> None:
        """Take the background, the contrast and the principal components from frames (F, C, H, W)."""
        super().adapt(frames, proprioception)
        coarsest = pyramid((frames.float() - self.background) / self.contrast)[-1].flatten(1)
        coarsest = coarsest - coarsest.mean(0)
        values, vectors = torch.linalg.eigh(coarsest.T @ coarsest / len(coarsest))
        count = min(self._components, len(values))
        chosen = vectors[:, -count:] / values[-count:].clamp(min=1e-6).sqrt()
        self.coarse.weight[:count, : len(values)] = chosen.T

    def forward(self, stacks: Tensor, proprioception: Tensor) -> Tensor:
        """Stacks (B, stack, C, H, W) uint8 and proprioception (B, q) to (B, outputs)."""
        features = self._features(stacks)
        levels = pyramid(features.view(len(stacks), -1, *stacks.shape[-2:]))
        seen = torch.cat([level.flatten(1) for level in levels], 1)
        measured = self._in_spreads(proprioception).to(seen.dtype)
        encoded: Tensor = self.perceptron(torch.cat([seen, measured], 1)) + self.coarse(levels[-1].flatten(1))
        return encoded.float()
