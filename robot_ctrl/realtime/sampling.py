"""From ticks to the steps that a model thinks in: what was observed, and what was sent in between."""

from dataclasses import dataclass

import numpy as np

from hardware.robot import Array, Observation, SentAction
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.control import Tick


@dataclass(frozen=True)
class Step:
    """One period of the model.

    Attributes:
        sent: the last command of the period, with all that limits changed in it.
        action: (nu,) the action in [-1, 1] that explains what was sent over the period.
        observation: what was read at its end.
    """

    sent: SentAction
    action: Array
    observation: Observation


class StepSampler:
    """Makes one step of every so many ticks; the first observation is taken as it is.

    A delta action over the period is how far the command moved, an absolute one is the mean of what was sent.
    A step ends with the first tick that has an observation once its period is full, so a failed read makes one
    step longer instead of losing it.

    Args:
        scale: the task's action scale, for one period of the model.
        ticks: control ticks in a period of the model.

    Attributes:
        first: the observation that the steps begin with; None before it was read.
    """

    def __init__(self, scale: ActionScale, ticks: int) -> None:
        self._scale, self._ticks = scale, ticks
        self.first: Observation | None = None
        self._sent: list[SentAction] = []
        self._command: Array | None = None

    def add(self, tick: Tick) -> Step | None:
        """Take a tick; returns the step that its observation ends."""
        step = None
        if tick.observation is not None:
            if self.first is None:
                self.first = tick.observation
                self._command = _command_of(tick.observation)
            elif len(self._sent) >= self._ticks:
                step = self._end(tick.observation)
        if tick.sent is not None and self.first is not None:
            self._sent.append(tick.sent)
        return step

    def _end(self, observation: Observation) -> Step:
        sent, self._sent = self._sent, []
        if self._scale.mode == "delta":
            assert self._command is not None
            command = sent[-1].sent
            action = self._scale.to_action(command, self._command)
            self._command = command
        else:
            mean = np.mean([each.sent for each in sent], axis=0)
            action = self._scale.to_action(mean, sent[0].sent)
        merged = SentAction(
            requested=sent[-1].requested,
            sent=sent[-1].sent,
            reasons=tuple(dict.fromkeys(reason for each in sent for reason in each.reasons)),
            time=sent[0].time,
        )
        return Step(merged, action, observation)


def _command_of(observation: Observation) -> Array:
    return np.array(observation.values["command"], dtype=np.float64)
