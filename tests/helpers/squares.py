"""A bright square that actions move about over a dark checked floor: what a model that moves pixels can learn."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.image.frames import FrameSequences, ImageSpec

SIZE, STEP, HALF = 16, 2.0, 2.0
SPEC = ImageSpec("camera", SIZE, SIZE, action_size=2)
MARGIN = 3.0


def draw(positions: Tensor) -> NDArray[np.uint8]:
    """Positions (1, 2), column and row, as what a camera sees, (16, 16, 3), with soft edges."""
    axis = torch.arange(SIZE, dtype=torch.float32)
    column, row = ((HALF + 0.5 - (axis - value).abs()).clamp(0, 1) for value in positions[0])
    floor = 30.0 + 15.0 * ((axis[:, None] // 4 + axis // 4) % 2)
    cover = torch.outer(row, column)
    picture = (floor * (1 - cover) + 230.0 * cover).round().to(torch.uint8)
    return picture.unsqueeze(-1).expand(-1, -1, 3).contiguous().numpy()


def step_of(positions: Tensor, actions: Tensor) -> Tensor:
    return (positions + STEP * actions).clamp(MARGIN, SIZE - 1 - MARGIN)


def with_pixel(positions: Tensor) -> dict[str, Any]:
    """What is observed: the picture, and the square's middle as the designated pixel."""
    return {"camera": draw(positions), "designated_pixel": positions[0].numpy()}


def wander(episodes: int, steps: int, seed: int) -> FrameSequences:
    """Random walks."""
    generator = torch.Generator().manual_seed(seed)
    frames, actions = [], []
    for _ in range(episodes):
        at = MARGIN + (SIZE - 1 - 2 * MARGIN) * torch.rand(1, 2, generator=generator)
        for step in range(steps + 1):
            action = 2 * torch.rand(1, 2, generator=generator) - 1 if step < steps else torch.zeros(1, 2)
            frames.append(SPEC.frame(draw(at)))
            actions.append(action)
            at = step_of(at, action)
    count = torch.arange(episodes).repeat_interleave(steps + 1)
    seen = torch.stack(frames)
    return FrameSequences(seen, torch.zeros(len(seen), 0), torch.cat(actions), None, count)
