"""Planning in real time: the newest observation, predicted forward to when the plan will be in force."""

from dataclasses import dataclass, replace

import numpy as np

from hardware.clock import Clock
from hardware.robot import Observation
from models.dynamics import Dynamics
from planners.plan import Plan
from robot_ctrl.realtime.latency import LatencyEstimate, predict_forward
from robot_ctrl.realtime.offset import CommandOffset
from robot_ctrl.realtime.schedule import PlanFrom, PlanSchedule
from robot_ctrl.replanner import Replanner
from robot_ctrl.task import Array, Task


@dataclass(frozen=True)
class Planned:
    """A plan and how it came about.

    Attributes:
        plan: starts when it is expected to be ready.
        began: when planning began, seconds on the clock.
        state_age: how old the observation was then, s.
        deadline: when the plan was to be had.
        predicted: (nx,) the state that it was planned from.
        command: (nu,) the command that it was planned from.
    """

    plan: Plan
    began: float
    state_age: float
    deadline: float | None
    predicted: Array
    command: Array


class RealTimePlanner:
    """Replans from observations on a clock that does not wait.

    Args:
        task: how observations are read.
        model: the learned dynamics, which also predicts the start state.
        replanner: plans.
        clock: the loop's clock.
        latency: how long plans take; kept up to date by ``published``.
        budget: seconds that one plan may take; None plans to the end.
        predict: whether the start state is predicted forward by the latency. Off, plans start from the state
            that was observed as if it were the state at their start: what others do, kept for comparison.
    """

    def __init__(
        self,
        task: Task,
        model: Dynamics,
        replanner: Replanner,
        clock: Clock,
        latency: LatencyEstimate,
        *,
        budget: float | None = None,
        predict: bool = True,
    ) -> None:
        self._task, self._model, self._replanner, self._clock = task, model, replanner, clock
        self._latency, self._budget, self._predict = latency, budget, predict
        self._schedule = PlanSchedule()
        self._offset = CommandOffset(task, model)

    def reset(self, seed: int) -> None:
        """Forget plans and goal: the next observation begins a new episode."""
        self._schedule.clear()
        self._offset.reset()
        self._replanner.reset(seed)

    def plan(self, observation: Observation, lag: float = 0.0) -> Planned:
        """Plan from an observation, for the moment at which the plan will be ready.

        Args:
            observation: the newest.
            lag: seconds that commands are sent after plans ask for them, because limits hold them back. What the
                plans in force asked for that long before the observation is still to come; a new plan's actions
                take effect that long after its start.
        """
        began = self._clock.now()
        read = read_time(observation)
        sent = read - lag
        state = self._offset.correct(self._task.state(observation), observation, read)
        command = self._task.previous_command(observation)
        start = began + self._latency.seconds
        if self._predict:
            state = predict_forward(self._model, state, self._schedule, sent, start, self._task.period)
            command = self._command_at(start, sent, command)
        newest, warm_start = self._schedule.newest, None
        if newest is not None:
            hold = self._task.action_scale.hold_action(command).astype(np.float32)
            warm_start = replace(newest, hold_action=hold).shifted(start - newest.start_time)
        deadline = None if self._budget is None else began + self._budget
        plan = self._replanner.plan(
            observation,
            state=state,
            command=command,
            start_time=start if self._predict else began,
            warm_start=warm_start,
            deadline=deadline,
        )
        return Planned(plan, began, began - read, deadline, state, command)

    def published(self, planned: Planned) -> PlanFrom:
        """Count a plan as handed over now; returns it as it is to be followed."""
        now = self._clock.now()
        self._latency.measured(now - planned.began)
        plan = PlanFrom(replace(planned.plan, computed_at=now), planned.command)
        self._schedule.add(plan)
        return plan

    def _command_at(self, start: float, sent: float, command: Array) -> Array:
        scale = self._task.action_scale
        if scale.mode == "absolute" or start <= sent or self._schedule.newest is None:
            return command
        return scale.to_command(self._schedule.sum(sent, start).astype(np.float64), command)


def read_time(observation: Observation) -> float:
    """When the newest part of an observation had been read, seconds on the clock."""
    return max(observation.read_end.values())
