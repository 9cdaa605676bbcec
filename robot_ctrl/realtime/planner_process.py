"""The planner process: the newest observation in, a plan out, again and again; a new model between two plans."""

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.clock import Clock, MonotonicClock
from hardware.robot import Observation
from models.learned import LearnedModel
from robot_ctrl.config import RunConfig
from robot_ctrl.goals.goal_image_task import GoalImageTask
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring, StopRequest
from robot_ctrl.realtime.exploration import Caution
from robot_ctrl.realtime.latency import LatencyEstimate
from robot_ctrl.realtime.one_step import OneStepError
from robot_ctrl.realtime.parts import load_task_and_model, recorded_start
from robot_ctrl.realtime.planning import RealTimePlanner, read_time
from robot_ctrl.realtime.planning_messages import EpisodePlan, Seen
from robot_ctrl.realtime.recording import Event, PlanMade
from robot_ctrl.replanner import Replanner
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task

logger = logging.getLogger(__name__)
IDLE_SECONDS = 0.001
FAILURES_IN_A_ROW = 3
_KEPT = 200


@dataclass(frozen=True)
class PlannerStatus:
    """How planning stands.

    Attributes:
        ready: whether it can plan.
        plans: plans made since the start.
        plan_ms: median over the last plans, ms.
        latency: what the start state is predicted forward by, s, without the observation's age.
        state_age: median age of observations when planning began, s.
        missed: plans of this episode that were not had by their deadline.
        one_step_error: of the model on what it saw last, relative to how much the state changes.
        doubt: how new the state is to the model: about 1 for what it knows.
        reward: the task's, for the newest observation; NaN where it cannot be told.
        model: how many times the model was exchanged.
        error: what the last plan failed with.
        failed: whether planning gave up.
    """

    ready: bool = False
    plans: int = 0
    plan_ms: float = math.nan
    latency: float = math.nan
    state_age: float = math.nan
    missed: int = 0
    one_step_error: float = math.nan
    doubt: float = math.nan
    reward: float = math.nan
    model: int = 0
    error: str | None = None
    failed: bool = False


@dataclass
class PlannerChannels:
    """What the planner shares with the others.

    Attributes:
        seen: the newest observation, without pictures.
        steps: the observation at the end of every period of the model, with pictures.
    """

    seen: Mailbox
    steps: Ring
    plans: Mailbox
    status: Mailbox
    models: Mailbox
    records: Ring
    pulse: Pulse
    supervisor: Pulse
    stop: StopRequest
    quit: Mailbox
    supervisor_limit: float = 2.0


@dataclass(frozen=True)
class PlannerSettings:
    """What the planner needs to know.

    Attributes:
        config: the run's configuration.
        run: the run whose last model it starts with.
        budget: seconds that one plan may take.
        caution: how doubt bounds exploration.
        picture: the goal (h, w, 3) uint8, for tasks with goal pictures; None takes the episode's own.
        judges: whether the task's reward can be told from observations: not where the robot measures no target.
        threads: for tensor work.
    """

    config: RunConfig
    run: Path
    budget: float
    caution: Caution
    picture: NDArray[np.uint8] | None = None
    judges: bool = True
    threads: int = 1


