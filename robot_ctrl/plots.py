"""The pictures of a run, as matplotlib figures; a picture that has nothing to show is None.

They are drawn small, one idea each, so that a page can put them side by side or, on a phone, one below the
other. ``svg`` turns a figure into markup whose colours follow the page's light or dark theme.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_ctrl.diagnostics import Diagnostics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Metrics = Mapping[str, Array]
"""The columns of metrics.csv, one value per episode, NaN where there is none."""

INK, MUTED, GRID = "#1f2329", "#6a737e", "#dbe0e6"
SERIES = ("#2563ec", "#d97707", "#0a9669", "#db2778", "#7c3aee", "#0891b3", "#8a6d3c")
GOOD = SERIES[2]
_STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "robot-ctrl",
}
_THEMED = {INK: "--ink", MUTED: "--muted", GRID: "--grid", "#ffffff": "--paper"} | {
    colour: f"--series-{index}" for index, colour in enumerate(SERIES)
}


def learning_curve(metrics: Metrics) -> "Figure | None":
    """Return per episode against environment steps, successes marked, and the best so far."""
    returns = metrics.get("return")
    if returns is None or not np.isfinite(returns).any():
        return None
    steps = metrics.get("env_steps", np.full(len(returns), np.nan))
    known = np.isfinite(returns) & np.isfinite(steps)
    label = "environment steps"
    if not known.any():
        steps, known, label = _episodes(metrics), np.isfinite(returns), "episode"
    steps, returns = steps[known], returns[known]
    success = metrics.get("success", np.full(len(known), np.nan))[known]
    figure, axes = new_figure(label, "return")
    axes.plot(steps, np.maximum.accumulate(returns), color=MUTED, ls=(0, (3, 2)), lw=1.2, label="best so far")
    axes.plot(steps, returns, color=SERIES[0], marker="o", label="return")
    if (success == 1).any():
        axes.plot(steps[success == 1], returns[success == 1], "o", color=GOOD, ms=7, label="success")
    if label == "environment steps":
        axes.xaxis.set_major_formatter(_thousands)
    return finished(figure, axes)


def model_loss(metrics: Metrics) -> "Figure | None":
    """The model's loss on held-out transitions after every fit."""
    return _lines(metrics, {"model_loss": "loss on held-out data"}, "loss")


def prediction_error(metrics: Metrics) -> "Figure | None":
    """One-step and H-step prediction error on every episode, before it was learned from."""
    names = {"one_step_error": "one step ahead", "h_step_error": "over the horizon"}
    return _lines(metrics, names, "prediction error", logarithmic=True)


def coverage(metrics: Metrics) -> "Figure | None":
    """How much of what happened lay inside the model's intervals; dashed where it should."""
    figure, axes = new_figure("episode", "inside the interval (%)")
    for colour, level in zip(SERIES, (50, 90, 95), strict=False):
        values = metrics.get(f"coverage_{level}")
        if values is None or not np.isfinite(values).any():
            continue
        known = np.isfinite(values)
        axes.plot(_episodes(metrics)[known], 100 * values[known], "o-", color=colour, label=f"{level} % interval")
        axes.axhline(level, color=colour, ls=(0, (3, 2)), lw=1.0)
    if not axes.lines:
        return None
    axes.set_ylim(0, 103)
    _whole_numbers(axes)
    return finished(figure, axes)


def uncertainty(metrics: Metrics) -> "Figure | None":
    """The model's ignorance (epistemic) beside the noise that it sees in the data (aleatoric)."""
    names = {"epistemic": "ignorance of the model", "aleatoric": "noise in the data"}
    return _lines(metrics, names, "predicted uncertainty", logarithmic=True)


def hardest_variables(diagnostics: Diagnostics, count: int) -> list[int]:
    """The state variables that were predicted worst, measured against how much each one moves."""
    if not diagnostics.predicted.size:
        return []
    spread = diagnostics.observed.std(axis=0)
    moving = np.flatnonzero(spread > 1e-9)
    errors = []
    for variable in moving:
        mean, _, _ = _band(diagnostics.predicted[..., variable])
        error = mean - _observed_windows(diagnostics, int(variable))
        finite = np.isfinite(error)
        errors.append(np.sqrt(np.mean(error[finite] ** 2)) / spread[variable] if finite.any() else np.inf)
    return [int(variable) for variable in moving[np.argsort(errors)[::-1][:count]]]


