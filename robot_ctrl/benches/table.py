"""The rows of a benchmark, as a table to read and as a csv."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = (
    "bench", "setting", "threads", "dtype", "measured_ms", "peer", "peer_ms", "figure", "value", "target", "met",
    "note",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One figure, and what it should be.

    Attributes:
        bench: what was measured.
        setting: its size.
        threads: for tensor work; None where that does not matter.
        dtype: of the products; empty where there are none.
        measured_ms: time of our work, ms; an annotation. None where the figure is no ratio of times.
        peer: what it is held against: its floor, or something that does the same.
        peer_ms: time of that, ms.
        figure: what the value is.
        value: the figure itself; None where it could not be measured.
        at_least: smallest value that meets the target.
        at_most: largest value that meets the target.
        note: how it was timed, or why there is no value.
    """

    bench: str
    setting: str
    threads: int | None
    dtype: str
    measured_ms: float | None
    peer: str
    peer_ms: float | None
    figure: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def met(self) -> str:
        """Yes or no; empty without a target or without a value."""
        if self.value is None or not self.target:
            return ""
        enough = self.at_least is None or self.value >= self.at_least
        return "yes" if enough and (self.at_most is None or self.value <= self.at_most) else "no"

    def cells(self) -> list[str]:
        """The text of each of ``COLUMNS``."""
        return [
            self.bench,
            self.setting,
            "" if self.threads is None else str(self.threads),
            self.dtype,
            _number(self.measured_ms),
            self.peer,
            _number(self.peer_ms),
            self.figure,
            _number(self.value),
            self.target,
            self.met,
            self.note,
        ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def markdown(rows: Sequence[Row]) -> str:
    """The rows as an aligned table, which is Markdown too."""
    lines = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows, with a line of column names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row.cells() for row in rows)
