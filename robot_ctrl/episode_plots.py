"""The pictures of one episode on a common time axis, as matplotlib figures; one that has nothing to show is None."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.robot import Array
from robot_ctrl.episodes import RecordedEvent
from robot_ctrl.plots import GRID, INK, MUTED, SERIES
from robot_ctrl.steps import Steps, began

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED, SENT, REQUESTED, FAULT = INK, SERIES[0], SERIES[1], SERIES[3]
_WIDTH, _ROW = 10.0, 1.35


def joints(steps: Steps) -> "Figure":
    """Every joint's commands, requested and sent, and its measured position; beside each other where units differ."""
    together = steps.commands_are_positions
    measured = steps.measured("joint_position")
    columns = 1 if together or measured is None else 2
    figure, grid = _rows(len(steps.joints), columns)
    held_until = np.append(steps.times, steps.times[-1] + steps.period)
    for index, (joint, row) in enumerate(zip(steps.joints, grid, strict=True)):
        commands, positions = row[0], row[-1]
        if measured is not None and index < measured.shape[1]:
            positions.plot(steps.times, measured[:, index], color=MEASURED, lw=1.4, label="measured")
        for label, values, colour, style in (
            ("requested", steps.requested[:, index], REQUESTED, "--"),
            ("sent", steps.sent[:, index], SENT, "-"),
        ):
            commands.step(
                held_until, np.append(values, values[-1]), where="post", color=colour, ls=style, lw=1.1, label=label
            )
        changed = ~np.isclose(steps.requested[:, index], steps.sent[:, index], rtol=0, atol=1e-9)
        if changed.any():
            sent = steps.sent[changed, index]
            commands.plot(steps.times[changed], sent, ".", color=FAULT, ms=4, label="changed by the filter")
        commands.set_ylabel(joint, fontsize=9)
        if columns == 2 and index == 0:
            commands.set_title("command", fontsize=10, color=MUTED, loc="left")
            positions.set_title("joint_position", fontsize=10, color=MUTED, loc="left")
    return _finished(figure, grid, steps)


def plans(steps: Steps) -> "Figure | None":
    """What every plan cost, how long it took, and how far the ensemble disagreed along it."""
    episode = steps.episode
    if not episode.plans:
        return None
    times = np.array([plan.computed_at for plan in episode.plans]) - began(episode)
    doubts = np.array([np.nan if plan.disagreement is None else plan.disagreement for plan in episode.plans])
    columns = {
        "cost": np.array([plan.cost for plan in episode.plans]),
        "time (ms)": np.array([plan.plan_ms for plan in episode.plans]),
        "disagreement": doubts,
    }
    shown = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    if not shown:
        return None
    figure, grid = _rows(len(shown), 1)
    for (name, values), row in zip(shown.items(), grid, strict=True):
        row[0].plot(times, np.where(np.isfinite(values), values, np.nan), color=SENT, lw=1.2, marker=".", ms=3)
        row[0].set_ylabel(name, fontsize=9)
        if name == "time (ms)":
            row[0].set_ylim(bottom=0)
    return _finished(figure, grid, steps)


def limits(steps: Steps) -> "Figure | None":
    """When the safety filter changed a command, by limit and joint."""
    changes = [
        (float(time), f"{joint}: {limit}")
        for time, command in zip(steps.times, steps.commands, strict=True)
        for limit, joint, _ in command.reasons
    ]
    if not changes:
        return None
    order = {joint: number for number, joint in enumerate(steps.joints)}
    names = sorted({name for _, name in changes}, key=lambda name: (-order.get(name.split(":")[0], 0), name))
    figure, grid = _rows(1, 1, height=0.7 + 0.24 * len(names))
    axes = grid[0][0]
    axes.plot([time for time, _ in changes], [names.index(name) for _, name in changes], "|", color=FAULT, ms=9)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.7, len(names) - 0.3)
    return _finished(figure, grid, steps)


def timing(steps: Steps) -> "Figure | None":
    """Time between commands, and how old what they were based on was; None where neither ever varied."""
    ages = [
        command.time - max(observation.read_end.values(), default=np.nan)
        for command, observation in zip(steps.commands, steps.observations, strict=True)
    ]
    columns = {
        "between\ncommands (ms)": (steps.times[1:], 1e3 * np.diff(steps.times)),
        "age of the\nstate (ms)": (steps.times, 1e3 * np.array(ages)),
    }
    varying = {name: it for name, it in columns.items() if it[1].size and np.ptp(np.nan_to_num(it[1])) > 1e-3}
    if not varying:
        return None
    figure, grid = _rows(len(varying), 1)
    for (name, (times, values)), row in zip(varying.items(), grid, strict=True):
        row[0].plot(times, values, ".", color=SENT, ms=3)
        row[0].set_ylabel(name, fontsize=9)
        row[0].set_ylim(bottom=min(0.0, float(np.nanmin(values))))
    return _finished(figure, grid, steps)


def is_fault(event: RecordedEvent) -> bool:
    """Whether an event is something that stopped the robot."""
    return any(word in event.kind.lower() for word in ("fault", "stop", "error"))


def _rows(rows: int, columns: int, height: float | None = None) -> "tuple[Figure, list[list[Axes]]]":
    from matplotlib.figure import Figure

    size = (_WIDTH, height or 0.6 + _ROW * rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes in grid.flat:
        axes.grid(True, color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
        axes.yaxis.label.set_color(MUTED)
        axes.ticklabel_format(axis="y", useOffset=False)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(GRID)
    return figure, [list(row) for row in grid]


def _finished(figure: "Figure", grid: "Sequence[Sequence[Axes]]", steps: Steps) -> "Figure":
    """Mark the events, name the time axis and add the legend above."""
    for row in grid:
        for axes in row:
            for event in steps.episode.events:
                colour = FAULT if is_fault(event) else MUTED
                axes.axvline(event.time - began(steps.episode), color=colour, lw=1.0, ls=(0, (1, 2)))
            axes.set_xlim(-0.01 * duration(steps), 1.01 * duration(steps))
    for axes in grid[-1]:
        axes.set_xlabel("time (s)", fontsize=9, color=MUTED)
    found = {
        label: handle
        for row in grid
        for axes in row
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if found:
        where: Any = {"loc": "outside upper left", "ncols": len(found), "fontsize": 9, "frameon": False}
        figure.legend(list(found.values()), list(found), **where)
    figure.align_ylabels()
    return figure


def duration(steps: Steps) -> float:
    """Seconds from the beginning of the recording to the last thing recorded."""
    begin = began(steps.episode)
    ends: list[float] = [float(steps.times[-1]), *(event.time - begin for event in steps.episode.events)]
    if steps.last is not None:
        ends.append(max(steps.last.read_end.values(), default=begin) - begin)
    return max(*ends, 1e-3)


def worst_lag(steps: Steps) -> Array | None:
    """(nu,) largest distance between what was sent and what was measured one step later; None where units differ."""
    measured = steps.measured("joint_position")
    if measured is None or not steps.commands_are_positions or len(measured) < 2:
        return None
    lag: Array = np.abs(steps.sent[:-1] - measured[1:]).max(axis=0)
    return lag
