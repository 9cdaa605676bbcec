"""The model's one-step error while the robot runs."""

import math

import numpy as np
import torch

from hardware.robot import Observation
from models.dynamics import Dynamics
from robot_ctrl.realtime.planning import read_time
from robot_ctrl.task import Array, Task

_GAIN = 0.1


class OneStepError:
    """Predicts each observation from one about a period before it, and compares.

    The error is relative: 0 for a perfect prediction, 1 for one that is as wrong as saying that nothing changes.
    Both are running means over all variables that the model learns, each in units of its own change.

    Args:
        task: reads observations.
        model: predicts.
    """

    def __init__(self, task: Task, model: Dynamics) -> None:
        self._task, self._model = task, model
        command = task.state_spec.command
        learned = np.ones(task.state_spec.size, dtype=bool)
        if command is not None:
            learned[list(command.columns)] = False
        self._learned = learned
        self._error = np.zeros(learned.sum())
        self._change = np.zeros(learned.sum())
        self.reset()

    def reset(self) -> None:
        """Forget the last observation, as between episodes."""
        self._before: tuple[float, Array, Array] | None = None

    def observe(self, observation: Observation) -> float:
        """Take an observation; returns the relative error so far, NaN before the first two."""
        now = read_time(observation)
        state = self._task.state(observation)
        command = self._task.previous_command(observation)
        if self._before is not None:
            elapsed = (now - self._before[0]) / self._task.period
            if 0.5 <= elapsed <= 1.5:
                self._compare(self._before[1], self._before[2], command, state, elapsed)
        self._before = (now, state, command)
        total = float(self._change.sum())
        return math.sqrt(float((self._error / np.maximum(self._change, 1e-12)).mean())) if total else math.nan

    def _compare(self, before: Array, command_before: Array, command: Array, state: Array, elapsed: float) -> None:
        scale = self._task.action_scale
        action = scale.to_action(command, command_before)
        if scale.mode == "delta":
            action = action / elapsed
        with torch.inference_mode():
            rollout = self._model.rollout(
                torch.as_tensor(before, dtype=torch.float32),
                torch.as_tensor(action, dtype=torch.float32).expand(1, 1, -1),
            )
        predicted = rollout.states[:, 0, 1].mean(dim=0).double().numpy()
        change = state - before
        error = change - (predicted - before) * elapsed
        self._error += _GAIN * (np.square(error[self._learned]) - self._error)
        self._change += _GAIN * (np.square(change[self._learned]) - self._change)
