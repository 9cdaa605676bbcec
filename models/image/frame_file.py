"""Frames on disk that look like a tensor: the training set may be larger than the memory."""

import tempfile
from collections.abc import Sequence

import torch
from torch import Tensor


def on_disk(parts: Sequence[Tensor]) -> Tensor:
    """Frames (F, C, H, W) uint8, one part after another, in a file that is mapped into memory.

    The operating system reads what is used and drops it again when memory is short. The file has no name any more: it
    goes when the tensor goes, however the process ends. It lies where the environment's TMPDIR says, which should not
    be a file system in memory.

    Args:
        parts: (F_i, C, H, W) uint8, at least one.
    """
    count, shape = sum(len(part) for part in parts), parts[0].shape[1:]
    size = count * shape.numel()
    if not size:
        return torch.cat(list(parts))
    with tempfile.NamedTemporaryFile(prefix="robot-ctrl-frames-") as file:
        file.truncate(size)
        frames = torch.from_file(file.name, shared=True, size=size, dtype=torch.uint8).view(count, *shape)
    at = 0
    for part in parts:
        frames[at : at + len(part)] = part
        at += len(part)
    return frames