def predicted_and_observed(diagnostics: Diagnostics, variable: int) -> "Figure | None":
    """One state variable over the episode, and what the model predicted open loop from several starts."""
    if not diagnostics.predicted.size or not np.isfinite(diagnostics.observed[:, variable]).any():
        return None
    figure, axes = new_figure("time (s)", diagnostics.state_names[variable])
    times, observed = diagnostics.times, diagnostics.observed[:, variable]
    length = diagnostics.predicted.shape[2]
    mean, low, high = _band(diagnostics.predicted[..., variable])
    axes.plot(times, observed, color=INK, lw=1.4, label="observed")
    for order, window in enumerate(_apart(diagnostics.window_starts, length - 1)):
        start = int(diagnostics.window_starts[window])
        span = times[start : start + length]
        labels = ("predicted mean", "5–95 % of the predictions") if order == 0 else (None, None)
        axes.plot(span, mean[window], color=SERIES[1], lw=1.4, label=labels[0])
        axes.fill_between(
            span, low[window], high[window], color=SERIES[1], alpha=0.3, lw=0, label=labels[1], zorder=1.5
        )
        axes.plot(span[0], mean[window, 0], "o", color=SERIES[1], ms=3)
    seen = observed[np.isfinite(observed)]
    room = 0.6 * float(np.ptp(seen)) or 1.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, float(seen.min()) - room), min(top, float(seen.max()) + room))
    axes.margins(x=0.01)
    return finished(figure, axes)


def reliability(diagnostics: Diagnostics) -> "Figure | None":
    """How often the truth lay inside the central interval of the predictions, for intervals of every size."""
    particles = diagnostics.predicted[:, :, 1:]
    if not particles.size or particles.shape[1] < 3:
        return None
    starts = diagnostics.window_starts[:, None] + np.arange(1, particles.shape[2] + 1)
    truth = diagnostics.observed[starts]
    moving = diagnostics.observed.std(axis=0) > 1e-9
    levels = np.linspace(0.1, 0.9, 9)
    inside = []
    for level in levels:
        with np.errstate(invalid="ignore"):  # intervals of diverged particles count as missed
            low, high = np.quantile(particles[..., moving], [(1 - level) / 2, (1 + level) / 2], axis=1)
        inside.append(np.mean((low <= truth[..., moving]) & (truth[..., moving] <= high)))
    figure, axes = new_figure("size of the predicted interval (%)", "truth inside (%)")
    axes.plot([0, 100], [0, 100], color=MUTED, ls=(0, (3, 2)), lw=1.2, label="perfectly calibrated")
    axes.plot(100 * levels, 100 * np.array(inside), "o-", color=SERIES[0], label="this episode")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 103)
    return finished(figure, axes)


