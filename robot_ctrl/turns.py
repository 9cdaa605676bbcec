"""While a run learns, the learned policy takes over from the planner for stretches."""

import numpy as np
import torch

from hardware.robot import Observation
from robot_ctrl.controller import Array, Controller
from robot_ctrl.task import Task

STRETCH = 25
"""Control periods for which the policy acts without a break."""


class Turns:
    """The planner's commands, but for a share of each episode those of its learned policy.

    A planner hardly ever does what the policy would do. What the critics believe of the policy's actions is then never
    put to the test, and the values that follow from it drift far below what anything costs (Lin et al., TD-M(PC)²,
    2025, arXiv:2502.03550, who tie the policy to what planners do instead).

    Args:
        task: what is wanted.
        controller: plans, also while the policy acts, so that its warm start stays fresh.
        share: of the control periods in which the policy acts, in [0, 1); none before it is trained.
    """

    def __init__(self, task: Task, controller: Controller, share: float) -> None:
        self._task, self._controller = task, controller
        self._block = round(STRETCH / share) if share else 0

    def reset(self, seed: int) -> None:
        """A new episode, which the policy begins."""
        self._controller.reset(seed)
        self._noise = torch.Generator().manual_seed(seed)
        self._step = 0

    def act(self, observation: Observation) -> Array:
        """The command (nu,) for this control period."""
        command = self._controller.act(observation)
        self._step += 1
        value = self._controller.value
        if value is None or not value.trained or not self._block or (self._step - 1) % self._block >= STRETCH:
            return command
        state = torch.as_tensor(self._task.state(observation), dtype=torch.float32, device=value.device)
        noise = torch.randn(1, self._task.state_spec.action_size, generator=self._noise)
        with torch.no_grad():
            action = value.act(state.unsqueeze(0), noise=noise.to(state.device))[0]
        scaled = action.cpu().numpy().astype(np.float64)
        return self._task.action_scale.to_command(scaled, self._task.previous_command(observation))
