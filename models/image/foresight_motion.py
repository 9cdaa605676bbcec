"""Pixel motion: pictures, and beliefs about where a pixel is, moved by kernels under masks.

The kernels and their masks are those of CDNA (Finn, Goodfellow, Levine 2016, "Unsupervised learning for physical
interaction through video prediction"); the first picture behind them is the temporal skip connection of SNA (Ebert,
Finn, Lee, Levine 2017, "Self-supervised visual planning with temporal skip connections").
"""

import torch
from torch import Tensor
from torch.nn import functional

_VANISHED = 1e-9


def move(pictures: Tensor, first: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
    """Ξ_0 ⊙ first + Σ_m Ξ_m ⊙ (K_m ⋆ pictures), with the pictures' edges continued outwards.

    Args:
        pictures: (B, C, H, W).
        first: (B, C, H, W), what shows where everything else has moved away.
        kernels: (B, M, k·k), each not negative with sum 1; a kernel with all of its weight right of its middle moves
            things to the left.
        masks: (B, M + 1, H, W), sum 1 over the second dimension; the first one is that of ``first``.
    """
    return _moved(functional.pad(pictures, _around(kernels), mode="replicate"), first, kernels, masks)


def move_belief(belief: Tensor, first: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
    """Where a pixel that was distributed like ``belief`` (B, H, W) is after a motion: the same, renormalised.

    What moves out of the picture is forgotten; if that is all of it, nothing is known: the belief is uniform.
    """
    padded = functional.pad(belief.unsqueeze(1), _around(kernels))
    moved = _moved(padded, first.unsqueeze(1), kernels, masks).squeeze(1) + _VANISHED
    return moved / moved.sum((-2, -1), keepdim=True)


def belief_at(pixel: Tensor, height: int, width: int) -> Tensor:
    """All weight (height, width) at a pixel (2,), column and row, shared among the four around it.

    A pixel outside the picture counts as the nearest inside.
    """
    columns = torch.arange(width, dtype=torch.float32, device=pixel.device)
    rows = torch.arange(height, dtype=torch.float32, device=pixel.device)
    column, row = pixel[0].clamp(0, width - 1), pixel[1].clamp(0, height - 1)
    across = (1 - (columns - column).abs()).clamp(min=0)
    down = (1 - (rows - row).abs()).clamp(min=0)
    return torch.outer(down, across)


def expected_pixel(belief: Tensor) -> Tensor:
    """The mean column and row (..., 2) of beliefs (..., H, W)."""
    height, width = belief.shape[-2:]
    columns = torch.arange(width, dtype=belief.dtype, device=belief.device)
    rows = torch.arange(height, dtype=belief.dtype, device=belief.device)
    return torch.stack([belief.sum(-2) @ columns, belief.sum(-1) @ rows], -1)


def expected_distance(belief: Tensor, pixel: Tensor) -> Tensor:
    """The mean distance (...) of beliefs (..., H, W) from a pixel (2,), column and row, in pixels."""
    height, width = belief.shape[-2:]
    columns = torch.arange(width, dtype=belief.dtype, device=belief.device) - pixel[0]
    rows = torch.arange(height, dtype=belief.dtype, device=belief.device) - pixel[1]
    distances = torch.hypot(columns, rows.unsqueeze(-1))
    mean: Tensor = belief.flatten(-2) @ distances.flatten()
    return mean


def _around(kernels: Tensor) -> tuple[int, int, int, int]:
    reach = round(kernels.shape[-1] ** 0.5) // 2
    return reach, reach, reach, reach


def _moved(padded: Tensor, first: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
    background = masks[:, :1] * first
    return (_learning if torch.is_grad_enabled() else _imagining)(padded, background, kernels, masks[:, 1:])


def _learning(padded: Tensor, background: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
    """M moved pictures, one masked by each mask: the faster way with gradients."""
    batch, count, area = kernels.shape
    side = round(area**0.5)
    each = functional.conv2d(padded.transpose(0, 1), kernels.reshape(-1, 1, side, side), groups=batch)
    moved = each.reshape(-1, batch, count, *each.shape[-2:]).transpose(0, 1)
    mixed: Tensor = background + (moved * masks.unsqueeze(1)).sum(2)
    return mixed


def _imagining(padded: Tensor, background: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
    """One kernel for every pixel, mixed from the M by their masks: the faster way without gradients."""
    height, width = background.shape[-2:]
    side = round(kernels.shape[-1] ** 0.5)
    mixed = torch.bmm(kernels.transpose(1, 2), masks.flatten(2)).reshape(len(masks), -1, height, width)
    moved = background
    for row in range(side):
        for column in range(side):
            shifted = padded[..., row : row + height, column : column + width]
            moved.addcmul_(mixed[:, None, row * side + column], shifted)
    return moved
