"""From a latent vector back to a frame."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.image.frames import ImageSpec


class Decoder(nn.Module):
    """Draws latents (B, d) as frames (B, frames C, H, W): differences from the background divided by the contrast."""

    def pictures(self, latents: Tensor, background: Tensor, contrast: Tensor) -> Tensor:
        """Latents (T, d) to newest frames (T, C, H, W) uint8, with what the encoder took from the data."""
        pixels = self(latents)[:, -len(background) :] * contrast + background
        frames: Tensor = pixels.round().clamp(0, 255).to(torch.uint8)
        return frames


class ImageDecoder(Decoder):
    """The mirror of ``ImageEncoder``: a perceptron, then transposed convolutions, in units of the contrast."""

    def __init__(self, spec: ImageSpec, *, widths: Sequence[int], inputs: int, frames: int = 1) -> None:
        """Build the untrained decoder.

        Args:
            spec: the frames.
            widths: those of the encoder.
            inputs: d.
            frames: drawn at once, as further channels, the newest last.
        """
        super().__init__()
        shrink = 4 * 2 ** (len(widths) - 1) if widths else 1
        channels = [frames * spec.channels, *widths]
        self._seed = (channels[-1], spec.height // shrink, spec.width // shrink)
        size = self._seed[0] * self._seed[1] * self._seed[2]
        rectified: list[nn.Module] = [nn.ReLU()] if widths else []
        self.perceptron = nn.Sequential(nn.Linear(inputs, 256), nn.SiLU(), nn.Linear(256, size), *rectified)
        layers: list[nn.Module] = []
        for after, before in reversed(list(pairwise(widths))):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
        if widths:
            layers.append(nn.ConvTranspose2d(widths[0], channels[0], 8, 4, 2))
        self.convolutions = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (B, d) to frames (B, frames C, H, W), as differences from the background divided by the contrast."""
        seeds = self.perceptron(latents).unflatten(-1, self._seed)
        frames: Tensor = self.convolutions(seeds)
        return frames.float()
