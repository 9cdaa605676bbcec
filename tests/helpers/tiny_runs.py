"""Runs that take a fraction of a second, in a process of their own that signals and kills can hit."""

import csv
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  (what the first optimiser imports, in a second that forks then share)

import robot_ctrl.run
import robot_ctrl.showing
from robot_ctrl.cli import main
from robot_ctrl.episodes import read_episode

POINT_MASS = f"{Path(__file__).parent / 'point_mass.py'}:PointMass"

TINY = (
    "seed=3",
    "threads=1",
    "episodes=4",
    "model.hidden=[16]",
    "model.members=2",
    "model.particles=2",
    "model.first_steps=20",
    "model.refit_steps=10",
    "planner.population=16",
    "planner.elites=4",
    "planner.iterations=1",
    "planner.horizon=4",
    "learning.show_episodes=0",
)

TIMING = ("plan_ms_p50", "plan_ms_p95", "plan_ms_p99", "wall_s")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (negative for the signal that killed it), and all that it said."""

    status: int
    text: str


def command(*arguments: str, before: Callable[[], None] | None = None, real_report: bool = False) -> Ended:
    """Run the command line in a forked process; ``before`` may tamper with that process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.dup2(write, 1)
        os.dup2(write, 2)
        sys.stdout = sys.stderr = os.fdopen(write, "w", buffering=1, closefd=False)
        logging.getLogger().handlers.clear()
        status = 70
        try:
            if not real_report:
                robot_ctrl.showing.write_report = empty_report
            if before is not None:
                before()
            status = main(arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with open(read, errors="replace") as pipe:
        text = pipe.read()
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text)


def empty_report(folder: Path) -> Path:
    """Drawing one takes longer than all the rest."""
    (folder / "report.html").write_text("")
    return folder / "report.html"


def strike(number: int, owner: Any, name: str, call: int, *, after: bool = False) -> Callable[[], None]:
    """A signal that the process sends itself at the ``call``-th call (from 1) of a function, before or after it."""

    def arm() -> None:
        original = getattr(owner, name)
        calls = 0

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call and not after:
                os.kill(os.getpid(), number)
            result = original(*arguments, **named)
            if calls == call and after:
                os.kill(os.getpid(), number)
            return result

        setattr(owner, name, counted)

    return arm


def kill(owner: Any, name: str, call: int, *, after: bool = False) -> Callable[[], None]:
    """kill -9, which nothing can catch."""
    return strike(signal.SIGKILL, owner, name, call, after=after)


def start(folder: Path, *more: str, before: Callable[[], None] | None = None, real_report: bool = False) -> Ended:
    """A tiny run in that folder."""
    return command("run", POINT_MASS, *TINY, f"run_dir={folder}", *more, before=before, real_report=real_report)


def metrics_but_timing(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without what the clock says."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMING} for row in csv.DictReader(file)]


def actions_of(folder: Path, episode: int) -> list[Sequence[float]]:
    """What was sent in an episode."""
    recorded = read_episode(folder / "episodes" / f"episode_{episode:05d}.mcap")
    return [action.sent.tolist() for action in recorded.actions]
