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
    """Makes one step of the ticks of every period of the model; the first observation is taken as it is.

    A delta action over the period is how far the command moved, an absolute one is the mean of what was sent. Steps
    end on a fixed grid of times, at the nearest tick that has an observation: ticks that were left out or failed
    make one step shorter or longer, and not the ones after it.

    Args:
        scale: the task's action scale, for one period of the model.
        model_period: seconds between the actions of a plan.
        period: seconds between ticks.

    Attributes:
        first: the observation that the steps begin with; None before it was read.
    """

    def __init__(self, scale: ActionScale, model_period: float, period: float) -> None:
        self._scale, self._model_period, self._half_tick = scale, model_period, period / 2
        self.first: Observation | None = None
        self._sent: list[SentAction] = []
        self._command: Array | None = None
        self._due = 0.0

    def add(self, tick: Tick) -> Step | None:
        """Take a tick; returns the step that its observation ends."""
        step = None
        if tick.observation is not None:
            if self.first is None:
                self.first = tick.observation
                self._command = np.array(tick.observation.values["command"], dtype=np.float64)
                self._due = tick.time + self._model_period
            elif self._sent and tick.time >= self._due - self._half_tick:
                step = self._end(tick.observation)
                self._due += self._model_period * max(1, round((tick.time - self._due) / self._model_period) + 1)
        if tick.sent is not None and self.first is not None:
            self._sent.append(tick.sent)
        return step

    def _end(self, observation: Observation) -> Step:
        sent, self._sent = self._sent, []
        if self._scale.mode == "delta":
            assert self._command is not None
            command = np.array(observation.values["command"], dtype=np.float64)
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
