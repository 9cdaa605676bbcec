"""Tracking a pixel of pictures that move by a known amount: exactly, through covers, and not beyond them."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.errors import PixelLostError
from hardware.pixel_tracking import PixelTracker, texture_at

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

SIZE = 96


def _picture(middle: Array, angle: float = 0.0) -> Picture:
    """A red disc with a cream middle and a notch on a dark table, drawn eight times as fine and averaged."""
    fine = 8
    canvas = np.full((SIZE * fine, SIZE * fine, 3), (50, 62, 80), np.uint8)
    at = tuple(int(value) for value in np.rint((middle + 0.5) * fine))
    cv2.circle(canvas, at, 8 * fine, (215, 56, 50), -1)
    cv2.circle(canvas, at, 5 * fine, (245, 235, 222), -1)
    tip = (middle + 0.5 + 5 * np.array([np.cos(angle), np.sin(angle)])) * fine
    cv2.line(canvas, at, tuple(int(value) for value in np.rint(tip)), (215, 56, 50), fine)
    return np.asarray(cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _covered(picture: Picture, left: int, right: int) -> Picture:
    covered = picture.copy()
    covered[:, left:right] = (35, 35, 38)
    return covered


START = np.array([30.0, 48.0])


@pytest.mark.parametrize(("turn", "error"), [(0.0, 0.2), (0.03, 1.0)])
def test_follows_motion_to_fractions_of_a_pixel(turn: float, error: float) -> None:
    """A thing that turns as well, here by 1.2 rad, costs accuracy: its notch pulls at the window."""
    tracker = PixelTracker(_picture(START), START)
    for step in range(1, 41):
        truth = START + np.array([0.83, 0.31]) * step
        tracked = tracker.track(_picture(truth, angle=turn * step))
        assert np.linalg.norm(tracked.position - truth) < error, f"step {step}"
        assert tracked.confidence > 0.7
    assert tracked.method == "klt"


def test_finds_a_thing_of_which_a_part_is_covered() -> None:
    tracker = PixelTracker(_picture(START), START)
    for step in range(1, 21):
        truth = START + np.array([0.5, 0.0]) * step
        left = round(truth[0]) + 2
        tracked = tracker.track(_covered(_picture(truth), left, left + 20))
        assert np.linalg.norm(tracked.position - truth) < 1.5, f"step {step}"
    assert tracked.confidence < 0.9


def test_holds_still_behind_a_cover_and_goes_on_after_it() -> None:
    tracker = PixelTracker(_picture(START), START, patience=6)
    for _ in range(5):
        hidden = tracker.track(_covered(_picture(START), 10, 50))
        assert (hidden.method, hidden.confidence) == ("held", 0.0)
        np.testing.assert_array_equal(hidden.position, START)
    moved = START + np.array([4.0, 3.0])
    found = tracker.track(_picture(moved))
    assert np.linalg.norm(found.position - moved) < 0.2


def test_says_when_it_is_lost() -> None:
    tracker = PixelTracker(_picture(START), START, patience=3)
    empty = np.full((SIZE, SIZE, 3), (50, 62, 80), np.uint8)
    for _ in range(3):
        tracker.track(empty)
    with pytest.raises(PixelLostError, match=r"last seen at 30\.0, 48\.0.*4 pictures"):
        tracker.track(empty)


def test_loses_what_leaves_the_picture() -> None:
    tracker = PixelTracker(_picture(START), START, patience=2)
    pictures = (_picture(START - np.array([1.5, 0.0]) * step) for step in range(1, 40))
    with pytest.raises(PixelLostError):
        _ = [tracker.track(picture) for picture in pictures]


@pytest.mark.parametrize("pixel", [(-1.0, 10.0), (10.0, 96.0), (np.nan, 3.0)])
def test_refuses_pixels_outside_the_picture(pixel: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="outside the picture of 96x96"):
        PixelTracker(_picture(START), np.array(pixel))


def test_refuses_pixels_without_texture() -> None:
    picture = _picture(START)
    assert texture_at(picture, START) > 0.01
    with pytest.raises(ValueError, match="cannot be tracked"):
        PixelTracker(picture, np.array([80.0, 80.0]))
