"""The bare matrix products of planning and fitting: the floors that no implementation undercuts."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor

from robot_ctrl.benches.timing import Clock, Work, fastest


def forward_products(sizes: Sequence[int], *, members: int, rows: int, dtype: torch.dtype, clock: Clock) -> Work:
    """One pass through chained products, without bias or activation.

    The faster of one batched product per layer and of separate products per member, at the thread count that is set.

    Args:
        sizes: widths from the inputs to the outputs.
        members: networks, E.
        rows: of each member.
        dtype: of the products.
        clock: judges which form is faster.
    """
    inputs, weights = _operands(sizes, members, rows, dtype)

    def batched() -> None:
        hidden = inputs
        for weight in weights:
            hidden = torch.bmm(hidden, weight)

    def separate() -> None:
        for member in range(members):
            hidden = inputs[member]
            for weight in weights:
                hidden = torch.mm(hidden, weight[member])

    return fastest([batched, separate], clock=clock)


def training_products(sizes: Sequence[int], *, members: int, rows: int, clock: Clock) -> Work:
    """The forward and backward products of one gradient step in float32, in the faster of the same two forms.

    The gradient of the inputs, which nobody needs, is not computed.
    """
    inputs, weights = _operands(sizes, members, rows, torch.float32)
    activations = [torch.randn(members, rows, size) for size in sizes]

    def step(product: Callable[[Tensor, Tensor], Tensor], members: int | slice) -> None:
        hidden = inputs[members]
        for weight in weights:
            hidden = product(hidden, weight[members])
        for layer in reversed(range(len(weights))):
            gradient = activations[layer + 1][members]
            product(activations[layer][members].mT, gradient)
            if layer:
                product(gradient, weights[layer][members].mT)

    def batched() -> None:
        step(torch.bmm, slice(None))

    def separate() -> None:
        for member in range(members):
            step(torch.mm, member)

    return fastest([batched, separate], clock=clock)


def _operands(sizes: Sequence[int], members: int, rows: int, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    generator = Generator().manual_seed(0)
    inputs = torch.randn(members, rows, sizes[0], generator=generator).to(dtype)
    weights = [
        (torch.randn(members, size, following, generator=generator) / size**0.5).to(dtype)
        for size, following in pairwise(sizes)
    ]
    return inputs, weights
