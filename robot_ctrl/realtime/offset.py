"""How far the commands that an arm seems to follow are from those that it is sent."""

import numpy as np
import torch

from hardware.robot import Observation
from models.dynamics import Dynamics
from robot_ctrl.task import Array, Task

GAIN = 0.3
"""The part of a period's unforeseen motion that the offset changes by."""

LARGEST = 0.1
"""rad; what moves a joint further away than that is no load, but something in its way."""


class CommandOffset:
    """Adds to the commands in a state what makes the model predict where the joints really go.

    A joint that carries more than in the data that its model learned from comes to rest below where the model
    expects it, and a planner that trusts the model waits for ever. As if its command were that much lower: so that
    is what the model is told, and the plan's delta actions raise the real command by what is missing. The offset is
    an integrating estimate of an input disturbance, the means of offset-free model predictive control (Pannocchia
    and Rawlings 2003, "Disturbance models for offset-free model-predictive control").

    States without commands, or without the positions that follow them, stay as they are.

    Args:
        task: how actions are read; delta targets.
        model: the learned dynamics.
    """

    def __init__(self, task: Task, model: Dynamics) -> None:
        self._task, self._model = task, model
        self._offset = np.zeros(task.state_spec.action_size)
        self.reset()

    def reset(self) -> None:
        """Forget the last observation, as between episodes; the load stays."""
        self._before: tuple[float, Array, Array] | None = None

    def correct(self, state: Array, observation: Observation, time: float) -> Array:
        """The state (nx,) with the commands that the arm seems to follow.

        Args:
            state: (nx,) what the observation shows.
            observation: the newest; those about a period apart are compared.
            time: when it was read, s.
        """
        columns = self._task.state_spec.command
        if columns is None or not columns.positions:
            return state
        command = self._task.previous_command(observation)
        if self._before is not None:
            self._compare(state, command, (time - self._before[0]) / self._task.period, list(columns.positions))
        corrected = state.copy()
        corrected[list(columns.columns)] += self._offset
        self._before = time, corrected, command
        return corrected

    def _compare(self, state: Array, command: Array, elapsed: float, positions: list[int]) -> None:
        """Move the offset by what the joints did and the model did not foresee; elapsed counts periods."""
        assert self._before is not None
        if not 0.5 <= elapsed <= 1.5:
            return
        _, before, command_before = self._before
        action = self._task.action_scale.to_action(command, command_before) / elapsed
        with torch.inference_mode():
            rollout = self._model.rollout(
                torch.as_tensor(before, dtype=torch.float32),
                torch.as_tensor(action, dtype=torch.float32).expand(1, 1, -1),
            )
        foreseen = rollout.states[:, 0, 1].mean(dim=0).double().numpy() - before
        unforeseen = (state - before - foreseen * elapsed)[positions]
        self._offset = np.clip(self._offset + GAIN * unforeseen, -LARGEST, LARGEST)
