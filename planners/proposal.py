"""What a sampling planner keeps from one plan to the next."""

from dataclasses import dataclass

from planners.interpolation import shift
from planners.plan import Array, read_only


@dataclass(frozen=True, eq=False)
class Proposal:
    """Where the next search starts.

    Arrays are read-only float32 numpy, so that plans cross processes without torch.

    Attributes:
        mean: (H, nu) the centre of the search.
        elites: (K, H, nu) the best candidates, best first; None where the planner keeps none.
        suggested: (K, H, nu) candidates that a policy suggests for this one search; None where there is none.
    """

    mean: Array
    elites: Array | None = None
    suggested: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", read_only(self.mean))
        for name in ("elites", "suggested"):
            if (actions := getattr(self, name)) is not None:
                object.__setattr__(self, name, read_only(actions))

    def shifted(self, steps: float, hold_action: Array) -> "Proposal":
        """The proposal for a plan that starts ``steps`` steps later, padded with ``hold_action`` (nu,)."""
        elites = None if self.elites is None else shift(self.elites, steps, hold_action, "hold")
        return Proposal(shift(self.mean, steps, hold_action, "hold"), elites)
