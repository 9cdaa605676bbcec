"""What a person sees while an arm runs: one table on a terminal, nothing elsewhere."""

import math
import sys
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from robot_ctrl.realtime.supervisor import Statuses

REFRESH_HZ = 5


class Display:
    """Shows how a deployment stands.

    Args:
        episode_steps: steps of a full episode.
    """

    def __init__(self, episode_steps: int) -> None:
        self._steps = episode_steps
        self._statuses: Statuses | None = None
        self._live = Live(
            console=Console(stderr=True), refresh_per_second=REFRESH_HZ, get_renderable=self.table, transient=True
        )
        self._shows = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._shows:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        if self._shows:
            self._live.stop()

    def show(self, statuses: Statuses) -> None:
        """Draw this next time."""
        self._statuses = statuses

    def table(self) -> Table:
        """The newest statuses as a table."""
        table = Table.grid(padding=(0, 2))
        if self._statuses is not None:
            for name, value in lines(self._statuses, self._steps).items():
                table.add_row(name, value)
        return table


def lines(statuses: Statuses, episode_steps: int) -> dict[str, str]:
    """What is shown, by name."""
    control, planner, learner = statuses.control, statuses.planner, statuses.learner
    shown = {
        "step": f"{control.step} of {episode_steps}",
        "state age": _milliseconds(control.state_age),
        "plan age": _milliseconds(control.plan_age),
        "tick lateness": " / ".join(map(_milliseconds, control.lateness)) + " (p50 / p99 / p99.9)",
        "ticks left out": str(control.late_ticks),
    }
    if planner is not None:
        shown |= {
            "plan": f"{planner.plan_ms:.0f} ms, predicted forward by {_milliseconds(planner.latency)}",
            "missed deadlines": str(planner.missed),
            "one-step error": f"{planner.one_step_error:.2f}",
            "doubt": f"{planner.doubt:.1f}",
            "reward": f"{planner.reward:.3f}",
            "model": f"exchanged {planner.model} times",
        }
        if planner.error is not None:
            shown["planner"] = planner.error
    if learner is not None and learner.learned >= 0:
        shown["learned from"] = f"episodes up to {learner.learned}, in {learner.seconds:.1f} s"
    if control.dropped:
        shown["records dropped"] = str(control.dropped)
    if control.trouble is not None:
        shown["trouble"] = control.trouble
    return shown


def _milliseconds(seconds: float | None) -> str:
    return "—" if seconds is None or math.isnan(seconds) else f"{seconds * 1e3:.1f} ms"
