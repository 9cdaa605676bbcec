"""Rollouts of one small network without noise, in as few operations as there are products and activations."""

import torch
from torch import Tensor
from torch.nn import functional

from models.features import Features
from models.inference import FrozenNetwork
from models.rollout import Doubt, Futures, roll_out


def fits(features: Features, frozen: FrozenNetwork, doubt: Doubt) -> bool:
    """Whether the network is one that ``roll_out_lean`` can evaluate, and is faster at.

    It must be a single float32 network without noise or heads, see the whole state as it is and predict all
    of it. With more than one hidden layer, products of full width rule and the other form is faster at them.
    """
    plain = features.state_features == features.plain_size == features.target_size == features.spec.size
    return (
        frozen.members == 1
        and frozen.folded
        and len(frozen.weights) == 2
        and plain
        and doubt.noise is None
        and doubt.redraws is None
        and not (frozen.predicts_reward or frozen.predicts_end)
    )


def roll_out_lean(features: Features, frozen: FrozenNetwork, start: Tensor, actions: Tensor) -> Futures:
    """The same as ``roll_out`` for what ``fits``, in three operations a step.

    Candidates are the columns of every matrix, which keeps the short dimensions of the products (26 inputs,
    20 outputs) off the vector registers. The state stands above the controls and a row of ones, so that it is
    the network's input where it is: the ones carry the biases of the first layer, a row of ones below the
    hidden units those of the second, whose product is added to the state in place.

    Args:
        features: what the network sees.
        frozen: the network.
        start: (P, N, nx) float32, may be expanded.
        actions: (N, H, nu) float32.
    """
    particles, candidates, size = start.shape
    horizon = actions.shape[1]
    rows = particles * candidates
    first, second = (
        torch.cat([weight[0], bias[0]]).t().contiguous()
        for weight, bias in zip(frozen.weights, frozen.biases, strict=True)
    )
    second = frozen.with_change_mean(second[:size])
    inputs = start.new_empty((horizon + 1, first.shape[1], rows))
    inputs[0, :size].view(size, particles, candidates).copy_(start.permute(2, 0, 1))
    controls = inputs[:horizon, size:-1].view(horizon, -1, particles, candidates)
    controls.copy_(actions.permute(1, 2, 0).unsqueeze(2))
    inputs[:, -1] = 1
    hidden = start.new_ones((first.shape[0] + 1, rows))
    units = hidden[:-1]
    states = inputs[:, :size]
    for step in range(horizon):
        torch.mm(first, inputs[step], out=units)
        functional.silu(units, inplace=True)
        torch.addmm(states[step], second, hidden, out=states[step + 1])
    return Futures(states.view(horizon + 1, size, particles, candidates).permute(2, 3, 0, 1), None, None)


def roll_out_fast(features: Features, frozen: FrozenNetwork, start: Tensor, actions: Tensor, doubt: Doubt) -> Futures:
    """The fastest form of a rollout without gradients."""
    if fits(features, frozen, doubt):
        return roll_out_lean(features, frozen, start, actions)
    return roll_out(features, frozen, start, actions, doubt)
