"""Which rows are held out and which rows each member learns from, the same at every refit."""

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2⁶⁴ / golden ratio, odd, as a signed number
_MIX = (-4658895280553007687, -7723592293110705685)


def uniform_hash(rows: Tensor, salt: int) -> Tensor:
    """A number in [0, 1) for each row index (T,), which depends on the index and the salt alone.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on wrapping 64-bit integers.
    """
    state = (rows.to(torch.int64) + 1) * _GOLDEN + salt * 2654435761
    for shift, factor in zip((30, 27), _MIX, strict=True):
        state = (state ^ _logical_right_shift(state, shift)) * factor
    state = state ^ _logical_right_shift(state, 31)
    return _logical_right_shift(state, 11).double() * 2.0**-53


def _logical_right_shift(values: Tensor, places: int) -> Tensor:
    return (values >> places) & ((1 << (64 - places)) - 1)


def holdout_rows(total: int, fraction: float, cap: int, seed: int) -> Tensor:
    """The rows (K,) that no member learns from.

    A row that is held out stays so however many rows follow it, as membership depends on its index alone.
    """
    rows = torch.arange(total)
    return rows[uniform_hash(rows, seed) < fraction][:cap]


def bootstrap_tables(rows: Tensor, members: int, seed: int) -> list[Tensor]:
    """For each member the rows that it learns from, a row as often as it was drawn.

    How often a row appears is Poisson with mean 1, which is what sampling with replacement tends to; unlike
    it, a row's count does not change when rows are added, so that a warm-started member keeps its own view of
    the data.
    """
    counts = torch.arange(9, dtype=torch.float64)
    probability = torch.exp(-1 - torch.lgamma(counts + 1))
    cumulative = probability.cumsum(0)
    tables = []
    for member in range(members):
        repeats = torch.searchsorted(cumulative, uniform_hash(rows, seed + 1 + member), right=True)
        table = rows.repeat_interleave(repeats)
        tables.append(table if len(table) else rows)
    return tables
