"""One page about one visual goal: the goal, what the robot saw, what it imagined, how far it was and how sure."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from models.image.familiarity import Familiarity
from robot_ctrl import __version__, plots
from robot_ctrl.goals.goal_record import GoalRecord, Imagined, Picture
from robot_ctrl.pages import Plot, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_STEPS = 6


@dataclass(frozen=True)
class GoalPage:
    """What the page says.

    Attributes:
        task: the task's name.
        title: what the goal was.
        verdict: whether it was reached, in a sentence or two.
        goal: the goal picture (h, w, 3) uint8.
        familiarity: of the goal picture.
        period: seconds between control periods.
        record: the episode.
        metres: (T,) true distances to the goal, where they are known; else None.
        video: the video's file name beside the page; None where there is none.
    """

    task: str
    title: str
    verdict: str
    goal: Picture
    familiarity: Familiarity
    period: float
    record: GoalRecord
    metres: NDArray[np.float64] | None
    video: str | None

    def write(self, path: Path) -> None:
        """Write the page in one step; everything but the video is inside."""
        record = self.record
        write_page(
            path,
            "goal.html",
            task=self.task,
            title=self.title,
            version=__version__,
            verdict=self.verdict,
            goal=_source(self.goal),
            familiarity=(
                f"To the model it is {_strangeness(self.familiarity.latent)} in what it shows and "
                f"{_strangeness(self.familiarity.pixels)} in its pixels; above 1 it would be refused."
            ),
            video=self.video,
            seen=[
                {"source": _source(picture), "caption": f"{at * self.period:.1f} s"}
                for picture, at in zip(record.seen, record.seen_at, strict=True)
            ],
            plots=[Plot(title, plots.svg(figure), caption) for title, figure, caption in self._plots()],
            decoded=f"Each state is shown {record.shown_as}.",
            imagined=[self._candidate(candidate) for candidate in record.imagined],
        )

    def _plots(self) -> "list[tuple[str, Figure, str]]":
        record = self.record
        found = [
            (
                "Distance to the goal",
                _distance_plot(record, self.period),
                "In the model's own unit. Blue is where the robot was, orange where each plan "
                "expected to end, with the members' spread; below the dashed line the goal counts as reached.",
            ),
            (
                "Strangeness of what was seen",
                _novelty_plot(record, self.period),
                "How far each state was from the data, in units of what is usual: far above 1 the model guesses.",
            ),
        ]
        if self.metres is not None:
            found.insert(
                1,
                (
                    "True distance",
                    _metres_plot(self.metres, self.period),
                    "Known to the simulator alone: neither the model nor the planner sees it.",
                ),
            )
        return found

    def _candidate(self, candidate: Imagined) -> dict[str, object]:
        steps = sorted({round(step) for step in np.linspace(0, len(candidate.pictures) - 1, _SHOWN_STEPS)})
        name = "the plan" if candidate.rank == 0 else f"candidate {candidate.rank}"
        return {
            "title": (
                f"{candidate.step * self.period:.1f} s, {name}: expected to end at a distance of "
                f"{candidate.distance:.2f} ± {candidate.doubt:.2f}"
            ),
            "pictures": [
                {"source": _source(candidate.pictures[step]), "caption": f"+{step * self.period:.2f} s"}
                for step in steps
            ],
        }


def _distance_plot(record: GoalRecord, period: float) -> "Figure":
    figure, axes = plots.new_figure("time (s)", "distance to the goal")
    times = np.arange(len(record.distances)) * period
    axes.fill_between(
        times[: len(record.planned)],
        record.planned - record.doubts,
        record.planned + record.doubts,
        color=plots.SERIES[1],
        alpha=0.25,
        lw=0,
    )
    axes.plot(times[: len(record.planned)], record.planned, color=plots.SERIES[1], label="expected end of the plan")
    axes.plot(times, record.distances, color=plots.SERIES[0], label="where the robot was")
    axes.axhline(record.arrival, color=plots.MUTED, ls=(0, (3, 2)), lw=1.0)
    axes.set_ylim(bottom=0)
    return plots.finished(figure, axes)


def _metres_plot(metres: NDArray[np.float64], period: float) -> "Figure":
    figure, axes = plots.new_figure("time (s)", "distance (cm)")
    axes.plot(np.arange(len(metres)) * period, 100 * metres, color=plots.SERIES[2], label="fingertip to its goal")
    axes.set_ylim(bottom=0)
    return plots.finished(figure, axes)


def _novelty_plot(record: GoalRecord, period: float) -> "Figure":
    figure, axes = plots.new_figure("time (s)", "novelty")
    axes.plot(np.arange(len(record.novelty)) * period, record.novelty, color=plots.SERIES[4], label="novelty")
    axes.axhline(1.0, color=plots.MUTED, ls=(0, (3, 2)), lw=1.0)
    axes.set_ylim(bottom=0)
    return plots.finished(figure, axes)


def _strangeness(value: float) -> str:
    return f"{value:.2f} of the limit"


def _source(picture: Picture) -> str:
    """A picture (h, w, 3) as a data URL."""
    encoded, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode("ascii")
