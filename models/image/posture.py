"""What proprioception is usual at a still picture: how a goal that is only a picture gets joints."""

from dataclasses import replace

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.image.encoders import ImageEncoder
from models.image.frames import FrameSequences, ImageSpec

WIDTHS = (32, 64, 128)
"""Channels of the convolutions, see ``ImageEncoder``."""

_SHIFT, _PARTS = 2, 8
"""Pixels by which pictures are shifted at most while the network learns, and how many shifts there are in a batch."""


class Posture(nn.Module):
    """Regression from one picture to what was measured with it, apart from the latent, in units of the data's spread.

    What a picture does not show, such as velocities, comes out as its mean, and the mean of random motion is rest.
    """

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        alone = replace(spec, proprioception=())
        self.network = ImageEncoder(alone, stack=1, widths=WIDTHS, hidden=256, outputs=spec.proprioception_size)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(spec.proprioception_size))
        self.register_buffer("std", torch.ones(spec.proprioception_size))

    @torch.no_grad()
    def adapt(self, frames: Tensor, proprioception: Tensor) -> None:
        """Take background and contrast from frames (F, C, H, W), and the spread of (F', q) values."""
        self.network.adapt(frames, proprioception[:, :0])
        self.mean.copy_(proprioception.mean(0))
        self.std.copy_(proprioception.std(0).clamp(min=1e-6))

    def forward(self, frames: Tensor) -> Tensor:
        """Proprioception (B, q) of frames (B, C, H, W) uint8."""
        spreads: Tensor = self.network(frames.unsqueeze(1), self.mean.new_zeros(len(frames), 0))
        return spreads * self.std + self.mean


def fit_posture(
    posture: Posture,
    data: FrameSequences,
    rows: Tensor,
    *,
    steps: int,
    generator: Generator,
    batch: int = 128,
    learning_rate: float = 1e-3,
    mixed_precision: bool = False,
) -> None:
    """Learn from frames and what was measured with them.

    Pictures are shifted at random, so that the network learns to see the robot in its surroundings, not pixels by
    heart (Kostrikov et al. 2020, arXiv:2004.13649). The loss is the mean logarithm of the squared errors: what a still
    picture shows well counts more than what it cannot show, such as velocities.

    Args:
        posture: what to train.
        data: frames with proprioception.
        rows: (R,) of the frames to learn from.
        steps: gradient steps.
        generator: draws the batches.
        batch: frames per gradient step.
        learning_rate: of Adam, falling to zero along half a cosine.
        mixed_precision: bfloat16 in the network.
    """
    device = posture.mean.device
    optimizer = torch.optim.Adam(posture.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    posture.train()
    for _ in range(steps):
        picked = rows[torch.randint(len(rows), (batch,), generator=generator)].to(data.frames.device)
        frames, measured = _shifted(data.frames[picked].to(device), generator), data.proprioception[picked].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
            guessed = posture(frames)
        loss = ((guessed - measured) / posture.std).square().mean(0).clamp(min=1e-6).log().mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    posture.eval()


def _shifted(frames: Tensor, generator: Generator) -> Tensor:
    """Frames (B, C, H, W), parts of them shifted by some pixels each; their edges are repeated."""
    height, width = frames.shape[-2:]
    padded = functional.pad(frames.float(), (_SHIFT,) * 4, mode="replicate").to(frames.dtype)
    rows, columns = torch.randint(2 * _SHIFT + 1, (2, _PARTS), generator=generator).tolist()
    parts = zip(padded.chunk(_PARTS), rows, columns, strict=False)
    return torch.cat([part[..., row : row + height, column : column + width] for part, row, column in parts])
