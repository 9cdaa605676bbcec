"""A dot that actions move about in a 16x16 picture: the smallest world that an image model can learn."""

import torch
from torch import Tensor

from models.image.frames import FrameSequences, ImageSpec

SIZE, STEP = 16, 1.5
SPEC = ImageSpec("camera", SIZE, SIZE, action_size=2)
MARGIN = 2.0


def draw(positions: Tensor, size: int = SIZE) -> Tensor:
    """Positions (F, 2) in pixels as frames (F, 1, size, size) uint8."""
    axis = torch.arange(size, dtype=torch.float32)
    near = [torch.exp(-0.5 * (axis - positions[:, column : column + 1]).square() / 1.5) for column in (0, 1)]
    return (255 * near[1].unsqueeze(-1) * near[0].unsqueeze(-2)).to(torch.uint8).unsqueeze(1)


def move(positions: Tensor, actions: Tensor) -> Tensor:
    return (positions + STEP * actions).clamp(MARGIN, SIZE - 1 - MARGIN)


def wander(episodes: int, steps: int, seed: int) -> tuple[FrameSequences, Tensor]:
    """Random walks, and the positions (F, 2) of the dot."""
    generator = torch.Generator().manual_seed(seed)
    frames, actions, positions = [], [], []
    for _ in range(episodes):
        at = MARGIN + (SIZE - 1 - 2 * MARGIN) * torch.rand(1, 2, generator=generator)
        for step in range(steps + 1):
            action = 2 * torch.rand(1, 2, generator=generator) - 1 if step < steps else torch.zeros(1, 2)
            frames.append(draw(at))
            actions.append(action)
            positions.append(at)
            at = move(at, action)
    count = torch.arange(episodes).repeat_interleave(steps + 1)
    seen = torch.cat(frames)
    return FrameSequences(seen, torch.zeros(len(seen), 0), torch.cat(actions), None, count), torch.cat(positions)


def picture(frame: Tensor) -> "object":
    """A frame (1, H, W) as a camera would give it, (H, W, 3)."""
    return frame.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