def elite_costs(diagnostics: Diagnostics) -> "Figure | None":
    """How far each refinement lowers the mean cost of the elites, over all plans of the episode."""
    costs = np.where(np.isfinite(diagnostics.elite_costs), diagnostics.elite_costs, np.nan)
    if costs.shape[1] < 2 or not np.isfinite(costs[:, 1:] - costs[:, :1]).any():
        return None
    change = costs - costs[:, :1]
    used = np.isfinite(change).any(axis=0)
    iterations = np.arange(1, costs.shape[1] + 1)[used]
    low, lower, middle, upper, high = np.nanquantile(change[:, used], [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    figure, axes = new_figure("iteration of the planner", "elite cost − first iteration")
    axes.fill_between(iterations, low, high, color=SERIES[0], alpha=0.15, lw=0, label="5–95 % of plans")
    axes.fill_between(iterations, lower, upper, color=SERIES[0], alpha=0.3, lw=0, label="25–75 %")
    axes.plot(iterations, middle, "o-", color=SERIES[0], label="median")
    _whole_numbers(axes)
    return finished(figure, axes)


def plan_time(diagnostics: Diagnostics) -> "Figure | None":
    """How long planning took: a histogram with the median and the 95th percentile."""
    times = diagnostics.plan_ms[np.isfinite(diagnostics.plan_ms)]
    if not times.size:
        return None
    figure, axes = new_figure("time to plan (ms)", "plans")
    edges = np.histogram_bin_edges(times, bins=min(40, max(5, round(np.sqrt(times.size)))))
    axes.hist(times, bins=edges.tolist(), color=SERIES[0], alpha=0.55, edgecolor="#ffffff", linewidth=0.6)
    for name, percent, colour in (("median", 50, INK), ("95 %", 95, SERIES[1])):
        value = float(np.percentile(times, percent))
        axes.axvline(value, color=colour, lw=1.4, label=f"{name}: {value:.3g} ms")
    axes.set_xlim(left=min(0.0, float(edges[0])))
    return finished(figure, axes)


def cost_terms(diagnostics: Diagnostics) -> "Figure | None":
    """What each term of the cost contributed at every step of the episode; the small ones are added up."""
    terms = [(name, values) for name, values in diagnostics.cost_terms.items() if np.isfinite(values).any()]
    if not terms:
        return None
    terms.sort(key=lambda term: -float(np.nanmean(np.abs(term[1]))))
    shown, small = terms[: len(SERIES) - 1], terms[len(SERIES) - 1 :]
    if len(small) > 1:
        length = max(len(values) for _, values in small)
        total = sum(np.pad(values, (0, length - len(values))) for _, values in small)
        small = [(f"{len(small)} smaller terms", np.asarray(total))]
    figure, axes = new_figure("time (s)", "cost per step")
    for colour, (name, values) in zip(SERIES, [*shown, *small], strict=False):
        axes.plot(diagnostics.times[: len(values)], values, color=colour, lw=1.4, label=name)
    axes.margins(x=0.01)
    return finished(figure, axes)


def svg(figure: "Figure") -> str:
    """The figure as markup for a page that defines --ink, --muted, --grid, --paper and --series-0 onwards."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :]
    head, rest = markup.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    for colour, variable in _THEMED.items():
        rest = rest.replace(colour, f"var({variable})")
    return f"{head}>{rest}"


def png(figure: "Figure") -> bytes:
    """The figure as a picture on white, for documents."""
    import matplotlib

    picture = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(picture, format="png")
    return picture.getvalue()


def new_figure(x: str, y: str) -> "tuple[Figure, Axes]":
    """An empty figure with its axes and their labels."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.0, 3.1), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.ticklabel_format(axis="y", useOffset=False)
    return figure, axes


def finished(figure: "Figure", axes: "Axes") -> "Figure":
    """Add the legend, above the picture so that it never hides a line."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        columns = 3 if len(axes.get_legend_handles_labels()[1]) < 7 else 4
        figure.legend(loc="outside upper left", ncols=columns, fontsize=9)
    return figure


def _lines(metrics: Metrics, names: Mapping[str, str], y: str, logarithmic: bool = False) -> "Figure | None":
    """Columns of the metrics against the episode."""
    present = {name: metrics[name] for name in names if name in metrics and np.isfinite(metrics[name]).any()}
    if not present:
        return None
    figure, axes = new_figure("episode", y)
    for colour, (name, values) in zip(SERIES, present.items(), strict=False):
        known = np.isfinite(values)
        axes.plot(_episodes(metrics)[known], values[known], "o-", color=colour, label=names[name])
    everything = np.concatenate([values[np.isfinite(values)] for values in present.values()])
    if logarithmic and everything.min() > 0 and everything.max() > 10 * everything.min():
        _logarithmic(axes, decades=float(np.log10(everything.max() / everything.min())))
    _whole_numbers(axes)
    return finished(figure, axes)


def _episodes(metrics: Metrics) -> Array:
    length = max((len(column) for column in metrics.values()), default=0)
    numbers: Array = metrics.get("episode", np.arange(length, dtype=np.float64))
    return numbers


def _band(particles: NDArray[np.float32]) -> tuple[Array, Array, Array]:
    """Mean, 5 % and 95 % over the particles of (W, P, H + 1); diverged particles are left out."""
    finite = np.where(np.isfinite(particles), particles, np.nan).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all have diverged there is nothing to draw
        low, high = np.nanquantile(finite, [0.05, 0.95], axis=1)
        mean: Array = np.nanmean(finite, axis=1)
    return mean, low, high


def _observed_windows(diagnostics: Diagnostics, variable: int) -> Array:
    """(W, H + 1): what was observed where predictions were made."""
    steps = np.arange(diagnostics.predicted.shape[2])
    observed: Array = diagnostics.observed[diagnostics.window_starts[:, None] + steps, variable]
    return observed


def _apart(starts: NDArray[np.int64], length: int) -> list[int]:
    """Windows that do not overlap, from the first one on."""
    chosen: list[int] = []
    free_from = -1
    for window in np.argsort(starts, kind="stable"):
        if starts[window] >= free_from:
            chosen.append(int(window))
            free_from = int(starts[window]) + length
    return chosen


def _logarithmic(axes: "Axes", decades: float) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    labelled = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=labelled))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _thousands(value: float, _: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"
