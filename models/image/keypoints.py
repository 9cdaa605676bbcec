"""Points in the picture as states: what is learned of a thing in one place holds wherever it is seen.

Source: C. Finn et al., "Deep Spatial Autoencoders for Visuomotor Learning", 2016 (arXiv:1509.06113); T. Jakab et al.,
"Unsupervised Learning of Object Landmarks through Conditional Image Generation", 2018 (arXiv:1806.07823).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checks import require
from models.image.decoders import Decoder
from models.image.encoders import FrameEncoder, channels_last
from models.image.frames import ImageSpec
from models.image.rate_encoder import FIRST_RAW, SMALLEST_STD, codes_of_frames, with_rates

_UNIT = 2.0
"""Half the width of a picture: things are spread by about 1 over the middle of it."""

_CELL = 4
"""Pixels per cell of the maps, in height and width."""

_CHANNELS = 32
_TINY = 1e-12
"""Added to squared distances: their roots have no gradient at zero."""

_FIRST_WIDTH = 0.25


class KeypointEncoder(FrameEncoder):
    """Where K learned features are in one frame or two: places, and their rates of change.

    Convolutions make K maps of a frame; a softmax over the cells of each and the mean place under it give a point,
    finer than the cells are. Points move with what is seen. A perceptron would have to see a thing in many places
    before it could tell where it is in another; of a target that stays where it is for a whole episode it sees few.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, size: int) -> None:
        """Build the untrained encoder.

        Args:
            spec: the frames.
            stack: 1 for places alone, 2 for places and their rates.
            size: d, of places and rates together: 2 K per frame of the stack.

        Raises:
            ValueError: if the stack is neither 1 nor 2, the size is no multiple of two per frame, the frames are no
                multiple of a cell, or there is proprioception.
        """
        require(stack in (1, 2), f"stack is {stack}; the encoder sees 1 frame, or 2 to see what moves")
        require(
            size % (2 * stack) == 0,
            f"latent_size is {size}; for keypoints in a stack of {stack} it must be a multiple of {2 * stack}",
        )
        require(
            spec.height % _CELL == 0 and spec.width % _CELL == 0,
            f"frames of {spec.width}x{spec.height} pixels: for keypoints both sizes must be multiples of {_CELL}",
        )
        require(
            not spec.proprioception_size,
            "features is keypoints, which are seen in pictures alone; use codes where there is proprioception",
        )
        self._points = size // (2 * stack)
        super().__init__(spec)
        self.raw_stds = nn.Parameter(torch.full((2 * self._points,), FIRST_RAW))
        self.convolutions = channels_last(
            nn.Conv2d(spec.channels, 16, 5, 2, 2),
            nn.SiLU(),
            nn.Conv2d(16, _CHANNELS, 5, 2, 2),
            nn.SiLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, 1, 1),
            nn.SiLU(),
        )
        self.maps = nn.Conv2d(_CHANNELS, self._points, 1)

    def forward(self, stacks: Tensor, proprioception: Tensor) -> Tensor:
        """Stacks (B, stack, C, H, W) uint8 and nothing else to means and standard deviations (B, 2 d)."""
        count, stack = stacks.shape[:2]
        seen = self.convolutions((stacks.flatten(0, 1).float() - self.background) / self.contrast)
        maps = self.maps(seen).float()
        shares = maps.flatten(2).softmax(-1).view_as(maps)
        rows, columns = (_places(cells, maps.device) for cells in maps.shape[-2:])
        means = torch.stack([(shares.sum(2) * columns).sum(-1), (shares.sum(3) * rows).sum(-1)], -1)
        stds = functional.softplus(self.raw_stds) + SMALLEST_STD
        return with_rates(_UNIT * means.view(count, stack, -1), stds.expand(count, stack, -1))


class KeypointDecoder(Decoder):
    """Draws each frame from where its points are: a bump at each, and convolutions that make a picture of the bumps."""

    def __init__(self, spec: ImageSpec, *, inputs: int, frames: int) -> None:
        """Build the untrained decoder.

        Args:
            spec: the frames.
            inputs: d.
            frames: drawn at once, as further channels, the newest last.
        """
        super().__init__()
        self._frames, self._cells = frames, (spec.height // _CELL, spec.width // _CELL)
        points = inputs // (2 * frames)
        self.log_width = nn.Parameter(torch.full((points, 1), _FIRST_WIDTH).log())
        self.convolutions = channels_last(
            nn.Conv2d(points, _CHANNELS, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, 1, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(_CHANNELS, 16, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(16, spec.channels, 4, 2, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (B, d) to frames (B, frames C, H, W), as differences from the background divided by the contrast."""
        across, down = self._points(latents).unbind(-1)
        rows, columns = self._bumps(down, self._cells[0]), self._bumps(across, self._cells[1])
        drawn = self.convolutions(rows.unsqueeze(-1) * columns.unsqueeze(-2))
        frames: Tensor = drawn.float().unflatten(0, (len(latents), self._frames)).flatten(1, 2)
        return frames

    def _points(self, latents: Tensor) -> Tensor:
        """(B · frames, K, 2) where the points of each frame are."""
        return codes_of_frames(latents, self._frames).reshape(len(latents) * self._frames, -1, 2) / _UNIT

    def _bumps(self, places: Tensor, cells: int) -> Tensor:
        """(B, K, cells) how much of each point (B, K) is over each row or column."""
        return torch.exp(-0.5 * ((_places(cells, places.device) - places.unsqueeze(-1)) / self.log_width.exp()) ** 2)


class PointDistances(nn.Module):
    """States (..., d) and how far apart their points are, (..., d + K (K − 1) / 2).

    Where things meet says more than where they are, and holds wherever they meet.
    """

    def __init__(self, *, inputs: int, frames: int) -> None:
        """Of states of so many inputs, which tell of so many frames."""
        super().__init__()
        self._codes = inputs // frames
        points = self._codes // 2
        one, other = torch.triu_indices(points, points, 1)
        between = torch.zeros(points, 2, 2, len(one))
        for axis in range(2):
            between[one, axis, axis, torch.arange(len(one))] = 1
            between[other, axis, axis, torch.arange(len(one))] = -1
        self.between: Tensor
        self.register_buffer("between", between.view(self._codes, -1), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (..., d), first the places of the newest frame."""
        across, down = (states[..., : self._codes] @ self.between).chunk(2, -1)
        return torch.cat([states, (across.square() + down.square() + _TINY).sqrt()], -1)


def _places(cells: int, device: torch.device) -> Tensor:
    """(cells,) the middles of rows or columns, from -1 to 1 over the picture."""
    return (torch.arange(cells, device=device) + 0.5) * 2 / cells - 1
