"""What the learning loop may know about a model: it is fitted to a data set, judged, saved, and planned through."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from models.calibration import CalibrationReport
from models.dynamics import Dynamics
from models.fitting import FitReport, Progress

Data = TypeVar("Data", contravariant=True)


class LearnedModel(Dynamics, Protocol[Data]):
    """A ``Dynamics`` that is learned from data of some kind: transitions of states, or sequences of frames."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def fit(self, data: Data, /, *, generator: Generator, progress: Progress | None = None) -> FitReport:
        """Learn from the whole data set so far; weights go on from the last fit.

        Raises:
            ValueError: if the data cannot be learned from.
        """
        ...

    def calibrate(self, executed: Data, /) -> CalibrationReport:
        """Compare predictions with data that the model was not fitted to."""
        ...

    def novelty(self, states: Tensor) -> Tensor:
        """How far states (T, nx) are from the data: (T,), 1 for what is usual."""
        ...

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned; ``rows_seen`` is the number of transitions of the last fit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over what was learned.

        Raises:
            ValueError: if it belongs to another model.
        """
        ...
