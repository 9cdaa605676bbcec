"""What a person sees while a run goes on: a progress bar on a terminal, one line per episode elsewhere."""

import logging
import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from robot_ctrl.loop import EpisodeResult

logger = logging.getLogger(__name__)


def episode_line(row: dict[str, Any]) -> str:
    """One line that says how an episode went."""
    parts = [
        f"episode {row['episode']:3d}",
        f"env steps {row['env_steps']:6d}",
        f"return {row['return']:9.2f}",
    ]
    if row["success"] is not None:
        parts.append("reached" if row["success"] else "missed ")
    if row["one_step_error"] is not None:
        parts.append(f"model error {row['one_step_error']:.3f}")
    if row["plan_ms_p50"] is not None:
        parts.append(f"plan {row['plan_ms_p50']:.0f} ms")
    return "  ".join(parts)


class TerminalWatcher:
    """Shows a run on a terminal, or logs it where there is none.

    Args:
        episodes: episodes in all.
        episode_steps: control periods of a full episode.
    """

    def __init__(self, episodes: int, episode_steps: int) -> None:
        self._console = Console(stderr=True)
        self._steps = episode_steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._all = self._progress.add_task("episodes", total=episodes)
        self._one = self._progress.add_task("", total=episode_steps)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def step(self, episode: int, result: EpisodeResult) -> None:
        """Move the bar of the episode."""
        self._progress.update(self._one, completed=result.steps, description=f"episode {episode}: driving")

    def fitting(self, episode: int) -> None:
        """Say that the model is being fitted."""
        self._progress.update(self._one, description=f"episode {episode}: fitting")

    def episode(self, row: dict[str, Any]) -> None:
        """Print the episode's line."""
        self._progress.update(self._all, completed=row["episode"] + 1)
        if self._progress.disable:
            logger.info(episode_line(row))
        else:
            self._console.print(episode_line(row), highlight=False)