class PlannerServer:
    """Makes plans of what it is shown; everything but the waiting."""

    def __init__(
        self,
        settings: PlannerSettings,
        channels: PlannerChannels,
        task: Task,
        model: LearnedModel[Any],
        clock: Clock,
    ) -> None:
        self._settings, self._channels = settings, channels
        self._task, self._model, self._clock = task, model, clock
        config = settings.config
        self._latency = LatencyEstimate(first=settings.budget / 2)
        replanner = Replanner(task, model, config.planner, now=clock.now, device=config.device)
        self._planner = RealTimePlanner(task, model, replanner, clock, self._latency, budget=settings.budget)
        self._one_step = OneStepError(task, model)
        self._episode: int | None = None
        self._error = math.nan
        self._planned_from = -math.inf
        self._failures = 0
        self._milliseconds: deque[float] = deque(maxlen=_KEPT)
        self._ages: deque[float] = deque(maxlen=_KEPT)
        self.status = PlannerStatus()

    def serve(self) -> bool:
        """Look for something to do, and do it; returns whether there was."""
        self._exchange_model()
        try:
            seen = self._newest()
            if seen is None or read_time(seen.observation) < self._planned_from + self._task.period - 1e-3:
                return False
            self._planned_from = read_time(seen.observation)
            self._plan(seen)
            self._failures = 0
        except Exception as error:  # a planner that fails must not take the arm with it: late plans have rules
            self._failed(error)
        self._channels.status.put(self.status)
        return True

    def _newest(self) -> Seen | None:
        """What to plan from; None where nothing new was seen.

        Observations a period apart are looked at one by one, whatever has to wait for it: states that remember are
        made of them alone. Other states are best made of the very newest observation.
        """
        seen: Seen | None = self._channels.seen.get()
        if self._task.remembers or seen is None or seen.episode is None:
            seen = None
        while (step := self._channels.steps.get()) is not None:
            self._begin(step.episode)
            self._task.state(step.observation)
            self._error = self._one_step.observe(step.observation)
            seen = step if self._task.remembers else seen
        if seen is not None:
            self._begin(seen.episode)
        return seen

    def warm_up(self, observation: Observation) -> None:
        """Plan once for nothing, so that the first plan that counts is not the slowest."""
        self._planner.reset(0)
        self._planner.plan(observation)

    def _begin(self, episode: int | None) -> None:
        if episode == self._episode:
            return
        self._episode, self._planned_from, self._error = episode, -math.inf, math.nan
        self._planner.reset(derive_seed(self._settings.config.seed, "deployment policy", episode or 0))
        self._one_step.reset()
        self.status = replace(self.status, missed=0)

    def _plan(self, seen: Seen) -> None:
        assert seen.episode is not None
        episode, observation = seen.episode, seen.observation
        state = self._task.state(observation)
        doubt = self._doubt(state)
        planned = self._planner.plan(observation, seen.lag)
        published = self._planner.published(planned)
        plan = replace(published.plan, proposal=None)
        self._channels.plans.put(
            EpisodePlan(episode, replace(published, plan=plan), self._settings.caution.trust(doubt))
        )
        seconds = plan.computed_at - planned.began
        self._channels.records.put(PlanMade(plan.computed_at, episode, plan, seconds * 1e3))
        missed = planned.deadline is not None and plan.computed_at > planned.deadline
        self._milliseconds.append(seconds * 1e3)
        self._ages.append(planned.state_age)
        self.status = replace(
            self.status,
            plans=self.status.plans + 1,
            plan_ms=float(np.median(self._milliseconds)),
            latency=self._latency.seconds,
            state_age=float(np.median(self._ages)),
            missed=self.status.missed + missed,
            one_step_error=self._error,
            doubt=doubt,
            reward=self._task.reward(observation) if self._settings.judges else math.nan,
        )

    def _doubt(self, state: NDArray[np.float64]) -> float:
        return float(self._model.novelty(torch.as_tensor(state, dtype=torch.float32).unsqueeze(0))[0])

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        text = f"planning failed: {error!r}"
        logger.warning(text, exc_info=error)
        self._channels.records.put(Event(self._clock.now(), "planner", text))
        self.status = replace(self.status, error=text, failed=self._failures >= FAILURES_IN_A_ROW)

    def _exchange_model(self) -> None:
        folder: Path | None = self._channels.models.get()
        if folder is None:
            return
        checkpoint = RunFolder(folder).load_checkpoint()
        if checkpoint is not None:
            self._model.load_state_dict(checkpoint["model"])
            self._task.see_with(self._model)
            self.status = replace(self.status, model=self.status.model + 1)


def plan(settings: PlannerSettings, channels: PlannerChannels) -> None:
    """The planner process: plan until told to quit, until planning fails for good, or the supervisor is gone."""
    channels.stop.heed()
    torch.set_num_threads(settings.threads)
    clock = MonotonicClock()
    task, model = load_task_and_model(settings.config, settings.run)
    task.robot.connect()
    if settings.picture is not None:
        assert isinstance(task, GoalImageTask)
        task.picture = settings.picture
    server = PlannerServer(settings, channels, task, model, clock)
    server.warm_up(replace(recorded_start(settings.run), read_end={"warm-up": clock.now()}))
    server.status = replace(server.status, ready=True)
    channels.status.put(server.status)
    while channels.quit.get() is None and not server.status.failed:
        channels.pulse.beat(clock.now())
        if channels.supervisor.age(clock.now()) > channels.supervisor_limit:
            return
        if not server.serve():
            time.sleep(IDLE_SECONDS)
