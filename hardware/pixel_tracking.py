"""Follows a designated pixel through pictures to fractions of a pixel, and says when it is lost.

The order of trust: pyramidal Lucas-Kanade that comes back to where it started (forward-backward check, Kalal et al.
2010), the median of dense DIS flow around the point (Kroeger et al. 2016), and a search for what can be seen of the
thing when a part of it is covered. A flow must end where the picture looks as it was designated: a track that slips
onto a hand or the table is none.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import PixelLostError

Picture = NDArray[np.uint8]
Array = NDArray[np.float64]
Method = Literal["designated", "klt", "dis", "search", "held"]

FORWARD_BACKWARD = 1.0
"""How far Lucas-Kanade may end from where it started when it is run back, pixels."""

WINDOW = 11
"""Side of the square in which motion is measured, pixels."""

LEAST_TEXTURE = 2e-3
"""Smallest eigenvalue of the gradients' covariance in a window that can be tracked (grey values in [0, 1])."""

_PATCH = 15
_SIMILAR, _SAME = 0.6, 0.85
"""Correlation with the designated patch: of a track that goes on, and of one worth correcting."""

_THING, _FOUND, _DISTINCT, _ALIKE, _SMALLEST = 21, 0.35, 50.0, 40.0, 20
"""Search: side of the square that the thing is cut from, how much of it must be seen, by how much its colour differs
from what is around it and may differ from itself later (of 255, in RGB), and its fewest pixels."""

_CORRECTION = 2


@dataclass(frozen=True)
class TrackedPixel:
    """Where the pixel is.

    Attributes:
        position: (2,) u to the right and v down, pixels; whole numbers are the centres of pixels.
        confidence: how much looks as it was designated, in [0, 1]; 0 while the pixel is hidden.
        method: what found it; "held" is its last place while it is hidden.
    """

    position: Array
    confidence: float
    method: Method


