"""What the loop around the planner and the simulator costs, in a real episode."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Clock, clock_for, clock_name, threads
from robot_ctrl.build import make_parts, resolve
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.recorder import EpisodeWriter

TASK = "arm-reach"
STEPS = 50
MOST = 0.05


def loop_rows() -> Iterator[Row]:
    """One row, at the number of threads that a run chooses by itself."""
    with threads(torch.get_num_threads()):
        yield _loop_row()


@dataclass
class Stopwatch:
    """Adds up what wrapped functions take, by name; time inside one another counts for both."""

    clock: Clock
    seconds: dict[str, float] = field(default_factory=dict)

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Time a method of an object from now on."""
        self.seconds.setdefault(name, 0.0)
        setattr(owner, method, self._timed(getattr(owner, method), name))

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            started = self.clock()
            result = function(*arguments, **named)
            self.seconds[name] += self.clock() - started
            return result

        return timed


def _loop_row() -> Row:
    """One episode of a default task, planned through its default model and recorded, after a first step to warm up."""
    config = resolve(TASK, [f"task.episode_steps={STEPS}"])
    task, _, controller, safety = make_parts(config)
    count = torch.get_num_threads()
    clock = clock_for(count)
    watch = Stopwatch(clock)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "episode.mcap"
        with EpisodeWriter(path, metadata={"task": TASK}, clock=task.robot.clock) as recorder:
            watch.wrap(controller, "act", "plan")
            watch.wrap(task.robot, "send_action", "simulate")
            watch.wrap(task.robot, "get_observation", "observe")
            watch.wrap(safety, "send", "filter")
            for method in ("write_observation", "write_action", "write_plan"):
                watch.wrap(recorder, method, "record")
            started = 0.0

            def after_step(result: EpisodeResult) -> None:
                nonlocal started
                if result.steps == 1:
                    started = clock()
                    watch.seconds = dict.fromkeys(watch.seconds, 0.0)
                recorder.write_plan(controller.plans[-1], plan_ms=controller.plan_seconds[-1] * 1e3)

            result = run_episode(
                task, controller, safety, reset_seed=0, policy_seed=0, recorder=recorder, after_step=after_step
            )
            total = clock() - started
    task.robot.disconnect()
    return row_of(watch.seconds, total, result.steps - 1, count, config.model["precision"])


def row_of(seconds: dict[str, float], total: float, steps: int, count: int, precision: str) -> Row:
    """The row of an episode whose parts took ``seconds``, by name, of ``total``."""
    around = total - seconds["plan"] - seconds["simulate"]
    parts = seconds | {"filter": seconds["filter"] - seconds["simulate"]}
    detail = ", ".join(f"{name} {parts[name] / steps * 1e3:.2g}" for name in ("observe", "filter", "record"))
    return Row(
        "loop", f"{TASK}, default settings", count, precision, around / steps * 1e3, "whole step",
        total / steps * 1e3, "share", around / total, at_most=MOST,
        note=f"{clock_name(count)} around planner and simulator; ms: {detail}",
    )  # fmt: skip
