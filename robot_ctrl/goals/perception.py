"""From observations to the states of an image model, with the memory that it needs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.robot import Observation
from models.image.image_dynamics import ImageDynamics
from robot_ctrl.action_scale import ActionScale

Array = NDArray[np.float64]


class Perception:
    """Gives each observation to the model once, in order, with what the model remembers of those before it.

    An observation follows the one before if it was made later and is one control period younger; otherwise (after a
    pause, a gap, when told to forget) the memory starts anew, with the robot at rest.

    Args:
        model: makes states of observations.
        scale: turns the command that was sent back into an action.
        period: seconds between observations.
    """

    def __init__(self, model: ImageDynamics[Any], scale: ActionScale, period: float) -> None:
        self._model, self._scale, self._period = model, scale, period
        self.forget()

    def forget(self) -> None:
        """The next observation follows none, however soon it comes."""
        self._memory: Any = None
        self._seen: Observation | None = None
        self._state = np.zeros(0)

    def state(self, observation: Observation) -> Array:
        """The state (nx,) that an observation shows; the same observation may be asked for again."""
        last = self._seen
        if last is not None and observation is last:
            return self._state
        follows = last is not None and self._follows(last, observation)
        action = self._action(last, observation) if follows and last is not None else None
        state, self._memory = self._model.observe(everything(observation), self._memory if follows else None, action)
        self._seen, self._state = observation, state.cpu().numpy().astype(np.float64)
        return self._state

    def _follows(self, last: Observation, observation: Observation) -> bool:
        elapsed = max(observation.read_end.values()) - max(last.read_end.values())
        return observation.sequence > last.sequence and 0.5 < elapsed / self._period < 1.5

    def _action(self, last: Observation, observation: Observation) -> torch.Tensor:
        previous = np.asarray(last.values["command"])
        action = self._scale.to_action(np.asarray(observation.values["command"]), previous)
        return torch.as_tensor(action, dtype=torch.float32, device=self._model.device)


def everything(observation: Observation) -> dict[str, Any]:
    """The values and the pictures of an observation, by name."""
    return {**observation.values, **observation.images}