class PixelTracker:
    """Follows one pixel; on a thing that turns it drifts, by about 0.6 pixels per rad on the tests' disc.

    Args:
        picture: (h, w, 3) uint8 RGB, the first.
        pixel: (2,) the designated pixel in it.
        patience: pictures that the pixel may be hidden in before it counts as lost.
        reach: how far from its last place it is searched for, pixels.

    Raises:
        ValueError: if the pixel is outside the picture, or there is no texture to track around it.
    """

    def __init__(self, picture: Picture, pixel: Array, *, patience: int = 20, reach: int = 16) -> None:
        pixel = np.asarray(pixel, dtype=np.float64)
        self._grey = _grey(picture)
        self._size = np.array([picture.shape[1], picture.shape[0]])
        if pixel.shape != (2,) or not np.isfinite(pixel).all() or not self._inside(pixel):
            raise ValueError(
                f"pixel {_text(pixel)} is outside the picture of {self._size[0]}x{self._size[1]} pixels; give u from 0 "
                f"to {self._size[0] - 1} and v from 0 to {self._size[1] - 1}."
            )
        texture = texture_at(picture, pixel)
        if texture < LEAST_TEXTURE:
            raise ValueError(
                f"pixel {_text(pixel)} cannot be tracked: the picture has a texture of {texture:.1e} around it, and "
                f"{LEAST_TEXTURE:.0e} is needed; choose a pixel on a mark or a corner of the thing."
            )
        self._patch = cv2.getRectSubPix(picture, (_PATCH, _PATCH), _point(pixel))
        bell = cv2.getGaussianKernel(_PATCH, _PATCH / 4.0)
        self._weights = np.repeat((bell @ bell.T / bell.max() ** 2)[..., None], 3, axis=-1).astype(np.float32)
        self._thing, self._mask = _cut(picture, pixel)
        self._position = pixel
        self._patience, self._reach = patience, reach
        self._hidden = 0
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.tracked = TrackedPixel(pixel, 1.0, "designated")

    def track(self, picture: Picture) -> TrackedPixel:
        """Find the pixel in the next picture (h, w, 3).

        Raises:
            PixelLostError: if it was not found for longer than ``patience`` pictures.
        """
        grey = _grey(picture)
        found = self._followed(picture, grey) or self._searched(picture)
        if found is None:
            self._hidden += 1
            if self._hidden > self._patience:
                raise PixelLostError(
                    f"the tracked pixel is lost: it was last seen at {_text(self._position)} and has not been found in "
                    f"{self._hidden} pictures since. Bring the thing into view and designate the pixel again."
                )
            self.tracked = TrackedPixel(self._position, 0.0, "held")
            return self.tracked
        self._hidden, self._grey, self._position = 0, grey, found.position
        self.tracked = found
        return found

    def _followed(self, picture: Picture, grey: Picture) -> TrackedPixel | None:
        methods: tuple[tuple[Method, Array | None], ...] = (("klt", self._klt(grey)), ("dis", None))
        for method, position in methods:
            position = self._dense(grey) if method == "dis" else position
            if position is None or not self._inside(position):
                continue
            likeness = self._likeness(picture, position)
            if likeness >= _SIMILAR:
                position, likeness = self._corrected(picture, position, likeness)
                return TrackedPixel(position, float(min(likeness, 1.0)), method)
        return None

    def _klt(self, grey: Picture) -> Array | None:
        start = self._position.astype(np.float32).reshape(1, 1, 2)
        settings: dict[str, Any] = {"winSize": (WINDOW, WINDOW), "maxLevel": 2}
        there, found, _ = cv2.calcOpticalFlowPyrLK(self._grey, grey, start, start.copy(), **settings)
        back, returned, _ = cv2.calcOpticalFlowPyrLK(grey, self._grey, there, there.copy(), **settings)
        if not (found[0, 0] and returned[0, 0]) or np.linalg.norm(back - start) > FORWARD_BACKWARD:
            return None
        return np.asarray(there[0, 0], dtype=np.float64)

    def _dense(self, grey: Picture) -> Array:
        flow = self._dis.calc(self._grey, grey, None)
        u, v = np.rint(self._position).astype(int)
        half = WINDOW // 2
        window = flow[max(v - half, 0) : v + half + 1, max(u - half, 0) : u + half + 1]
        return np.asarray(self._position + np.median(window.reshape(-1, 2), axis=0), dtype=np.float64)

    def _searched(self, picture: Picture) -> TrackedPixel | None:
        """Where most of the thing can be seen: every pixel of it votes, so that a hand over a part does not matter."""
        side = _THING + 2 * self._reach
        region = cv2.getRectSubPix(picture, (side, side), _point(self._position)).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(region, (_THING, _THING), axis=(0, 1))[..., self._mask]
        differences = np.linalg.norm(windows - self._thing.transpose(2, 0, 1)[:, self._mask], axis=2)
        votes = np.exp(-np.square(differences / _ALIKE)).mean(-1)
        position, share = self._peak(votes, self._position)
        return TrackedPixel(position, share, "search") if share >= _FOUND else None

    def _corrected(self, picture: Picture, position: Array, likeness: float) -> tuple[Array, float]:
        """Takes back what a track has drifted, while the patch still looks as it was designated."""
        best, highest = self._best(picture, position, _CORRECTION)
        return (best, highest) if highest >= max(_SAME, likeness) else (position, likeness)

    def _best(self, picture: Picture, about: Array, reach: int) -> tuple[Array, float]:
        side = _PATCH + 2 * reach
        scores = self._scores(cv2.getRectSubPix(picture, (side, side), _point(about)))
        return self._peak(scores, about)

    def _peak(self, scores: NDArray[np.float32], about: Array) -> tuple[Array, float]:
        """Where scores (n, n) of whole-pixel shifts about a pixel are highest, to fractions of one, and how high."""
        row, column = divmod(int(scores.argmax()), scores.shape[1])
        peak = np.array([column + _vertex(scores[row], column), row + _vertex(scores[:, column], row)])
        position = about + peak - scores.shape[0] // 2
        return position, float(scores[row, column]) if self._inside(position) else -1.0

    def _likeness(self, picture: Picture, position: Array) -> float:
        return float(self._scores(cv2.getRectSubPix(picture, (_PATCH, _PATCH), _point(position)))[0, 0])

    def _scores(self, region: Any) -> NDArray[np.float32]:
        scores = cv2.matchTemplate(
            region.astype(np.float32), self._patch.astype(np.float32), cv2.TM_CCOEFF_NORMED, mask=self._weights
        )
        return np.asarray(np.nan_to_num(scores, nan=-1.0, posinf=-1.0, neginf=-1.0), dtype=np.float32)

    def _inside(self, pixel: Array) -> bool:
        return bool((pixel >= 0).all() and (pixel <= self._size - 1).all())


def texture_at(picture: Picture, pixel: Array) -> float:
    """The smallest eigenvalue of the gradients' covariance in the window around a pixel (2,) inside the picture."""
    eigenvalues = cv2.cornerMinEigenVal(_grey(picture).astype(np.float32) / 255.0, WINDOW, ksize=3)
    u, v = np.rint(pixel).astype(int)
    return float(eigenvalues[v, u])


def _cut(picture: Picture, pixel: Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The square (n, n, 3) around a pixel, and which of it (n, n) is the thing: what stands out and is connected."""
    square = cv2.getRectSubPix(picture, (_THING, _THING), _point(pixel)).astype(np.float32)
    edge = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    distinct = np.linalg.norm(square - np.median(edge, axis=0), axis=-1) > _DISTINCT
    _, parts = cv2.connectedComponents(distinct.astype(np.uint8))
    middle = parts[_THING // 2, _THING // 2]
    mask = parts == middle
    if middle == 0 or mask.sum() < _SMALLEST:
        mask[:] = True
    return square, mask


def _vertex(scores: NDArray[np.float32], peak: int) -> float:
    """Where a parabola through a peak and its neighbours has its vertex, from the peak; 0 at a border."""
    if peak == 0 or peak == len(scores) - 1:
        return 0.0
    before, here, after = (float(score) for score in scores[peak - 1 : peak + 2])
    curvature = before - 2 * here + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _point(pixel: Array) -> tuple[float, float]:
    return float(pixel[0]), float(pixel[1])


def _text(pixel: Array) -> str:
    return ", ".join(f"{value:.1f}" for value in np.ravel(pixel))
