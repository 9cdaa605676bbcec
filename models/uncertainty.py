"""Tell what a model does not know (epistemic) from what nobody can know (aleatoric)."""

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
