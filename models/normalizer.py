"""Shift and scale that bring columns of data to zero mean and unit variance."""

from dataclasses import dataclass

import torch
from torch import Tensor

RELATIVE_FLOOR = 1e-6


@dataclass(frozen=True)
class Normalizer:
    """Column statistics, computed in float64 and kept in float32.

    Attributes:
        mean: (n,) float32.
        std: (n,) float32, positive.
    """

    mean: Tensor
    std: Tensor

    @staticmethod
    def identity(size: int, device: torch.device | None = None) -> "Normalizer":
        """Leave ``size`` columns as they are."""
        return Normalizer(torch.zeros(size, device=device), torch.ones(size, device=device))

    @staticmethod
    def of(values: Tensor, *, constant_std: float) -> "Normalizer":
        """The statistics of values (T, n).

        A column that does not vary (beyond rounding: relative to its mean) gets ``constant_std``. Inputs take
        1, so that such a column is zero for the network and its weights keep their scale if it starts to
        vary. Targets take a tiny number, so that no noise appears where the data has none.
        """
        exact = values.double()
        mean = exact.mean(0)
        std = exact.std(0, correction=0)
        varies = std > RELATIVE_FLOOR * (mean.abs() + RELATIVE_FLOOR)
        std = torch.where(varies, std, constant_std)
        return Normalizer(mean.float(), std.float())

    def normalize(self, values: Tensor) -> Tensor:
        """Values (..., n) to normalised units."""
        return (values - self.mean) / self.std

    def restore(self, values: Tensor) -> Tensor:
        """Values (..., n) from normalised units."""
        return values * self.std + self.mean

    def to(self, device: torch.device) -> "Normalizer":
        """The same statistics on another device."""
        return Normalizer(self.mean.to(device), self.std.to(device))
