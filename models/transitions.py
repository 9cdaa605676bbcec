"""The data that models are fitted on."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """T transitions (s, a, r, s', end) in the order in which they happened, episode after episode.

    Attributes:
        states: (T, nx) float32.
        actions: (T, nu) float32, what was sent, scaled to [-1, 1].
        next_states: (T, nx) float32.
        rewards: (T,) float32, or None where the environment defines none.
        terminated: (T,) bool, true where the episode ended for a reason (not for its length); None if never.
        episodes: (T,) int64, non-decreasing; rows of one episode are contiguous in time.
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    rewards: Tensor | None
    terminated: Tensor | None
    episodes: Tensor

    def __len__(self) -> int:
        """The number of transitions, T."""
        return len(self.states)

    def __getitem__(self, rows: Tensor | slice) -> "Transitions":
        """The chosen rows."""

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[rows]

        return Transitions(
            self.states[rows],
            self.actions[rows],
            self.next_states[rows],
            pick(self.rewards),
            pick(self.terminated),
            self.episodes[rows],
        )

    def is_prefix_of(self, whole: "Transitions") -> bool:
        """Whether other transitions begin with the same states."""
        steps = len(self)
        return steps <= len(whole) and torch.equal(self.states, whole.states[:steps])

    @staticmethod
    def concatenate(parts: "list[Transitions]") -> "Transitions":
        """Join data sets one after another; all must agree on which columns they have."""

        def join(values: list[Tensor | None]) -> Tensor | None:
            present = [value for value in values if value is not None]
            if present and len(present) != len(values):
                raise ValueError("some data sets have a column that others lack; join only sets of one task")
            return torch.cat(present) if present else None

        return Transitions(
            torch.cat([part.states for part in parts]),
            torch.cat([part.actions for part in parts]),
            torch.cat([part.next_states for part in parts]),
            join([part.rewards for part in parts]),
            join([part.terminated for part in parts]),
            torch.cat([part.episodes for part in parts]),
        )
