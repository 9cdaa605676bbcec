"""The planner in the loop: from an observation to the first action of a fresh plan."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation
from models.actor_critic import ActorCritic
from models.dynamics import Dynamics
from planners.plan import Plan
from robot_ctrl.replanner import Replanner
from robot_ctrl.task import Task

Array = NDArray[np.float64]


class Controller:
    """Replans through a dynamics model and answers each observation with a command.

    It fits into anybody's robot loop: ``command = controller.act(observation)``.

    Args:
        task: what is wanted, and how observations and actions are read.
        model: the dynamics to plan through; may be refitted between calls.
        planner: the planner's settings with its name, the horizon and the risk measure.
        replan_every: control periods that one plan is followed for, at most to its end; 0 follows it to its end.
        device: where tensors live.
        value: suggests candidates, and says what the future beyond a plan will cost; may be refitted between calls.
            None plans to the horizon only.

    Attributes:
        value: as given.
        horizon: actions in a plan.
        plan: the plan that is being followed; None before the first.
        plans: every plan since ``reset``.
        plan_seconds: how long each of them took.

    Raises:
        ConfigError: if there is no such risk measure.
        ValueError: if there is no such planner, or a setting of it is out of range.
    """

    def __init__(
        self,
        task: Task,
        model: Dynamics,
        planner: Mapping[str, Any],
        *,
        replan_every: int = 1,
        device: str = "cpu",
        value: ActorCritic | None = None,
    ) -> None:
        self._replanner = Replanner(task, model, planner, now=task.robot.clock.now, device=device, value=value)
        self.value = value
        self.horizon = self._replanner.horizon
        self._task = task
        self._follow = min(replan_every or self.horizon, self.horizon)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget the plan and the goal; the next observation starts a new episode."""
        self._replanner.reset(seed)
        self._age = 0
        self.plan: Plan | None = None
        self.plans: list[Plan] = []
        self.plan_seconds: list[float] = []

    def explore(self, optimism: float) -> None:
        """From now on act to learn, see ``Replanner.explore``."""
        self._replanner.explore(optimism)

    def act(self, observation: Observation) -> Array:
        """The command (nu,) for this control period, in the robot's units.

        Call it once per control period. It plans when the current plan has been followed for long enough, and
        follows it otherwise.
        """
        command = self._task.previous_command(observation)
        if self.plan is None or self._age >= self._follow:
            self._replan(observation, command)
        action = self._now_in_plan().at(self._age * self._task.period).astype(np.float64)
        action = np.clip(action + self._feedback(observation), -1, 1)
        self._age += 1
        return self._task.action_scale.to_command(action, command)

    def _feedback(self, observation: Observation) -> Array:
        """What the plan's gains (nu, nx) make of being elsewhere than planned."""
        assert self.plan is not None
        if self.plan.gains is None or self.plan.states is None or self._age >= len(self.plan.gains):
            return np.zeros_like(self.plan.hold_action, dtype=np.float64)
        away = self._task.state(observation) - self.plan.states[self._age]
        feedback: Array = self.plan.gains[self._age].astype(np.float64) @ away
        return feedback

    def _now_in_plan(self) -> Plan:
        assert self.plan is not None
        return replace(self.plan, start_time=0.0)

    def _replan(self, observation: Observation, command: Array) -> None:
        started = time.perf_counter()
        hold = self._task.action_scale.hold_action(command).astype(np.float32)
        warm_start = None
        if self.plan is not None:
            warm_start = replace(self._now_in_plan(), hold_action=hold).shifted(self._age * self._task.period)
        self.plan = self._replanner.plan(
            observation,
            state=self._task.state(observation),
            command=command,
            start_time=self._task.robot.clock.now(),
            warm_start=warm_start,
        )
        self.plans.append(self.plan)
        self._age = 0
        self.plan_seconds.append(time.perf_counter() - started)
