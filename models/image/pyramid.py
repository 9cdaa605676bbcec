"""Pictures at several scales: how far a thing is from where it should be shows only on the coarse ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.image.encoders import ImageEncoder
from models.image.frames import FrameSequences, ImageSpec

_LEVELS, _WINDOW = 4, 4
_PRINCIPAL, _FAINT = 4, 1e-5
_STARTED_FROM = 4000


def pyramid(pictures: Tensor) -> list[Tensor]:
    """Pictures (B, C, H, W), and three more with half the height and width each.

    Every pixel spreads over overlapping windows of the next level and keeps its sum there, so that a small thing
    counts on the coarse levels as much as it does on the fine ones, and moves smoothly over them.
    """
    levels = [pictures]
    while len(levels) < _LEVELS:
        padded = functional.pad(levels[-1], (1, 1, 1, 1))
        levels.append(_WINDOW * functional.avg_pool2d(padded, _WINDOW, stride=2))
    return levels


def pyramid_error(difference: Tensor) -> Tensor:
    """The mean square of differences of pictures (B, C, H, W) on every level, added up."""
    return torch.stack([level.square().mean() for level in pyramid(difference)]).sum()


def stack_error(difference: Tensor, channels: int, motion_weight: float) -> Tensor:
    """The pyramid error of differences of stacked frames (B, stack · channels, H, W).

    The newest frame's, and that of how frames differ from the ones before, which shows little and counts for more.
    """
    error = pyramid_error(difference[:, -channels:])
    if difference.shape[1] > channels:
        error = error + motion_weight * pyramid_error(difference[:, channels:] - difference[:, :-channels])
    return error


def silence(layer: nn.Linear) -> None:
    """Make a layer say nothing, whatever it sees."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def silent_perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, the first normalised over the batch; it says nothing before it is trained."""
    first, second, last = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
    silence(last)
    return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.SiLU(), second, nn.SiLU(), last)


class PyramidEncoder(ImageEncoder):
    """A perceptron that sees pictures on all levels, added to a linear map of features of the coarsest.

    On pixels alone, two places of a small thing are as different when they are near as when they are far; what a
    network makes of them is folded and torn at first, and training does not undo that. This one starts as what changes
    most slowly from frame to frame, and the perceptron as nothing. The features are the coarsest level of the newest
    frame, over which small things move smoothly, how it differs from the frames before, and products of both, since
    only where a thing is tells what its motion in the picture means.
    """

    def __init__(self, spec: ImageSpec, *, stack: int, hidden: int, outputs: int, slow: int) -> None:
        """Build the untrained encoder; see ``ImageEncoder``.

        Args:
            spec: the frames.
            stack: frames seen at once.
            hidden: width of the perceptron.
            outputs: numbers that it makes.
            slow: the first so many start as the slowest features.
        """
        super().__init__(spec, stack=stack, widths=(), hidden=hidden, outputs=outputs)
        pixels = [(spec.height >> level) * (spec.width >> level) for level in range(_LEVELS)]
        inputs = spec.channels * stack * sum(pixels) + spec.proprioception_size
        self.perceptron = silent_perceptron(inputs, hidden, outputs)
        self._stack, self._slow, self._newest = stack, slow, spec.channels * pixels[-1]
        self._moving = self._newest * (stack - 1)
        place, motion = min(_PRINCIPAL, self._newest), min(_PRINCIPAL, self._moving)
        self.place: Tensor
        self.motion: Tensor
        self.register_buffer("place", torch.zeros(self._newest, place))
        self.register_buffer("motion", torch.zeros(self._moving, motion))
        self.coarse = nn.Linear(self._newest + motion + place * motion, outputs)
        silence(self.coarse)

    @torch.no_grad()
    def start_slow(self, data: FrameSequences) -> None:
        """Start as slow features of recorded frames, each with those before and after it; if episodes are that long."""
        rows = followed_rows(data, self._stack)
        if not len(rows):
            return
        here, there = (self._coarsest(data.stacks(at, self._stack).to(self.place.device)) for at in (rows, rows + 1))
        newest, moving = torch.split(here, [self._newest, self._moving], -1)
        for principal, part in ((self.place, newest), (self.motion, moving)):
            found = _whitening(part)[:, : principal.shape[1]]
            principal.zero_()[:, : found.shape[1]] = found
        seen = self._products(here)
        start_slowest(self.coarse, seen, self._products(there), self._slow)

    def forward(self, stacks: Tensor, proprioception: Tensor) -> Tensor:
        """Stacks (B, stack, C, H, W) uint8 and proprioception (B, q) to (B, outputs)."""
        levels = self._levels(stacks)
        seen = torch.cat([level.flatten(1) for level in levels], 1)
        measured = self._in_spreads(proprioception).to(seen.dtype)
        slow = self.coarse(self._products(levels[-1].flatten(1)))
        encoded: Tensor = self.perceptron(torch.cat([seen, measured], 1)) + slow
        return encoded.float()

    def _levels(self, stacks: Tensor) -> list[Tensor]:
        return pyramid(self._features(stacks).view(len(stacks), -1, *stacks.shape[-2:]))

    def _coarsest(self, stacks: Tensor) -> Tensor:
        return torch.cat([self._levels(part)[-1].flatten(1) for part in torch.split(stacks, 500)])

    def _products(self, coarsest: Tensor) -> Tensor:
        """The newest frame's coarsest level, the motion's principal components, and the products of both's."""
        newest, moving = torch.split(coarsest, [self._newest, self._moving], -1)
        motion = moving @ self.motion
        crossed = (newest @ self.place).unsqueeze(-1) * motion.unsqueeze(-2)
        return torch.cat([newest, motion, crossed.flatten(1)], -1)


def followed_rows(data: FrameSequences, stack: int) -> Tensor:
    """Up to 4,000 rows, spread over the data, that end a stack of frames of one episode and have a successor in it."""
    rows = data.windows(stack + 1).to(data.frames.device) + stack - 1
    return rows[torch.linspace(0, len(rows) - 1, min(_STARTED_FROM, len(rows))).long()]


@torch.no_grad()
def start_slowest(layer: nn.Linear, here: Tensor, there: Tensor, count: int) -> None:
    """Make a layer's first outputs, ``count`` or as many as there are, the slowest features of what it sees.

    They have variance 1. (Wiskott and Sejnowski, "Slow Feature Analysis: Unsupervised Learning of Invariances", 2002.)

    Args:
        layer: starts so.
        here: (B, n) what it sees.
        there: (B, n) what it sees one step later.
        count: outputs.
    """
    white = _whitening(here)
    changes = (there - here) @ white
    _, slowest = torch.linalg.eigh(changes.T @ changes)
    chosen = white @ slowest[:, :count]
    found = chosen.shape[1]
    layer.weight[:found] = chosen.T
    layer.bias[:found] = -here.mean(0) @ chosen


def _whitening(samples: Tensor) -> Tensor:
    """(n, r) to principal components of samples (B, n), of variance 1, largest first and the faint left out."""
    if not samples.shape[1]:
        return samples.new_zeros(0, 0)
    centred = samples - samples.mean(0)
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    kept = variances > _FAINT * variances.max()
    white: Tensor = (vectors[:, kept] / variances[kept].sqrt()).flip(-1)
    return white
