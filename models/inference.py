"""Networks frozen for planning: normalisation folded in, weights in the precision of inference."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from models.network import EnsembleNetwork
from models.normalizer import Normalizer

Precision = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

FUSED_ROWS = 512


def fused_layers_available(device: torch.device) -> bool:
    """Whether oneDNN's product with bias and activation in one pass can be called."""
    return device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@dataclass(frozen=True)
class Outputs:
    """What the networks say about one step, in float32 and, but for the variance, in the units of the data.

    Attributes:
        change: (E, B, n) of the learned columns.
        std: (E, B, n) in normalised units, or None for a deterministic head.
        reward: (E, B) or None.
        end_logit: (E, B) or None.
    """

    change: Tensor
    std: Tensor | None
    reward: Tensor | None
    end_logit: Tensor | None


class FrozenNetwork:
    """Some members of an ensemble, ready to be evaluated many times.

    Target scales are folded into the last layer and, in float32, the input statistics into the first. In
    bfloat16 inputs are normalised before they are rounded, because a shift folded into rounded weights would
    lose what matters of columns whose mean is large against their spread. Log-variances leave the network
    with their sign turned, which spares the bounds two softplus: with them
    ``variance = e^min + 1 / (e^-max + e^-raw)``.
    """

    def __init__(
        self,
        network: EnsembleNetwork,
        members: Tensor,
        inputs: Normalizer,
        targets: Normalizer,
        *,
        predicts_reward: bool,
        precision: Precision,
    ) -> None:
        """Take a copy of ``members`` of the network.

        Args:
            network: the ensemble as it was fitted.
            members: (E,) indices.
            inputs: statistics of the network inputs.
            targets: statistics of the network targets.
            predicts_reward: whether the last target is the reward.
            precision: of the products; what goes in and out is float32.
        """
        with torch.inference_mode(False), torch.no_grad():
            self.dtype = DTYPES[precision]
            weights = [weight[members].clone() for weight in network.weights]
            biases = [bias[members].clone() for bias in network.biases]
            count = network.targets
            self.changes = count - predicts_reward
            self.predicts_reward, self.predicts_end = predicts_reward, bool(network.logits)
            self.gaussian = network.gaussian
            weights[-1][..., :count] *= targets.std
            biases[-1][..., :count] *= targets.std
            self._change_mean = targets.mean[: self.changes].clone()
            self._reward_mean = targets.mean[self.changes :].clone()
            self._reward_column = self.changes * (2 if self.gaussian else 1)
            keep = list(range(self.changes))
            if self.gaussian:
                log_variances = slice(count, count + self.changes)
                weights[-1][..., log_variances] *= -1
                biases[-1][..., log_variances] *= -1
                keep += range(count, count + self.changes)
                self._min_variance = math.exp(network.min_log_variance)
                self._max_precision = math.exp(-network.max_log_variance)
            keep += range(self.changes, count)
            keep += range(weights[-1].shape[-1] - network.logits, weights[-1].shape[-1])
            weights[-1], biases[-1] = weights[-1][..., keep], biases[-1][..., keep]
            self._input_scale = 1 / inputs.std
            self._input_shift = -inputs.mean / inputs.std
            self.folded = precision == "fp32"
            if self.folded:
                biases[0] += self._input_shift.unsqueeze(0) @ weights[0]
                weights[0] *= self._input_scale.unsqueeze(-1)
            self.weights = [weight.to(self.dtype).contiguous() for weight in weights]
            self.biases = [bias.to(self.dtype).contiguous() for bias in biases]
            self._packed: list[list[tuple[Tensor, Tensor]]] | None = None
            if fused_layers_available(self.weights[0].device):
                self._packed = self._pack()

    def _pack(self) -> list[list[tuple[Tensor, Tensor]]]:
        """For each member and layer the weight (out, in) in oneDNN's own layout, and the bias (out,)."""
        return [
            [
                (
                    torch.ops.mkldnn._reorder_linear_weight(weight[member].t().contiguous()),
                    bias[member, 0].clone(),
                )
                for weight, bias in zip(self.weights, self.biases, strict=True)
            ]
            for member in range(self.members)
        ]

    @property
    def members(self) -> int:
        """The number of networks, E."""
        return int(self.weights[0].shape[0])

    @property
    def input_size(self) -> int:
        """The number of network inputs."""
        return int(self.weights[0].shape[1])

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Widths from the inputs to the outputs."""
        return self.input_size, *(weight.shape[2] for weight in self.weights)

    def normalize_columns(self, values: Tensor, columns: slice) -> Tensor:
        """Raw values of some input columns (..., n) to what the networks take."""
        if self.folded:
            return values
        return torch.addcmul(self._input_shift[columns], values, self._input_scale[columns]).to(self.dtype)

    def write_columns(self, values: Tensor, columns: slice, target: Tensor) -> None:
        """The same into ``target``, a view of an input buffer."""
        if self.folded:
            target.copy_(values)
        else:
            torch.addcmul(self._input_shift[columns], values, self._input_scale[columns], out=target)

    def empty_inputs(self, particles: int, candidates: int) -> Tensor:
        """A buffer (P, N, K) for inputs."""
        first = self.weights[0]
        return torch.empty((particles, candidates, self.input_size), dtype=first.dtype, device=first.device)

    def evaluate(self, inputs: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Inputs (E, B, K) to raw outputs in parts: a slice of e members and their outputs (e, B, O).

        oneDNN's products with bias and SiLU in one pass are faster for many rows, one batched product per
        layer for few, where the calls count.
        """
        if self._packed is not None and inputs.shape[1] >= FUSED_ROWS:
            linear = torch.ops.mkldnn._linear_pointwise
            for member, layers in enumerate(self._packed):
                hidden = inputs[member]
                for weight, bias in layers[:-1]:
                    hidden = linear(hidden, weight, bias, "swish", [], "")
                yield slice(member, member + 1), linear(hidden, *layers[-1], "none", [], "").unsqueeze(0)
            return
        hidden = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = functional.silu(torch.baddbmm(bias, hidden, weight), inplace=True)
        yield slice(0, self.members), torch.baddbmm(self.biases[-1], hidden, self.weights[-1])

    def evaluate_differentiably(self, inputs: Tensor) -> Tensor:
        """The same for inputs through which gradients flow; to be called on a float32 copy."""
        hidden = inputs
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = functional.silu(hidden)
        return hidden

    def move(self, before: Tensor, raw: Tensor, noise: Tensor | None, after: Tensor) -> None:
        """Write the learned columns of the next states into ``after``.

        Args:
            before: (e, k, N, n) the learned columns now: k particles of each of e members.
            raw: (e, k, N, O) what the networks returned.
            noise: (e, k, 1, n) what standard deviations are multiplied with, or None.
            after: (e, k, N, n).
        """
        torch.add(before, raw[..., : self.changes], out=after)
        if noise is None:
            after.add_(self._change_mean)
            return
        std = torch.empty_like(after)
        std.copy_(raw[..., self.changes : 2 * self.changes])
        std.exp_().add_(self._max_precision).reciprocal_()
        std.add_(self._min_variance).sqrt_()
        after.add_(torch.addcmul(self._change_mean, std, noise, out=std))

    def with_change_mean(self, weights: Tensor) -> Tensor:
        """Weights (n, h + 1) of the changes, biases last, that add the mean change as well."""
        return torch.cat([weights[:, :-1], weights[:, -1:] + self._change_mean.unsqueeze(-1)], -1)

    def reward(self, raw: Tensor) -> Tensor:
        """The rewards (...) in raw outputs (..., O)."""
        return raw[..., self._reward_column] + self._reward_mean

    def interpret(self, raw: Tensor) -> Outputs:
        """Split raw outputs (E, B, O) and bring them to the units of the data."""
        changes, std = self.changes, None
        if self.gaussian:
            precision = raw[..., changes : 2 * changes].exp() + self._max_precision
            std = (precision.reciprocal() + self._min_variance).sqrt()
        return Outputs(
            change=raw[..., :changes] + self._change_mean,
            std=std,
            reward=self.reward(raw) if self.predicts_reward else None,
            end_logit=raw[..., -1] if self.predicts_end else None,
        )
