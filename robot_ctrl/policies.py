"""Base policies π₀: what drives the robot before there is a model."""

import math
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation
from robot_ctrl.task import Task

Array = NDArray[np.float64]
_erf = np.vectorize(math.erf)


class Policy(Protocol):
    """Chooses commands from observations, one episode after another."""

    def reset(self, seed: int) -> None:
        """Forget the last episode."""
        ...

    def act(self, observation: Observation) -> Array:
        """The next command (nu,), in the robot's units."""
        ...


class BasePolicy:
    """Actions that ignore the observation: uniform, coloured noise, or holding still.

    Coloured noise has power 1/f^colour (Pinneri et al. 2020, "Sample-efficient cross-entropy method"): smoother
    than white noise, it moves a robot further. It is squashed by the error function, so that it too covers [-1, 1]
    evenly.

    Args:
        task: whose robot is driven.
        kind: of actions.
        colour: of coloured noise.
        gentle: the share of episodes in which noise is weaker, by a strength drawn for each between 0 and 1: noise
            at full strength hardly ever shows how a robot rests.
    """

    def __init__(
        self, task: Task, kind: Literal["uniform", "coloured", "hold"], colour: float = 2.0, *, gentle: float = 0.0
    ) -> None:
        self._task = task
        self._kind = kind
        self._colour = colour
        self._gentle = gentle

    def reset(self, seed: int) -> None:
        """Draw the actions of one episode."""
        shape = (self._task.episode_steps, self._task.state_spec.action_size)
        rng = np.random.default_rng(seed)
        if self._kind == "uniform":
            self._actions = rng.uniform(-1, 1, shape)
        elif self._kind == "coloured":
            self._actions = _coloured(rng, shape, self._colour)
        if self._kind != "hold" and rng.uniform() < self._gentle:
            self._actions *= rng.uniform()
        self._step = 0

    def act(self, observation: Observation) -> Array:
        """The next command."""
        command = self._task.previous_command(observation)
        scale = self._task.action_scale
        if self._kind == "hold":
            action = scale.hold_action(command)
        else:
            action = self._actions[self._step % len(self._actions)]
            self._step += 1
        return scale.to_command(action, command)


def _coloured(rng: np.random.Generator, shape: tuple[int, int], colour: float) -> Array:
    length = max(2, shape[0])
    frequencies = np.fft.rfftfreq(length)
    frequencies[0] = frequencies[1]
    amplitudes = frequencies ** (-colour / 2)
    spectrum = amplitudes[:, None] * (
        rng.standard_normal((len(frequencies), shape[1])) + 1j * rng.standard_normal((len(frequencies), shape[1]))
    )
    noise = np.fft.irfft(spectrum, n=length, axis=0)
    return np.asarray(_erf(noise / noise.std(axis=0) / np.sqrt(2)))[: shape[0]]
