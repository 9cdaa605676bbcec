"""Writes report.html: one page, nothing to install, that says what a run did and how well.

Everything but the video is inside the page. It is written from whatever the run folder holds; what is missing
is said where it would be.
"""

import csv
import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_ctrl import plots
from robot_ctrl.diagnostics import Diagnostics
from robot_ctrl.pages import Number, Plot, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)
_VARIABLES = 5


@dataclass(frozen=True)
class _Section:
    """Figures that belong together, and what is said where there is none."""

    title: str
    pictures: list[Plot]
    missing: str


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a run folder, in one step, and return its path.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(f"{run_dir}: there is no such run folder; give the run_dir of a run")
    rows = _rows(run_dir / "metrics.csv")
    metrics = _columns(rows)
    summary = _summary(run_dir / "summary.json")
    diagnostics = _diagnostics(run_dir / "diagnostics.npz")
    config = run_dir / "config.yaml"
    path = run_dir / "report.html"
    write_page(
        path,
        "report.html",
        task=summary.get("task", run_dir.name),
        seed=summary.get("seed"),
        version=summary.get("version"),
        numbers=_numbers(summary) if summary else [],
        video="episode.mp4" if (run_dir / "episode.mp4").is_file() else None,
        learning=_learning(metrics),
        sections=[_model(metrics), _prediction(diagnostics), _planning(diagnostics)],
        columns=list(rows[0]) if rows else [],
        rows=[[_cell(value) for value in row.values()] for row in rows],
        config=config.read_text("utf-8", "replace") if config.is_file() else None,
    )
    return path


def _learning(metrics: plots.Metrics) -> _Section:
    return _Section(
        "Learning",
        _pictures(
            (
                "Learning",
                plots.learning_curve(metrics),
                "What each episode earned against the experience it took: up is better, and an early rise "
                "means that little data was enough.",
            ),
        ),
        "metrics.csv has no finished episode yet.",
    )


def _model(metrics: plots.Metrics) -> _Section:
    return _Section(
        "The model",
        _pictures(
            (
                "Loss",
                plots.model_loss(metrics),
                "How badly the model explains data held out from the fit: it should fall, then level off.",
            ),
            (
                "Prediction error",
                plots.prediction_error(metrics),
                "How wrong the model was on each episode before learning from it, one step ahead and over "
                "the planner's horizon: lower is better.",
            ),
            (
                "Calibration",
                plots.coverage(metrics),
                "How often the truth fell inside the model's intervals: on the dashed line the model knows "
                "how sure it may be, below it is overconfident.",
            ),
            (
                "Doubt",
                plots.uncertainty(metrics),
                "Ignorance shrinks as data comes in; noise is what no amount of data removes.",
            ),
        ),
        "metrics.csv says nothing about the model yet: it is fitted after the random episodes.",
    )


def _prediction(diagnostics: Diagnostics | None) -> _Section:
    section = "Predicted and observed"
    if diagnostics is None:
        return _Section(section, [], "There is no diagnostics.npz: no episode has been shown yet.")
    shown = [
        (
            diagnostics.state_names[variable],
            plots.predicted_and_observed(diagnostics, variable),
            "From each dot the model is on its own: black should stay inside the band.",
        )
        for variable in plots.hardest_variables(diagnostics, _VARIABLES)
    ]
    reliability = (
        "Reliability",
        plots.reliability(diagnostics),
        "Whether intervals of every size hold the truth as often as they claim: on the diagonal they do, "
        "below it the model is overconfident, above it too cautious.",
    )
    return _Section(section, _pictures(*shown, reliability), "diagnostics.npz holds no predictions.")


def _planning(diagnostics: Diagnostics | None) -> _Section:
    section = "Planning"
    if diagnostics is None:
        return _Section(section, [], "There is no diagnostics.npz: no episode has been shown yet.")
    return _Section(
        section,
        _pictures(
            (
                "Refinement",
                plots.elite_costs(diagnostics),
                "How much each iteration lowers the mean cost of the best candidates: where the curve is "
                "flat, more iterations buy nothing.",
            ),
            (
                "Time",
                plots.plan_time(diagnostics),
                "How long one plan took: in real time almost all of it has to lie below the control period.",
            ),
            (
                "Cost",
                plots.cost_terms(diagnostics),
                "What the robot was charged at every step, term by term: the highest line is what held it back most.",
            ),
        ),
        "diagnostics.npz holds no plans.",
    )


def _pictures(*drawn: "tuple[str, Figure | None, str]") -> list[Plot]:
    return [Plot(title, plots.svg(figure), caption) for title, figure, caption in drawn if figure is not None]


def _numbers(summary: Mapping[str, Any]) -> list[Number]:
    """The headline; "–" where the run does not say."""

    def text(name: str, form: str = "{:.4g}") -> str:
        value = summary.get(name)
        known = isinstance(value, int | float) and math.isfinite(value)
        return form.format(value) if known else "–"

    def duration(name: str) -> str:
        value = summary.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return "–"
        minutes, seconds = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours} h {minutes:02d} min"
        return f"{minutes} min {seconds:02d} s" if minutes else f"{value:.1f} s"

    return [
        Number("Success rate", text("success_rate", "{:.0%}").replace("%", " %"), "of the planned episodes"),
        Number("Return", text("return_mean_last3"), f"mean of the last 3; best {text('return_best')}"),
        Number(
            "Time to plan",
            text("plan_ms_p50", "{:.1f} ms"),
            f"median; 95 %: {text('plan_ms_p95', '{:.1f} ms')}",
        ),
        Number("Experience", text("env_steps", "{:,}"), f"environment steps in {text('episodes', '{}')} episodes"),
        Number("Wall time", duration("wall_s"), f"of it {duration('train_s')} fitting"),
    ]


def _summary(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        _log.warning("%s: not readable as JSON, left out of the report: %s", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def _diagnostics(path: Path) -> Diagnostics | None:
    try:
        return Diagnostics.load(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s; left out of the report", error)
        return None


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        return [{name: row[name] for name in reader.fieldnames or ()} for row in reader]


def _columns(rows: Iterable[Mapping[str, str]]) -> plots.Metrics:
    """Numbers by column; NaN for what is empty or not a number."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(_number(value))
    return {name: np.array(values) for name, values in columns.items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _cell(text: str) -> str:
    """A cell for the page: numbers to four digits."""
    value = _number(text)
    return f"{value:.4g}" if math.isfinite(value) and not text.isdigit() else text
