"""Whether a picture looks like what a model was trained on: goals from another scene are refused, not chased."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

REFERENCE_FRAMES = 1024
ALLOWANCE = 1.5
"""Pictures may be this much further from the data than all but one in a hundred held-out pictures."""

_CELL = 8
"""Side of the squares that pictures are averaged over before they are compared, pixels: a thin arm is lost in a large
background otherwise, and one that is a pixel further would count as elsewhere."""

_QUANTILE = 0.99


@dataclass(frozen=True)
class Familiarity:
    """How far a picture is from the data, relative to what is usual: above 1 it is strange.

    Attributes:
        latent: distance to the nearest latent state of the data.
        pixels: difference to the most similar picture of the data.
    """

    latent: float
    pixels: float

    @property
    def strange(self) -> bool:
        """Whether the model cannot be trusted with this picture."""
        return max(self.latent, self.pixels) > 1.0


class ReferenceFrames(nn.Module):
    """Up to 1,024 pictures of the data with their latent states, and how far held-out ones are from them."""

    def __init__(self, frame: tuple[int, int, int], latent_size: int) -> None:
        super().__init__()
        self.frames: Tensor
        self.latents: Tensor
        self.limits: Tensor
        self.register_buffer("frames", torch.zeros(REFERENCE_FRAMES, *frame, dtype=torch.uint8))
        self.register_buffer("latents", torch.full((REFERENCE_FRAMES, latent_size), torch.inf))
        self.register_buffer("limits", torch.ones(3))

    @torch.no_grad()
    def fit(self, frames: Tensor, latents: Tensor, held_out: Tensor) -> None:
        """Keep frames (F, C, H, W) with their latents (F, d); rows held out (M,) say what is usual."""
        kept = torch.ones(len(frames), dtype=torch.bool)
        kept[held_out.cpu()] = False
        rows = kept.nonzero().squeeze(-1).to(frames.device)
        spread = rows[torch.linspace(0, len(rows) - 1, REFERENCE_FRAMES, device=rows.device).long()]
        self.frames.copy_(frames[spread])
        self.latents.copy_(latents[spread])
        sample = held_out[torch.linspace(0, len(held_out) - 1, min(len(held_out), REFERENCE_FRAMES)).long()]
        sample = sample.to(frames.device)
        apart, _ = self._nearest(latents[sample])
        self.limits[0] = ALLOWANCE * torch.quantile(apart, _QUANTILE)
        self.limits[1] = ALLOWANCE * torch.quantile(self._difference(frames[sample]), _QUANTILE)
        self.limits[2] = apart.median().clamp(min=1e-6)

    def novelty(self, latents: Tensor) -> Tensor:
        """The distance (T,) of latents (T, d) to the nearest one of the data; 1 is that of held-out pictures."""
        return self._nearest(latents)[0] / self.limits[2]

    def nearest(self, latents: Tensor) -> Tensor:
        """The frames (T, C, H, W) of the data whose latents are nearest to latents (T, d)."""
        return self.frames[self._nearest(latents)[1]]

    def familiarity(self, frame: Tensor, latent: Tensor) -> Familiarity:
        """Of one frame (C, H, W) with its latent state (d,)."""
        apart, _ = self._nearest(latent.unsqueeze(0))
        different = self._difference(frame.unsqueeze(0))
        return Familiarity(float(apart[0] / self.limits[0]), float(different[0] / self.limits[1]))

    def _nearest(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.cdist(latents.float(), self.latents).min(-1)
        return found.values, found.indices

    def _difference(self, frames: Tensor) -> Tensor:
        """Of frames (F, C, H, W) to the most similar ones of the data: root mean square over cells, in grey levels."""
        seen, known = _cells(frames), _cells(self.frames)
        different: Tensor = torch.cdist(seen, known).amin(-1) / seen.shape[1] ** 0.5
        return different


def _cells(frames: Tensor) -> Tensor:
    averaged: Tensor = functional.avg_pool2d(frames.float(), _CELL, ceil_mode=True)
    return averaged.flatten(1)
