"""Whether a picture looks like what a model was trained on: goals from another scene are refused, not chased."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

REFERENCE_FRAMES = 1024
ALLOWANCE = 1.5
"""Pictures may be this much further from the data than all but one in a hundred held-out pictures."""

_QUANTILE = 0.99


@dataclass(frozen=True)
class Familiarity:
    """How far a picture is from the data, relative to what is usual: above 1 it is strange.

    Attributes:
        latent: distance to the nearest latent state of the data.
        pixels: difference to the picture of that state.
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
        apart, nearest = self._nearest(latents[sample])
        different = self._difference(frames[sample], self.frames[nearest])
        self.limits[0] = ALLOWANCE * torch.quantile(apart, _QUANTILE)
        self.limits[1] = ALLOWANCE * torch.quantile(different, _QUANTILE)
        self.limits[2] = apart.median().clamp(min=1e-6)

    def novelty(self, latents: Tensor) -> Tensor:
        """The distance (T,) of latents (T, d) to the nearest one of the data; 1 is that of held-out pictures."""
        return self._nearest(latents)[0] / self.limits[2]

    def nearest(self, latents: Tensor) -> Tensor:
        """The frames (T, C, H, W) of the data whose latents are nearest to latents (T, d)."""
        return self.frames[self._nearest(latents)[1]]

    def familiarity(self, frame: Tensor, latent: Tensor) -> Familiarity:
        """Of one frame (C, H, W) with its latent state (d,)."""
        apart, nearest = self._nearest(latent.unsqueeze(0))
        different = self._difference(frame.unsqueeze(0), self.frames[nearest])
        return Familiarity(float(apart[0] / self.limits[0]), float(different[0] / self.limits[1]))

    def _nearest(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.cdist(latents.float(), self.latents).min(-1)
        return found.values, found.indices

    @staticmethod
    def _difference(frames: Tensor, others: Tensor) -> Tensor:
        """Root mean square over the pixels, in grey levels."""
        return (frames.float() - others.float()).square().flatten(1).mean(-1).sqrt()
