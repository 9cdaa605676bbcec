"""A batch of multilayer perceptrons, one per ensemble member, evaluated together."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.normalizer import Normalizer

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -10.0, 0.5
"""Of normalised targets, whose own variance is 1: a standard deviation of 0.7 % at least.

PETS learns its bounds, under a penalty that draws them together. With several targets that penalty outweighs what is
left of the likelihood's gradient: the lower bound rises, every target seems noisy, and a holdout that is judged by
likelihood rejects what is learned from then on.
"""


def truncated_normal(shape: Sequence[int], std: float, generator: Generator) -> Tensor:
    """Normal numbers cut at two standard deviations, by inverting the distribution function."""
    limit = math.erf(2 / math.sqrt(2))
    uniform = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * limit
    return (torch.erfinv(uniform) * math.sqrt(2) * std).float()


class EnsembleNetwork(nn.Module):
    """E SiLU networks of the same shape, after PETS (Chua et al. 2018, arXiv:1805.12114).

    Layer weights are (E, in, out) and biases (E, 1, out), so that one batched product serves all members. The
    output holds ``targets`` means, for a Gaussian head as many raw log-variances, then ``logits`` logits.
    Log-variances are bounded softly, by ``min_log_variance`` and ``max_log_variance``.
    """

    def __init__(
        self,
        *,
        members: int,
        inputs: int,
        hidden: tuple[int, ...],
        targets: int,
        logits: int,
        gaussian: bool,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.targets, self.logits, self.gaussian = targets, logits, gaussian
        outputs = targets * (2 if gaussian else 1) + logits
        sizes = [inputs, *hidden, outputs]
        self.weights = nn.ParameterList(
            nn.Parameter(truncated_normal((members, rows, columns), 1 / (2 * math.sqrt(rows)), generator))
            for rows, columns in pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, columns)) for columns in sizes[1:])
        self.min_log_variance, self.max_log_variance = MIN_LOG_VARIANCE, MAX_LOG_VARIANCE

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Normalised inputs (E, B, inputs) to means, log-variances (E, B, targets), logits (E, B, 1)."""
        hidden = inputs
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = functional.silu(hidden)
        mean = hidden[..., : self.targets]
        log_variance = self._bounded(hidden[..., self.targets : 2 * self.targets]) if self.gaussian else None
        logits = hidden[..., -self.logits :] if self.logits else None
        return mean, log_variance, logits

    def _bounded(self, raw: Tensor) -> Tensor:
        below = self.max_log_variance - functional.softplus(self.max_log_variance - raw)
        return self.min_log_variance + functional.softplus(below - self.min_log_variance)

    @torch.no_grad()
    def renormalize_inputs(self, old: Normalizer, new: Normalizer) -> None:
        """Keep the function of the raw inputs when the input statistics change."""
        weight, bias = self.weights[0], self.biases[0]
        bias.add_(((new.mean - old.mean) / old.std).unsqueeze(0) @ weight)
        weight.mul_((new.std / old.std).unsqueeze(-1))

    @torch.no_grad()
    def renormalize_targets(self, old: Normalizer, new: Normalizer) -> None:
        """Keep the predicted means in raw units when the target statistics change, variances nearly so.

        A log-variance moves by at most 4: a column that had not varied before starts with a variance of its
        own.
        """
        weight, bias = self.weights[-1], self.biases[-1]
        ratio = old.std / new.std
        means = slice(0, self.targets)
        weight[..., means] *= ratio
        bias[..., means] = bias[..., means] * ratio + (old.mean - new.mean) / new.std
        if self.gaussian:
            bias[..., self.targets : 2 * self.targets] += (2 * ratio.log()).clamp(-4, 4)
