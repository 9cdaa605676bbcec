"""From a stack of frames to a latent vector."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.image.frames import FrameSequences, ImageSpec


def channels_last(*layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, their kernels stored as convolutions on a CPU like them."""
    together = nn.Sequential(*layers)
    for parameter in together.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return together


class FrameEncoder(nn.Module):
    """What encoders take from the data: the background and the contrast of frames, the spread of what is measured."""

    def __init__(self, spec: ImageSpec) -> None:
        """Of frames and measured values of such a shape."""
        super().__init__()
        self.background: Tensor
        self.contrast: Tensor
        self.proprioception_mean: Tensor
        self.proprioception_std: Tensor
        self.register_buffer("background", torch.zeros(spec.channels, spec.height, spec.width))
        self.register_buffer("contrast", torch.ones(()))
        self.register_buffer("proprioception_mean", torch.zeros(spec.proprioception_size))
        self.register_buffer("proprioception_std", torch.ones(spec.proprioception_size))

    @torch.no_grad()
    def adapt(self, frames: Tensor, proprioception: Tensor) -> None:
        """Take the background and the contrast from frames (F, C, H, W), and the spread of (F, q) values."""
        pixels = frames.float()
        self.background.copy_(pixels.mean(0))
        self.contrast.copy_((pixels - self.background).square().mean().sqrt().clamp(min=1.0))
        if proprioception.shape[-1]:
            self.proprioception_mean.copy_(proprioception.mean(0))
            self.proprioception_std.copy_(proprioception.std(0).clamp(min=1e-6))

    def start_slow(self, data: FrameSequences) -> None:
        """Start as slow features of recorded frames, where that is a start; by default nothing happens."""

    def _in_spreads(self, proprioception: Tensor) -> Tensor:
        return (proprioception - self.proprioception_mean) / self.proprioception_std


class ImageEncoder(FrameEncoder):
    """Strided convolutions, then a perceptron with batch normalisation: a stack of frames becomes d numbers.

    The network sees the newest frame and how each frame differs from the one before it, which holds the same
    as the stack itself but shows motion at once. Proprioception, in units of its spread in the data, joins
    behind the convolutions.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, widths: Sequence[int], hidden: int, outputs: int) -> None:
        """Build the untrained encoder.

        Args:
            spec: the frames.
            stack: frames seen at once.
            widths: channels of the convolutions; the first has kernel 8 and stride 4, the others 4 and 2. None
                at all leaves the perceptron, which is quicker for pictures of a few thousand pixels.
            hidden: width of the perceptron.
            outputs: d, or whatever the caller makes of them.

        Raises:
            ValueError: if the frames are too small for so many convolutions.
        """
        super().__init__(spec)
        shrink = 4 * 2 ** (len(widths) - 1) if widths else 1
        rows, columns = spec.height // shrink, spec.width // shrink
        if rows < 1 or columns < 1 or spec.height % shrink or spec.width % shrink:
            raise ValueError(
                f"frames of {spec.width}x{spec.height} pixels cannot be halved by {len(widths)} convolutions: "
                f"both sizes must be multiples of {shrink}; use fewer widths or another picture size."
            )
        channels = [spec.channels * stack, *widths]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(channels)):
            kernel, stride, padding = (4, 2, 1) if index else (8, 4, 2)
            layers += [nn.Conv2d(before, after, kernel, stride, padding), nn.ReLU(inplace=True)]
        self.convolutions = channels_last(*layers, nn.Flatten())
        features, measured = channels[-1] * rows * columns, spec.proprioception_size
        self.perceptron = nn.Sequential(
            nn.Linear(features + measured, hidden), nn.BatchNorm1d(hidden), nn.SiLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, stacks: Tensor, proprioception: Tensor) -> Tensor:
        """Stacks (B, stack, C, H, W) uint8 and proprioception (B, q) to (B, outputs)."""
        features = self._features(stacks)
        if proprioception.shape[-1]:
            features = torch.cat([features, self._in_spreads(proprioception).to(features.dtype)], -1)
        encoded: Tensor = self.perceptron(features)
        return encoded.float()

    def _features(self, stacks: Tensor) -> Tensor:
        pixels = stacks.float()
        newest = pixels[:, -1] - self.background
        motion = (pixels[:, 1:] - pixels[:, :-1]).flatten(1, 2)
        seen = torch.cat([newest, motion], 1) / self.contrast
        features: Tensor = self.convolutions(seen.contiguous(memory_format=torch.channels_last))
        return features
