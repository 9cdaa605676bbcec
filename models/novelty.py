"""How far states are from the data that a model was fitted to."""

import torch
from torch import Tensor

from models.features import Features
from models.normalizer import Normalizer

REFERENCE_STATES = 1024
SMALLEST_DISTANCE = 1e-3


class Novelty:
    """The distance to the nearest of up to 1,024 training states, relative to that of rows held out.

    It needs no action and does not rely on the networks, whose disagreement may be small where they all
    extrapolate alike.
    """

    def __init__(self, features: Features) -> None:
        """Start with no data: everything is infinitely new."""
        self._features = features
        self.reference = torch.zeros(0, features.state_features)
        self.typical = torch.ones(())

    def fit(self, states: Tensor, rows: Tensor, held_out: Tensor, inputs: Normalizer) -> None:
        """Keep states for reference.

        Args:
            states: (T, nx).
            rows: rows that the model learns from.
            held_out: rows whose distance counts as 1.
            inputs: statistics of the network's inputs.
        """
        spread = torch.linspace(0, len(rows) - 1, min(len(rows), REFERENCE_STATES)).long()
        self.reference = self._normalized(states[rows[spread].to(states.device)], inputs)
        nearest = self._nearest(self._normalized(states[held_out[:REFERENCE_STATES]], inputs))
        self.typical = nearest.median().clamp(min=SMALLEST_DISTANCE)

    def of(self, states: Tensor, inputs: Normalizer) -> Tensor:
        """Novelty (T,) of states (T, nx), in the normalisation of the last fit; infinite before the first."""
        if not len(self.reference):
            return torch.full((len(states),), torch.inf, device=states.device)
        return self._nearest(self._normalized(states.float(), inputs)) / self.typical

    def _normalized(self, states: Tensor, inputs: Normalizer) -> Tensor:
        count = self._features.state_features
        return (self._features.of_states(states) - inputs.mean[:count]) / inputs.std[:count]

    def _nearest(self, features: Tensor) -> Tensor:
        return torch.cdist(features, self.reference).min(-1).values

    def to(self, device: torch.device) -> None:
        """Move the reference."""
        self.reference, self.typical = self.reference.to(device), self.typical.to(device)
