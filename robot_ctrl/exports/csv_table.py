"""Episodes as one csv file, a row per step, for spreadsheets and plotting programs.

Columns, in SI units (rad or m, rad/s or m/s, N·m or N, s):

- ``episode``: number of the episode in the export; ``file``: its name; ``step``: counts from 0
- ``time``: when the command was sent, s since the recording began
- ``requested.JOINT``, ``sent.JOINT``: the command before and after the safety filter
- ``action.N``: the planner's action in [-1, 1]
- ``VALUE.JOINT`` or ``VALUE.N``: what was read last before the command, for every recorded value
- ``limits``: what the filter changed, as ``limit joint amount``, separated by semicolons

The last row of an episode is what was read after its last command; its command columns are empty. Cells of values
that were not recorded in an episode are empty too. Numbers read back as the same float64.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardware.robot import Observation
from robot_ctrl.steps import Steps

Row = dict[str, Any]


def write_csv(episodes: Iterable[Steps], out: Path) -> None:
    """Write episodes into one csv file, in one step."""
    rows = [row for number, steps in enumerate(episodes) for row in _rows(number, steps)]
    columns = list(dict.fromkeys(column for row in rows for column in row if column != "limits"))
    temporary = out.with_name(out.name + ".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*columns, "limits"], restval="")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(out)


def _rows(number: int, steps: Steps) -> Iterator[Row]:
    where = {"episode": number, "file": steps.episode.path.name}
    for step, (command, observation) in enumerate(zip(steps.commands, steps.observations, strict=True)):
        yield {
            **where,
            "step": step,
            "time": float(steps.times[step]),
            **_cells(steps, {"requested": command.requested, "sent": command.sent}, steps.joints),
            **_cells(steps, {"action": command.scaled}),
            **_read(steps, observation),
            "limits": "; ".join(f"{limit} {joint} {amount:g}" for limit, joint, amount in command.reasons),
        }
    if steps.last is not None:
        yield {**where, "step": len(steps.commands), **_read(steps, steps.last)}


def _read(steps: Steps, observation: Observation) -> Row:
    return _cells(steps, observation.values)


def _cells(steps: Steps, values: Mapping[str, Any], names: Iterable[str] | None = None) -> Row:
    cells: Row = {}
    for name, value in values.items():
        parts = np.ravel(value)
        if np.ndim(value) == 0:
            cells[name] = float(value)
            continue
        labels = names if names is not None else steps.names_of(name, len(parts))
        cells.update({f"{name}.{label}": float(part) for label, part in zip(labels, parts, strict=True)})
    return cells
