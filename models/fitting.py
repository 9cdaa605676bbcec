"""Gradient descent on the members of an ensemble."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.averaging import AveragedNetwork
from models.network import EnsembleNetwork
from models.unrolling import Unrolling

Progress = Callable[[int, int, float], None]
"""Called after each evaluation with the steps done, the steps at most, and the mean holdout loss."""


@dataclass(frozen=True)
class FitReport:
    """What a fit achieved; errors are those of the kept weights on the rows held out.

    Attributes:
        train_loss: mean over members on a sample of the training rows, as large as the holdout.
        holdout_loss: mean over members.
        member_losses: holdout loss of each member; for a Gaussian head the negative log-likelihood per target
            in normalised units, without its constant ½ log 2π.
        one_step_rmse: root mean squared error of the mean of the elites, in standard deviations of a one-step
            change, over all learned columns.
        one_step_rmse_states: the same for each state variable in its unit; 0 for commands, which are exact.
        elites: the members that plan, best first.
        rows: transitions given.
        steps: gradient steps taken.
        seconds: wall time.
    """

    train_loss: float
    holdout_loss: float
    member_losses: tuple[float, ...]
    one_step_rmse: float
    one_step_rmse_states: tuple[float, ...]
    elites: tuple[int, ...]
    rows: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Data:
    """Everything a gradient step needs, normalised: T rows.

    Attributes:
        inputs: (T, inputs).
        targets: (T, targets).
        terminated: (T,) float 0 or 1, or None without a termination head.
        tables: for each member the rows it learns from.
        fresh: for each member those of them that the previous fit had not seen; empty at the first fit.
        holdout: (K,) rows.
        unrolling: adds the loss of later steps in training; None trains on one step.
    """

    inputs: Tensor
    targets: Tensor
    terminated: Tensor | None
    tables: list[Tensor]
    fresh: list[Tensor]
    holdout: Tensor
    unrolling: Unrolling | None = None


VARIANCE_WEIGHT = 0.5
"""Exponent β of β-NLL (Seitzer et al. 2022, arXiv:2203.09168): gradients of each row and column are weighted by its
predicted variance to this power, so that what is predicted badly is not written off as noise."""


class Loss:
    """Each member's negative log-likelihood or squared error, and the cross-entropy of the end.

    Where gradients are wanted, likelihoods are weighted by the predicted variance, see ``VARIANCE_WEIGHT``.
    """

    def __init__(self, network: EnsembleNetwork, data: Data) -> None:
        self._network, self._data = network, data
        self._end_weight = torch.ones(())
        if data.terminated is not None:
            ends = data.terminated.sum()
            balance = (len(data.terminated) - ends) / ends.clamp(min=1)
            self._end_weight = balance.sqrt().clamp(1, 10)

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (E, B) or (B,), shared by all, to losses (E,)."""
        mean, log_variance, logits = self._network(self._gather(self._data.inputs, rows))
        error = (mean - self._gather(self._data.targets, rows)).square()
        if log_variance is not None:
            error = error * torch.exp(-log_variance) + log_variance
            if torch.is_grad_enabled():
                error = error * torch.exp(VARIANCE_WEIGHT * log_variance.detach())
        loss: Tensor = 0.5 * error.mean((1, 2))
        if logits is not None and self._data.terminated is not None:
            ended = self._gather(self._data.terminated.unsqueeze(-1), rows)
            cross_entropy = functional.binary_cross_entropy_with_logits(
                logits, ended, pos_weight=self._end_weight, reduction="none"
            )
            loss = loss + cross_entropy.mean((1, 2))
        if self._data.unrolling is not None and torch.is_grad_enabled():
            loss = loss + self._data.unrolling(self._network, rows, mean)
        return loss

    def _gather(self, table: Tensor, rows: Tensor) -> Tensor:
        """(E, B, columns)."""
        members = len(self._network.weights[0])
        if rows.dim() == 1:
            return table.index_select(0, rows).expand(members, -1, -1)
        return table.index_select(0, rows.flatten()).view(members, rows.shape[1], -1)


class Sampler:
    """Draws batches of rows for each member, part of them from the rows that are new."""

    def __init__(self, data: Data, batch: int, fresh_fraction: float) -> None:
        has_fresh = all(len(table) for table in data.fresh)
        self._fresh_batch = round(batch * fresh_fraction) if has_fresh else 0
        self._batch = batch - self._fresh_batch
        self._tables, self._lengths = _padded(data.tables)
        self._fresh, self._fresh_lengths = _padded(data.fresh)

    def draw(self, steps: int, generator: Generator) -> Tensor:
        """Rows (steps, E, B)."""
        parts = [_pick(self._tables, self._lengths, steps, self._batch, generator)]
        if self._fresh_batch:
            parts.append(_pick(self._fresh, self._fresh_lengths, steps, self._fresh_batch, generator))
        return torch.cat(parts, -1)


def _padded(tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(table) for table in tables])
    return torch.nn.utils.rnn.pad_sequence(tables, batch_first=True), lengths


def _pick(tables: Tensor, lengths: Tensor, steps: int, batch: int, generator: Generator) -> Tensor:
    members = len(tables)
    uniform = torch.rand((steps, members, batch), generator=generator, dtype=torch.float64)
    places = (uniform * lengths.view(1, -1, 1)).long()
    return tables.unsqueeze(0).expand(steps, -1, -1).gather(2, places)


def descend(
    network: EnsembleNetwork,
    average: AveragedNetwork,
    optimizer: torch.optim.Optimizer,
    data: Data,
    *,
    generator: Generator,
    batch: int,
    fresh_fraction: float,
    max_steps: int,
    patience: int,
    progress: Progress | None,
) -> tuple[int, Tensor]:
    """Take gradient steps until the average's holdout loss no longer falls; each member's average ends at its best.

    The average at the start counts: a refit that makes a member worse on the rows held out does not change it, while
    the network that takes the steps goes on.

    Returns:
        steps taken, and the best holdout loss of each member's average (E,).
    """
    loss_of, judged = Loss(network, data), Loss(average.network, data)
    sampler = Sampler(data, batch, fresh_fraction)
    averages = list(average.network.parameters())
    device = averages[0].device
    longest = max(len(table) for table in data.tables)
    interval = max(50, min(250, -(-longest // batch)))
    with torch.no_grad():
        best = judged(data.holdout)
        kept = [parameter.clone() for parameter in averages]
    stale = steps = 0
    while steps < max_steps and stale < patience:
        batches = sampler.draw(min(interval, max_steps - steps), generator).to(device)
        for rows in batches:
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_of(rows).sum())
            optimizer.step()
            average.follow(network)
        steps += len(batches)
        with torch.no_grad():
            losses = judged(data.holdout)
            better = losses < best
            clearly = bool((losses < best - 0.005).any())
            best = torch.where(better, losses, best)
            for kept_value, parameter in zip(kept, averages, strict=True):
                kept_value.copy_(torch.where(better.view(-1, 1, 1), parameter, kept_value))
        stale = 0 if clearly else stale + 1
        if progress is not None:
            progress(steps, max_steps, float(losses.mean()))
    with torch.no_grad():
        for parameter, kept_value in zip(averages, kept, strict=True):
            parameter.copy_(kept_value)
    return steps, best
