"""What the network sees of a state and an action, and what it is asked to predict."""

import math

import torch
from torch import Tensor

from models.state import StateSpec

Columns = slice | Tensor


def as_columns(indices: list[int]) -> Columns:
    """Indices as a slice where they are consecutive: slices are views, other indices copy."""
    if indices and indices == list(range(indices[0], indices[-1] + 1)):
        return slice(indices[0], indices[-1] + 1)
    return torch.tensor(indices, dtype=torch.int64)


def wrap_angle(angle: Tensor) -> Tensor:
    """The equivalent angle in [-π, π)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


class Features:
    """The mapping from states and actions (SI units, actions in [-1, 1]) to network inputs and targets.

    Inputs are the plain state columns, the sines and the cosines of the angles, what the task derives, then the
    control: the action, or, where the state holds position commands, the *new* command, as its lead over the position
    that follows it where that is known. The previous command and the raw action are then left out, because the
    servo follows the new command and knows nothing of how it came about.

    Targets are the changes of all columns except the commands, which are advanced exactly.
    """

    def __init__(self, spec: StateSpec) -> None:
        command = spec.command.columns if spec.command else ()
        outside = set(spec.angles) | set(spec.unseen) | set(command)
        plain = [column for column in range(spec.size) if column not in outside]
        angles = [column for column in spec.angles if column not in spec.unseen]
        learned = [column for column in range(spec.size) if column not in command]
        self.spec = spec
        self.plain, self.angles, self.learned = as_columns(plain), as_columns(angles), as_columns(learned)
        self.plain_size, self.angle_count, self.target_size = len(plain), len(angles), len(learned)
        derived = 0 if spec.derived is None else spec.derived(torch.zeros(1, spec.size)).shape[-1]
        self.state_features = len(plain) + 2 * len(angles) + derived
        self.input_size = self.state_features + spec.action_size
        positions = spec.command.positions if spec.command else ()
        self.followers = as_columns(list(positions)) if positions else None
        self._wrapped = [learned.index(column) for column in spec.angles if column in learned]

    def of_states(self, states: Tensor) -> Tensor:
        """States (..., nx) to features (..., n)."""
        parts = [states[..., self.plain]]
        if self.angle_count:
            angles = states[..., self.angles]
            parts += [angles.sin(), angles.cos()]
        if self.spec.derived is not None:
            parts.append(self.spec.derived(states))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def controls(self, states: Tensor, actions: Tensor) -> Tensor:
        """Actions (..., nu), or the new commands that they lead to from states (..., nx)."""
        command = self.spec.command
        if command is None:
            return actions
        following = command.advance(states[..., list(command.columns)], actions)
        return following if self.followers is None else following - states[..., self.followers]

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """States (..., nx) and actions (..., nu) to network inputs (..., input_size), not normalised."""
        return torch.cat([self.of_states(states), self.controls(states, actions)], -1)

    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """Changes (..., target_size) from states to next_states (..., nx), angles' the short way round."""
        change = next_states[..., self.learned] - states[..., self.learned]
        if self._wrapped:
            change[..., self._wrapped] = wrap_angle(change[..., self._wrapped])
        return change

    def advance(self, states: Tensor, controls: Tensor, change: Tensor) -> Tensor:
        """The next states (..., nx): learned columns moved by ``change``, commands set by ``controls``."""
        if self.spec.command is None:
            return states + change
        following = states.clone()
        following[..., self.learned] = states[..., self.learned] + change
        commands = controls if self.followers is None else controls + states[..., self.followers]
        following[..., list(self.spec.command.columns)] = commands
        return following
