"""A state that remembers is made of every observation a period apart, however long plans take."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.robot import Observation
from robot_ctrl.realtime import planner_process
from robot_ctrl.realtime.planner_process import PlannerServer
from robot_ctrl.realtime.planning_messages import Seen

PERIOD = 0.1


class Queue(deque[Any]):
    def get(self) -> Any:
        return self.popleft() if self else None

    def put(self, message: Any) -> None:
        self.append(message)


class Task:
    period = PERIOD

    def __init__(self, remembers: bool) -> None:
        self.remembers = remembers
        self.seen: list[int] = []

    def state(self, observation: Observation) -> np.ndarray:
        if not self.seen or self.seen[-1] != observation.sequence:
            self.seen.append(observation.sequence)
        return np.zeros(1)


class Unplanned(Exception):
    pass


class Planner:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.planned: list[int] = []

    def reset(self, seed: int) -> None: ...

    def plan(self, observation: Observation, lag: float) -> None:
        self.planned.append(observation.sequence)
        raise Unplanned


def seen(sequence: int, time: float, episode: int | None = 0) -> Seen:
    return Seen(episode, Observation(sequence, {}, {}, {"motion": time}, {"motion": time}), 0.0)


def server(monkeypatch: pytest.MonkeyPatch, task: Task) -> tuple[PlannerServer, Planner, Any]:
    planner = Planner()
    monkeypatch.setattr(planner_process, "Replanner", Planner)
    monkeypatch.setattr(planner_process, "RealTimePlanner", lambda *_, **__: planner)
    monkeypatch.setattr(
        planner_process, "OneStepError", lambda *_: SimpleNamespace(observe=lambda _: 0.5, reset=lambda: None)
    )
    config = SimpleNamespace(planner={}, device="cpu", seed=0)
    settings = SimpleNamespace(config=config, budget=0.2, judges=False, caution=None)
    channels = SimpleNamespace(**{name: Queue() for name in ("seen", "steps", "plans", "status", "models", "records")})
    model = SimpleNamespace(novelty=lambda states: [1.0])
    return PlannerServer(settings, channels, task, model, VirtualClock()), planner, channels  # type: ignore[arg-type]


def test_every_step_is_looked_at_and_the_last_one_planned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(remembers=True)
    served, planner, channels = server(monkeypatch, task)
    for step in range(4):
        channels.steps.put(seen(5 * step, PERIOD * step))
        channels.seen.put(seen(5 * step + 3, PERIOD * step + 0.06))
    assert served.serve()
    assert task.seen == [0, 5, 10, 15]
    assert planner.planned == [15]
    assert not served.serve()
    assert planner.planned == [15]


def test_other_states_are_made_of_the_newest_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(remembers=False)
    served, planner, channels = server(monkeypatch, task)
    channels.steps.put(seen(0, 0.0))
    channels.seen.put(seen(3, 0.06))
    assert served.serve()
    assert planner.planned == [3]
    channels.seen.put(seen(4, 0.08))
    assert not served.serve()
    channels.seen.put(seen(9, 0.16, episode=None))
    assert not served.serve()
    assert planner.planned == [3]
