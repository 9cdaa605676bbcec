"""What a planner may know about a dynamics model: it rolls action sequences out into futures."""

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor


@dataclass(frozen=True)
class Rollout:
    """Imagined futures of N candidate action sequences, each under P particles of the model's doubt.

    Attributes:
        states: (P, N, H + 1, nx); index 0 is the state that the rollout started from.
        rewards: (P, N, H), or None where the model has learned no reward.
        alive: (P, N, H + 1) bool, false after a predicted end of the episode or a diverged simulation;
            None where nothing can end.
        members: (P,) int64, which member moved particle p, so that doubt can be told from noise;
            None where particles change members or there is one.
    """

    states: Tensor
    rewards: Tensor | None = None
    alive: Tensor | None = None
    members: Tensor | None = None


class Dynamics(Protocol):
    """A model of what actions, scaled to [-1, 1], do to the state."""

    @property
    def state_size(self) -> int:
        """The number of state variables, nx."""
        ...

    @property
    def action_size(self) -> int:
        """The number of action variables, nu."""
        ...

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do.

        Noise is drawn per particle and step and shared by all N candidates (common random numbers), so the
        same generator state gives the same noise whatever N is.

        Args:
            state: (nx,), (N, nx) or (P, N, nx).
            actions: (N, H, nu), scaled to [-1, 1].
            generator: source of the model's noise; None propagates without noise.
        """
        ...
