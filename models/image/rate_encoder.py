"""What a frame shows and how fast that changes, each with how sure it is."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checks import require
from models.image.encoders import ImageEncoder
from models.image.frames import FrameSequences, ImageSpec
from models.image.pyramid import followed_rows, pyramid, silence, silent_perceptron, start_slowest

SMALLEST_STD = 0.02
FIRST_RAW = -2.0
_SEEN_FIRST = 2
"""The level of the pyramid that the first codes are made from: small things move smoothly over it."""

_RATE = 5.0
"""Codes have about unit spread, and take several control periods to change by as much."""


class RateEncoder(ImageEncoder):
    """Codes of one frame or two: the newest code, and its change since the frame before in about the same unit.

    Speed is what a network that has to draw pictures has no reason to keep, and what no torque can be chosen without;
    here it follows from where things are. Codes start as the principal components of a coarse picture, or as its slow
    features, and a perceptron that sees it on all scales is added to them.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, hidden: int, size: int) -> None:
        """Build the untrained encoder; see ``ImageEncoder``.

        Args:
            spec: the frames.
            stack: 1 for codes alone, 2 for codes and their rates.
            hidden: width of the perceptron.
            size: d, of codes and rates together.

        Raises:
            ValueError: if the stack is neither 1 nor 2, or the size is no multiple of it.
        """
        require(stack in (1, 2), f"stack is {stack}; the encoder sees 1 frame, or 2 to see what moves")
        require(size % stack == 0, f"latent_size is {size}; with a stack of {stack} it must be a multiple of {stack}")
        self._code = size // stack
        super().__init__(spec, stack=1, widths=(), hidden=hidden, outputs=2 * self._code)
        pixels = [level[0].numel() for level in pyramid(torch.zeros(1, spec.channels, spec.height, spec.width))]
        self.perceptron = silent_perceptron(sum(pixels) + spec.proprioception_size, hidden, 2 * self._code)
        self.coarse = nn.Linear(pixels[_SEEN_FIRST], 2 * self._code)
        silence(self.coarse)
        nn.init.constant_(self.coarse.bias[self._code :], FIRST_RAW)

    @torch.no_grad()
    def adapt(self, frames: Tensor, proprioception: Tensor) -> None:
        """Take the background, the contrast and the first codes from frames (F, C, H, W)."""
        super().adapt(frames, proprioception)
        coarse = self._coarse(frames)
        variances, vectors = torch.linalg.eigh(coarse.T.cov())
        count = min(self._code, len(variances))
        components = vectors[:, -count:] / variances[-count:].clamp(min=1e-6).sqrt()
        self.coarse.weight[:count] = components.T
        self.coarse.bias[:count] = -coarse.mean(0) @ components

    def start_slow(self, data: FrameSequences) -> None:
        """Start as slow features of recorded frames instead."""
        rows = followed_rows(data, 1)
        here, there = (
            torch.cat([self._coarse(data.frames[part].to(self.background.device)) for part in torch.split(at, 500)])
            for at in (rows, rows + 1)
        )
        start_slowest(self.coarse, here, there, self._code)

    def _coarse(self, frames: Tensor) -> Tensor:
        return pyramid((frames.float() - self.background) / self.contrast)[_SEEN_FIRST].flatten(1)

    def forward(self, stacks: Tensor, proprioception: Tensor) -> Tensor:
        """Stacks (B, stack, C, H, W) uint8 and proprioception (B, q) to means and standard deviations (B, 2 d)."""
        count, stack = stacks.shape[:2]
        levels = pyramid((stacks.flatten(0, 1).float() - self.background) / self.contrast)
        measured = self._in_spreads(proprioception).repeat_interleave(stack, 0)
        seen = torch.cat([*(level.flatten(1) for level in levels), measured], 1)
        codes = self.perceptron(seen) + self.coarse(levels[_SEEN_FIRST].flatten(1))
        means, raw = codes.float().unflatten(0, (count, stack)).chunk(2, -1)
        return with_rates(means, functional.softplus(raw) + SMALLEST_STD)


def with_rates(means: Tensor, stds: Tensor) -> Tensor:
    """Means and standard deviations of states (B, 2 d) from those of the codes of each frame (B, stack, d / stack)."""
    if means.shape[1] == 1:
        return torch.cat([means[:, 0], stds[:, 0]], -1)
    rates = _RATE * (means[:, 1] - means[:, 0])
    return torch.cat([means[:, 1], rates, stds[:, 1], _RATE * stds.square().sum(1).sqrt()], -1)


def codes_of_frames(states: Tensor, stack: int) -> Tensor:
    """The codes of each frame (B, stack, d / stack), the newest last, that states (B, d) tell of."""
    if stack == 1:
        return states.unsqueeze(1)
    codes, rates = states.chunk(2, -1)
    return torch.stack([codes - rates / _RATE, codes], 1)
