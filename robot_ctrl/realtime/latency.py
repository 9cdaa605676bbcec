"""How long plans take, and where the robot will be by the time the next one applies."""

from itertools import pairwise

import numpy as np
import torch

from models.dynamics import Dynamics
from planners.plan import Array as Action
from robot_ctrl.realtime.schedule import PlanSchedule
from robot_ctrl.task import Array


class LatencyEstimate:
    """A running estimate of the time from an observation's planning to its plan being in force.

    A smoothed mean plus one smoothed mean deviation (Jacobson 1988, "Congestion avoidance and control", with a
    smaller margin): most plans are then ready when they are due, and one that is early waits for its start.

    Args:
        first: the estimate before anything was measured, s.
        gain: how much one measurement changes the estimate.
    """

    def __init__(self, first: float = 0.05, gain: float = 0.125) -> None:
        self._mean = first
        self._deviation = 0.0
        self._gain = gain
        self._measured = False

    @property
    def seconds(self) -> float:
        """What to expect of the next plan, s."""
        return self._mean + self._deviation

    def measured(self, seconds: float) -> None:
        """Take one measurement into account."""
        if not self._measured:
            self._mean, self._measured = seconds, True
            return
        error = seconds - self._mean
        self._mean += self._gain * error
        self._deviation += self._gain * (abs(error) - self._deviation)


def predict_forward(
    model: Dynamics, state: Array, schedule: PlanSchedule, start: float, end: float, period: float
) -> Array:
    """The state (nx,) that the plans in force lead to from ``start`` to ``end``, as the model's mean.

    The model thinks in whole periods. Each is told the mean action over it; the last, partial one is told the
    mean action over its part and its change of state is taken in proportion.

    Args:
        model: the learned dynamics.
        state: (nx,) observed at ``start``.
        schedule: the plans that are followed meanwhile; without any the state is returned as it is.
        start: when the state was read, seconds on the loop's clock.
        end: when the next plan is to start.
        period: the model's period, s.
    """
    ahead = (end - start) / period
    if ahead <= 0 or schedule.newest is None:
        return state
    whole = int(ahead + 1e-9)
    part = max(ahead - whole, 0.0)
    edges = [start + step * period for step in range(whole + 1)]
    if part > 1e-9:
        edges.append(end)
    actions: list[Action] = []
    for begin, finish in pairwise(edges):
        actions.append(schedule.sum(begin, finish) * (period / (finish - begin)))
    with torch.inference_mode():
        rollout = model.rollout(
            torch.as_tensor(state, dtype=torch.float32), torch.as_tensor(np.stack(actions)).unsqueeze(0)
        )
        states = rollout.states[:, 0].mean(dim=0).double().numpy()
    if part <= 1e-9:
        return np.asarray(states[-1])
    return np.asarray(states[-2] + part * (states[-1] - states[-2]))
