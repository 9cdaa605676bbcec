"""One page about one goal pixel: the pictures with the track, and how far it was and how sure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.robot import Array
from robot_ctrl import __version__, plots
from robot_ctrl.goals.pixel_record import PixelRecord
from robot_ctrl.pages import Plot, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]

SCALE = 4
_TRACK, _GOAL, _HIDDEN = (60, 230, 120), (255, 210, 60), (255, 70, 70)


@dataclass(frozen=True)
class PixelPage:
    """What the page says.

    Attributes:
        task: the task's name.
        title: what the goal was.
        verdict: how it went, in a sentence or two.
        period: seconds between control periods.
        record: the episode.
        start: the first picture (h, w, 3).
        end: the last.
        video: the video's file name beside the page.
        imagined: what plans looked like beforehand, pictures in the order of time; none where no model draws them.
    """

    task: str
    title: str
    verdict: str
    period: float
    record: PixelRecord
    start: Picture
    end: Picture
    video: str
    imagined: Sequence[Picture] = ()

    def write(self, path: Path) -> None:
        """Write the page in one step; everything but the video is inside."""
        record = self.record
        write_page(
            path,
            "pixel_goal.html",
            task=self.task,
            title=self.title,
            version=__version__,
            verdict=self.verdict,
            start=_source(drawn(self.start, record.track, record.goal, hidden=False)),
            end=_source(drawn(self.end, record.track[-1:], record.goal, hidden=record.confidence[-1] == 0)),
            video=self.video,
            imagined=[_source(picture) for picture in self.imagined],
            plots=[
                Plot(
                    "Distance to the goal",
                    plots.svg(self._distance_plot()),
                    "Blue is the tracked pixel, orange where each plan expected it to end, with the spread of the "
                    "model's members.",
                ),
                Plot(
                    "Confidence of the tracker",
                    plots.svg(self._confidence_plot()),
                    "How much the pixel's surroundings look as they did when it was designated; 0 where it was hidden.",
                ),
            ],
        )

    def _distance_plot(self) -> "Figure":
        record = self.record
        figure, axes = plots.new_figure("time (s)", "distance to the goal (pixels)")
        times = np.arange(len(record.track)) * self.period
        before = times[: len(record.planned)]
        low, high = record.planned - record.doubts, record.planned + record.doubts
        axes.fill_between(before, low, high, color=plots.SERIES[1], alpha=0.25, lw=0)
        axes.plot(before, record.planned, color=plots.SERIES[1], label="expected end of the plan")
        axes.plot(times, record.distances, color=plots.SERIES[0], label="tracked pixel")
        axes.set_ylim(bottom=0)
        return plots.finished(figure, axes)

    def _confidence_plot(self) -> "Figure":
        figure, axes = plots.new_figure("time (s)", "confidence")
        times = np.arange(len(self.record.confidence)) * self.period
        axes.plot(times, self.record.confidence, color=plots.SERIES[4], label="tracker")
        axes.set_ylim(0, 1.05)
        return plots.finished(figure, axes)


def drawn(picture: Picture, track: Array, goal: Array, *, hidden: bool) -> Picture:
    """An enlarged picture with a track (T, 2), a ring around its last pixel, red while hidden, and the goal's cross."""
    canvas = np.ascontiguousarray(cv2.resize(picture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST))
    points = np.rint((track + 0.5) * SCALE).astype(np.int32)
    cv2.polylines(canvas, [points.reshape(-1, 1, 2)], isClosed=False, color=_TRACK, thickness=1, lineType=cv2.LINE_AA)
    end = (int(points[-1, 0]), int(points[-1, 1]))
    cv2.circle(canvas, end, 7, _HIDDEN if hidden else _TRACK, 2, cv2.LINE_AA)
    u, v = (int(value) for value in np.rint((goal + 0.5) * SCALE))
    cv2.drawMarker(canvas, (u, v), _GOAL, cv2.MARKER_TILTED_CROSS, 16, 2, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)


def _source(picture: Picture) -> str:
    """A picture (h, w, 3) as a data URL."""
    encoded, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode("ascii")
