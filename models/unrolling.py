"""Errors of several steps ahead, which one-step training does not see."""

import torch
from torch import Tensor

from models.features import Features
from models.network import EnsembleNetwork
from models.normalizer import Normalizer
from models.transitions import Transitions


class Unrolling:
    """Feeds mean predictions back to the network and measures how far they stray from what happened.

    The squared errors are divided by the predicted variances, as in the likelihood, but do not teach the
    variances: those stay what the noise of one step is.
    """

    def __init__(
        self,
        features: Features,
        inputs: Normalizer,
        targets: Normalizer,
        transitions: Transitions,
        held_out: Tensor,
        steps: int,
    ) -> None:
        """Find the rows that have successors to compare with.

        Args:
            features: what the network sees and predicts.
            inputs: statistics of the inputs.
            targets: statistics of the targets.
            transitions: T rows, in order.
            held_out: rows that must not be learned from, as successors either.
            steps: of the mean prediction, at least 2.
        """
        self._features, self._inputs, self._targets = features, inputs, targets
        self._transitions, self._steps = transitions, steps
        continues = follows(transitions)
        blocked = torch.zeros(len(transitions), dtype=torch.bool, device=continues.device)
        blocked[held_out] = True
        continues &= ~blocked[1:]
        breaks = torch.cat([continues.new_zeros(1), ~continues]).long().cumsum(0)
        self._breaks = breaks

    def __call__(self, network: EnsembleNetwork, rows: Tensor, mean: Tensor) -> Tensor:
        """The loss of the steps after the first.

        Args:
            network: the ensemble.
            rows: (E, B).
            mean: (E, B, targets) what the network predicts for these rows, normalised.

        Returns:
            (E,), the average over those steps that have something to compare with.
        """
        data, count = self._transitions, self._features.target_size
        last = len(data) - 1
        states = data.states[rows]
        actions = data.actions[rows]
        total = mean.new_zeros(len(mean))
        for step in range(1, self._steps):
            change = self._targets.restore(mean)[..., :count]
            states = self._features.advance(states, self._features.controls(states, actions), change)
            later = (rows + step).clamp(max=last)
            comparable = (rows + step <= last) & (self._breaks[later] == self._breaks[rows])
            actions = data.actions[later]
            mean, log_variance, _ = network(self._inputs.normalize(self._features.inputs(states, actions)))
            target = self._features.targets(states, data.next_states[later])
            error = (mean[..., :count] - (target - self._targets.mean[:count]) / self._targets.std[:count]).square()
            if log_variance is not None:
                error = error * torch.exp(-log_variance[..., :count].detach())
            total = total + 0.5 * (error.mean(-1) * comparable).mean(-1)
        return total / (self._steps - 1)


def follows(transitions: Transitions) -> Tensor:
    """(T - 1,) whether each row is followed by the next one of its episode without a gap."""
    after, before = transitions.states[1:], transitions.next_states[:-1]
    gapless = torch.isclose(after, before, rtol=1e-4, atol=1e-5).all(-1)
    return gapless & (transitions.episodes[1:] == transitions.episodes[:-1])
