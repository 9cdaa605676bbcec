"""What a model is told about the columns of a state: which are angles, which hold commands."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CommandColumns:
    """Columns of the state that hold the previous position command, which the action moves by a bounded step.

    This part of the dynamics is known exactly, because our own action scale defines it:
    ``next = clip(command + action * step, low, high)``.

    Attributes:
        columns: nu indices into the state, in the order of the actions.
        step: (nu,) what an action of 1 adds within one control period, in the command's unit.
        low: (nu,) lower command limits.
        high: (nu,) upper command limits.
        positions: nu indices of the measured positions that follow the commands: networks then see how far
            the command is ahead, which is what moves a servo; empty where they are not in the state.
    """

    columns: tuple[int, ...]
    step: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    positions: tuple[int, ...] = ()

    def advance(self, command: Tensor, action: Tensor) -> Tensor:
        """The command after one action; command and action (..., nu)."""
        moved = command + action * command.new_tensor(self.step)
        return torch.minimum(torch.maximum(moved, command.new_tensor(self.low)), command.new_tensor(self.high))


@dataclass(frozen=True)
class StateSpec:
    """The layout of a state vector.

    Attributes:
        names: one name per state variable; their number is nx.
        action_size: number of action variables, nu.
        angles: indices of variables that wrap at 2π: networks see their sine and cosine, and their
            differences are taken the short way round. Their values are not wrapped in rollouts.
        unseen: indices of variables that do not influence the dynamics and must not be an input of the
            network (a horizontal position, a height above a flat floor's origin); they are still predicted.
        derived: further inputs that the task computes from states (..., nx) to (..., n): geometry that the network
            would have to learn otherwise, such as where a thing is as seen from the tool, and how far.
        command: the columns that hold the previous position command, where commands are delta targets.
    """

    names: tuple[str, ...]
    action_size: int
    angles: tuple[int, ...] = ()
    unseen: tuple[int, ...] = ()
    derived: Callable[[Tensor], Tensor] | None = None
    command: CommandColumns | None = None

    @property
    def size(self) -> int:
        """The number of state variables, nx."""
        return len(self.names)
