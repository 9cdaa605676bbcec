"""What the loop may know about a model on pictures."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from models.dynamics import Dynamics
from models.image.familiarity import Familiarity
from models.image.frames import FrameSequences

Memory = TypeVar("Memory")


class ImageDynamics(Dynamics, Protocol[Memory]):
    """A ``Dynamics`` whose states are made from pictures."""

    @property
    def shown_as(self) -> str:
        """How ``pictures`` makes a picture of a state, in words."""
        ...

    @property
    def arrival(self) -> float:
        """The distance within which a goal counts as reached."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def observe(
        self, observation: Mapping[str, Any], memory: Memory | None, action: Tensor | None
    ) -> tuple[Tensor, Memory]:
        """The state (nx,) that an observation shows, given what was seen before.

        Args:
            observation: arrays by name; pictures (h, w, 3) uint8 under their camera's name.
            memory: what the last call of this episode returned; None at its beginning, with the robot at rest.
            action: (nu,) what was sent since, scaled to [-1, 1]; None at the beginning.

        Returns:
            the state, and the memory for the next call. A memory is worthless after a refit.
        """
        ...

    def encode(self, sequences: FrameSequences) -> Tensor:
        """The states (F, nx) of recorded frames, without noise."""
        ...

    def encode_goal(self, goal: Mapping[str, Any]) -> Tensor:
        """The state (nx,) of being at rest where one picture was taken; arrays by name as in ``observe``.

        Proprioception may be missing from it.
        """
        ...

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """How far states (..., nx) are from a goal (nx,), in the unit that planning with it sums up."""
        ...

    def propose(self, state: Tensor, goal: Tensor, steps: int) -> Tensor | None:
        """Actions (H, nu) from a state (nx,) towards a goal (nx,), to plan from; None if there are none."""
        ...

    def novelty(self, states: Tensor) -> Tensor:
        """How far states (T, nx) are from the data: (T,), 1 for what is usual."""
        ...

    def familiarity(self, picture: Mapping[str, Any]) -> Familiarity:
        """Whether a picture looks like the data; arrays by name as in ``observe``."""
        ...

    def pictures(self, states: Tensor) -> Tensor:
        """What states (T, nx) look like: (T, C, H, W) uint8."""
        ...
