"""How far a model is trusted, from how unsure it is: what bounds an arm's exploration."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """Turns the model's doubt about a state into trust.

    The doubt is the state's novelty (``ProbabilisticEnsemble.novelty``): about 1 for states like those learned from.
    Where trust is 0 the safety filter keeps the arm to a box and to a speed; where it is 1 the joints' own limits
    hold; see ``hardware.exploration``.

    Attributes:
        trusted: up to this doubt the model is trusted wholly.
        lost: from this doubt on it is not trusted at all.

    Raises:
        ValueError: if they are not positive, in this order.
    """

    trusted: float = 3.0
    lost: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.trusted < self.lost:
            raise ValueError(
                f"caution: trusted is {self.trusted} and lost is {self.lost}; both must be above 0, in this order."
            )

    def trust(self, doubt: float) -> float:
        """The trust in [0, 1]; none where the doubt is not a number."""
        if math.isnan(doubt):
            return 0.0
        return min(max((self.lost - doubt) / (self.lost - self.trusted), 0.0), 1.0)
