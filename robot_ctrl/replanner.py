"""One plan at a time: where a task, a model and a planner meet. Virtual time and real time share it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.robot import Observation
from models.actor_critic import ActorCritic
from models.dynamics import Dynamics
from planners.cost import WithTerminalValue
from planners.ilqr import ILQR
from planners.kl_lqr import KLConstrainedLQR
from planners.objective import RolloutObjective
from planners.plan import Plan
from planners.planner import Horizon, Planner
from planners.policy_rollout import imagined_actions
from planners.proposal import Proposal
from planners.registry import planner_class
from planners.risk import mean_std
from robot_ctrl.risks import risk_measure
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Array, Task


class Replanner:
    """Plans from states; between ``reset`` and ``reset`` the goal and the settings stay what they are.

    Args:
        task: what is wanted, and how observations and actions are read.
        model: the dynamics to plan through; may be refitted between plans.
        planner: the planner's settings with its name, the horizon and the risk measure.
        now: the loop's clock, for deadlines and the times of plans.
        device: where tensors live.
        value: suggests candidates, and says what the future beyond a plan will cost; may be refitted between plans.
            None plans to the horizon only.

    Attributes:
        horizon: actions in a plan.

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
        now: Callable[[], float],
        device: str = "cpu",
        value: ActorCritic | None = None,
    ) -> None:
        settings = dict(planner)
        self._class = planner_class(settings.pop("name"))
        self.horizon = int(settings.pop("horizon"))
        self._risk = risk_measure(settings.pop("risk"), settings.pop("risk_parameter"))
        self._settings = settings
        self._task = task
        self._model = model
        self._now = now
        self._value = value
        self._device = torch.device(device)
        self._explores = False
        self.reset(0)
        self._new_planner(np.zeros(task.state_spec.action_size, np.float32))

    def explore(self, optimism: float) -> None:
        """From now on act to learn: where the policy acts, with its noise; and plan for what could be.

        Args:
            optimism: standard deviations over the particles that a plan's cost is lowered by, in place of the risk
                measure; 0 leaves that as it is.
        """
        self._explores = True
        if optimism:
            self._risk = mean_std(-optimism)

    def reset(self, seed: int) -> None:
        """Forget the goal; the next observation starts a new episode."""
        self._task.forget()
        self._seed = seed
        self._planner: Planner | ILQR | KLConstrainedLQR | None = None
        self._planned = 0

    def plan(
        self,
        observation: Observation,
        *,
        state: Array,
        command: Array,
        start_time: float,
        warm_start: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """A plan from a state.

        Args:
            observation: what the plan is made from; the first after a reset says what the goal is.
            state: (nx,) where the plan starts: the observation's state, or where that leads to.
            command: (nu,) the command in force at the start.
            start_time: when the first action applies, seconds on the clock.
            warm_start: an earlier plan with its ``hold_action`` brought up to date, already shifted to start then.
            deadline: when the plan must be had, seconds on the clock; None plans to the end.
        """
        hold = self._task.action_scale.hold_action(command).astype(np.float32)
        if self._planner is None:
            self._planner = self._new_planner(hold)
            self._goal = self._tensor(self._task.goal(observation))
            self._cost = self._task.cost(self._goal)
            if self._value is not None:
                self._cost = WithTerminalValue(self._cost, self._value)
        start = self._tensor(state)
        if isinstance(self._planner, ILQR | KLConstrainedLQR):
            plan = self._planner.plan(self._model, self._cost, start, warm_start, deadline)
            return replace(plan, start_time=start_time, computed_from=observation.sequence)
        objective = RolloutObjective(
            self._model, self._cost, self._risk, start, seed=derive_seed(self._seed, "particles", self._planned)
        )
        value = self._value if self._value is not None and self._value.trained and self._value.proposals else None
        suggested = self._suggested_by_task(start) if value is None else self._suggested_by_policy(start, value)
        if suggested is not None:
            warm_start = self._with_suggested(suggested.cpu().numpy(), warm_start, hold, start_time)
        plan = self._planner.plan(objective, warm_start, deadline)
        if value is not None and suggested is not None:
            plan = self._or_policy(plan, value, start, suggested[-1 if self._explores else 0])
        self._planned += 1
        return replace(plan, start_time=start_time, computed_from=observation.sequence)

    def _or_policy(self, plan: Plan, value: ActorCritic, state: torch.Tensor, actions: torch.Tensor) -> Plan:
        """A plan, or the policy's actions (H, nu) where the plan promises no more than the critics do of the policy.

        Values are the policy's. A planner that relies on them and does something else can wait for ever: every plan
        ends where the policy would set out. Where the critics promise too much, the policy acts and they learn of it.
        """
        with torch.inference_mode():
            expected = float(value.going_on(state, self.horizon))
        if plan.cost <= expected or plan.finished == "fallback":
            return plan
        return replace(plan, actions=actions.cpu().numpy(), cost=expected)

    def _suggested_by_policy(self, state: torch.Tensor, value: ActorCritic) -> torch.Tensor:
        """(K, H, nu) what the learned policy would do from a state (nx,): its mean, then samples of it."""
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._seed, "policy", self._planned))
        return imagined_actions(self._model, value, state, value.proposals, self.horizon, generator)

    def _suggested_by_task(self, state: torch.Tensor) -> torch.Tensor | None:
        """(1, H, nu) what the task proposes from a state (nx,), if it does."""
        proposed = self._task.propose(state, self._goal, self.horizon)
        return None if proposed is None else proposed[None]

    def _with_suggested(
        self, actions: NDArray[np.float32], warm_start: Plan | None, hold: NDArray[np.float32], start_time: float
    ) -> Plan:
        """The warm start with actions (K, H, nu) to try, or a plan of the first of them where there is none."""
        if warm_start is None:
            warm_start = Plan(start_time=start_time, dt=self._task.period, actions=actions[0], hold_action=hold)
        kept = warm_start.proposal
        proposal = kept if isinstance(kept, Proposal) else Proposal(warm_start.actions)
        return replace(warm_start, proposal=replace(proposal, suggested=actions))

    def _new_planner(self, hold: NDArray[np.float32]) -> Planner | ILQR | KLConstrainedLQR:
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._seed, "planner"))
        horizon = Horizon(self.horizon, self._task.state_spec.action_size, self._task.period, hold)
        if issubclass(self._class, ILQR):
            return ILQR(horizon, now=self._now, **self._settings)
        return self._class(horizon, generator=generator, now=self._now, **self._settings)

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._device)
