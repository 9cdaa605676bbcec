"""Tell what a model does not know (epistemic) from what nobody can know (aleatoric)."""

import torch
from torch import Tensor


def split_variance(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """The law of total variance for an equal mixture of E predictions.

    Args:
        means: (E, ...) of the members.
        variances: (E, ...) that the members predict.

    Returns:
        epistemic variance (...), the spread of the means, and aleatoric variance (...), the mean of the
        variances.
    """
    return means.var(0, correction=0), variances.mean(0)


def split_particles(states: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """Epistemic and aleatoric variance of rollouts whose particles keep their member.

    Args:
        states: (P, N, H + 1, nx).
        members: (P,), which member moved particle p.

    Returns:
        epistemic and aleatoric variance, each (N, H + 1, nx). The variance of the members' means contains the
        noise of the particles that each mean is taken over; with one particle per member all is epistemic.
    """
    groups = [states[members == member] for member in torch.unique(members)]
    means = torch.stack([group.mean(0) for group in groups])
    variances = torch.stack([group.var(0, correction=0) for group in groups])
    return split_variance(means, variances)
