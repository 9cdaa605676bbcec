"""What image models see: which pictures, and recorded sequences of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.image.frame_file import on_disk
from models.transitions import Transitions


@dataclass(frozen=True)
class ImageSpec:
    """What of an observation an image model sees, and the size of the actions.

    Attributes:
        camera: name of the picture.
        height: pixels.
        width: pixels.
        action_size: number of action variables, nu.
        colour: three channels instead of grey.
        proprioception: names of values, each with its size, that join the picture; their sizes sum to q.
    """

    camera: str
    height: int
    width: int
    action_size: int
    colour: bool = False
    proprioception: tuple[tuple[str, int], ...] = ()

    @property
    def channels(self) -> int:
        """Channels of one frame, C: 1 or 3."""
        return 3 if self.colour else 1

    @property
    def proprioception_size(self) -> int:
        """Measured values that join a picture, q."""
        return sum(size for _, size in self.proprioception)

    def frame(self, picture: NDArray[np.uint8]) -> Tensor:
        """A picture (h, w, 3) as a frame (C, H, W) uint8; grey is the mean of the channels weighted for the eye.

        Raises:
            ValueError: if the picture has another size.
        """
        if picture.shape != (self.height, self.width, 3):
            raise ValueError(
                f"a picture of camera {self.camera!r} has shape {picture.shape}; the model was made for "
                f"({self.height}, {self.width}, 3). Set the camera to this size, or scale the picture."
            )
        pixels = np.asarray(picture)
        if not self.colour:
            # Rec. 601 luma in integers, so that it does not depend on the machine.
            weighted = pixels.astype(np.uint32) @ np.array([77, 150, 29], dtype=np.uint32)
            pixels = (weighted >> 8).astype(np.uint8)[..., None]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def see(self, observation: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The frame (C, H, W) uint8 and the proprioception (q,) in an observation.

        Args:
            observation: arrays by name; pictures under their camera's name.
        """
        return self.frame(observation[self.camera]), self.measured(observation)

    def measured(self, observation: Mapping[str, Any]) -> Tensor:
        """The proprioception (q,) in an observation."""
        values = [np.ravel(observation[name]) for name, _ in self.proprioception]
        return torch.as_tensor(np.concatenate(values) if values else np.zeros(0), dtype=torch.float32)

    def named(self, proprioception: Tensor) -> dict[str, NDArray[np.float32]]:
        """Proprioception (q,) as arrays by name, the reverse of ``measured``."""
        sizes = [size for _, size in self.proprioception]
        parts = torch.split(proprioception.cpu(), sizes)
        return {name: part.numpy() for (name, _), part in zip(self.proprioception, parts, strict=True)}

    def measures(self, observation: Mapping[str, Any]) -> bool:
        """Whether an observation holds all of the proprioception; a goal that is only a picture does not."""
        return all(name in observation for name, _ in self.proprioception)


@dataclass(frozen=True)
class FrameSequences:
    """F frames of episodes, one after another, with the actions between them.

    Attributes:
        frames: (F, C, H, W) uint8.
        proprioception: (F, q) float32.
        actions: (F, nu) float32, what was sent after the frame, scaled to [-1, 1]; zero after an episode's last.
        rewards: (F,) on arriving at the frame, zero for an episode's first; None where none is defined.
        episodes: (F,) int64, non-decreasing; frames of one episode are contiguous in time.
    """

    frames: Tensor
    proprioception: Tensor
    actions: Tensor
    rewards: Tensor | None
    episodes: Tensor

    def __len__(self) -> int:
        """The number of transitions: frames that are followed by another of their episode."""
        return int((self.episodes[1:] == self.episodes[:-1]).sum())

    @cached_property
    def first_rows(self) -> Tensor:
        """(F,) for each frame the first row of its episode."""
        _, counts = torch.unique_consecutive(self.episodes, return_counts=True)
        starts = counts.cumsum(0) - counts
        rows: Tensor = starts.repeat_interleave(counts)
        return rows

    def windows(self, length: int) -> Tensor:
        """The first rows (W,) of all runs of ``length`` frames within one episode."""
        rows = torch.arange(max(0, len(self.frames) - length + 1), device=self.episodes.device)
        return rows[self.episodes[rows] == self.episodes[rows + length - 1]]

    def stacks(self, rows: Tensor, stack: int) -> Tensor:
        """The frames at ``rows`` (...) and before them, (..., stack, C, H, W) uint8, newest last.

        Before the first frame of an episode the robot was at rest: the frame is repeated.
        """
        steps = torch.arange(stack - 1, -1, -1, device=rows.device)
        earlier = torch.maximum(rows.unsqueeze(-1) - steps, self.first_rows[rows].unsqueeze(-1))
        return self.frames[earlier]

    def transitions(self, states: Tensor) -> Transitions:
        """The transitions between states (F, nx) of all frames."""
        starts = self.windows(2).to(states.device)
        rewards = None if self.rewards is None else self.rewards.to(states.device)[starts + 1]
        actions, episodes = self.actions.to(states.device)[starts], self.episodes.to(states.device)[starts]
        return Transitions(states[starts], actions, states[starts + 1], rewards, None, episodes)

    def is_prefix_of(self, whole: "FrameSequences") -> bool:
        """Whether another recording begins with the same frames."""
        count = len(self.frames)
        return count <= len(whole.frames) and torch.equal(self.frames, whole.frames[:count])

    @staticmethod
    def concatenate(parts: "list[FrameSequences]") -> "FrameSequences":
        """Join recordings one after another, frames on disk; all must agree on whether they have rewards."""
        rewards = [part.rewards for part in parts if part.rewards is not None]
        if rewards and len(rewards) != len(parts):
            raise ValueError("some recordings have rewards that others lack; join only recordings of one task")
        return FrameSequences(
            on_disk([part.frames for part in parts]),
            torch.cat([part.proprioception for part in parts]),
            torch.cat([part.actions for part in parts]),
            torch.cat(rewards) if rewards else None,
            torch.cat([part.episodes for part in parts]),
        )
