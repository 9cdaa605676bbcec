"""The ensemble's networks frozen for planning: normalisation folded in, weights in the precision of inference."""

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
    bfloat16 inputs are normalised before they are rounded, because a shift folded into rounded weights would lose
    what matters of columns whose mean is large against their spread. Log-variances leave the network with their
    sign turned, which spares the bounds two softplus: with them
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
            self._predicts_reward, self._predicts_end = predicts_reward, bool(network.logits)
            self.gaussian = network.gaussian
            weights[-1][..., :count] *= targets.std
            biases[-1][..., :count] *= targets.std
            self._change_mean = targets.mean[: self.changes].clone()
            self._reward_mean = targets.mean[self.changes :].clone()
            keep = list(range(self.changes))
            if self.gaussian:
                log_variances = slice(count, count + self.changes)
                weights[-1][..., log_variances] *= -1
                biases[-1][..., log_variances] *= -1
                keep += range(count, count + self.changes)
                self._min_variance = network.min_log_variance[members, :, : self.changes].exp()
                self._max_precision = (-network.max_log_variance[members, :, : self.changes]).exp()
            keep += range(self.changes, count)
            keep += range(weights[-1].shape[-1] - network.logits, weights[-1].shape[-1])
            weights[-1], biases[-1] = weights[-1][..., keep], biases[-1][..., keep]
            self.input_scale = 1 / inputs.std
            self.input_shift = -inputs.mean / inputs.std
            self.folded = precision == "fp32"
            if self.folded:
                biases[0] += self.input_shift.unsqueeze(0) @ weights[0]
                weights[0] *= self.input_scale.unsqueeze(-1)
            self.weights = [weight.to(self.dtype).contiguous() for weight in weights]
            self.biases = [bias.to(self.dtype).contiguous() for bias in biases]
            self._packed = self._pack() if fused_layers_available(self.weights[0].device) else None

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
        return len(self.weights[0])

    @property
    def input_size(self) -> int:
        """The number of network inputs."""
        return self.weights[0].shape[1]

    def normalized(self, inputs: Tensor) -> Tensor:
        """Raw inputs (..., K) to what the networks take."""
        if self.folded:
            return inputs
        return torch.addcmul(self.input_shift, inputs, self.input_scale).to(self.dtype)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Inputs (E, B, K) in the precision of inference to raw outputs (E, B, O) in float32; no gradients."""
        if self._packed is not None and inputs.shape[1] >= FUSED_ROWS:
            return self._evaluate_fused(inputs, self._packed)
        hidden = inputs
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                functional.silu(hidden, inplace=True)
        return hidden.float()

    def _evaluate_fused(self, inputs: Tensor, packed: list[list[tuple[Tensor, Tensor]]]) -> Tensor:
        linear = torch.ops.mkldnn._linear_pointwise
        outputs = inputs.new_empty((*inputs.shape[:2], self.weights[-1].shape[-1]), dtype=torch.float32)
        for member, layers in enumerate(packed):
            hidden = inputs[member]
            for weight, bias in layers[:-1]:
                hidden = linear(hidden, weight, bias, "swish", [], "")
            weight, bias = layers[-1]
            outputs[member] = linear(hidden, weight, bias, "none", [], "")
        return outputs

    def evaluate_differentiably(self, inputs: Tensor) -> Tensor:
        """The same for inputs through which gradients flow; to be called on a float32 copy."""
        hidden = inputs
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = functional.silu(hidden)
        return hidden

    def interpret(self, raw: Tensor, *, with_std: bool) -> Outputs:
        """Split raw outputs (E, B, O) and bring them to the units of the data."""
        changes = self.changes
        std = None
        if self.gaussian and with_std:
            precision = raw[..., changes : 2 * changes].exp() + self._max_precision
            std = (precision.reciprocal() + self._min_variance).sqrt()
        end = 2 * changes if self.gaussian else changes
        reward = raw[..., end] + self._reward_mean if self._predicts_reward else None
        return Outputs(
            change=raw[..., :changes] + self._change_mean,
            std=std,
            reward=reward,
            end_logit=raw[..., -1] if self._predicts_end else None,
        )
