"""A value function: what the future beyond a plan will cost, learned from the recorded episodes."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.checks import require
from models.features import Features
from models.network import EnsembleNetwork
from models.normalizer import Normalizer
from models.state import StateSpec
from models.transitions import Transitions

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ValueReport:
    """What a fit of the value achieved.

    Attributes:
        explained: share of the variance of the last round's returns that the mean of the members explains.
        disagreement: the members' standard deviation, as a share of that of the returns.
    """

    explained: float
    disagreement: float


class ValueEnsemble:
    """The discounted cost to come, V(s) = E Σ γᵗ c_t, of the behaviour that was recorded.

    Each fit is some rounds of fitted value iteration. A round computes the λ-returns
    G_t = c_t + γ ((1 − λ) V(s_{t+1}) + λ G_{t+1}) of all recorded episodes with the networks as they stand, and takes
    gradient steps towards them (Sutton and Barto, Reinforcement Learning, chapter 12). A recording that just stops
    goes on with V, one that ended with the worst cost known, for ever.

    As the cost of a plan's last state it lets a short plan see far (Lowrey et al., Plan Online, Learn Offline, 2018,
    arXiv:1811.01848). A planner looks for states that it underrates; therefore values stay within the returns that were
    seen, and the members' disagreement is added to their mean.
    """

    def __init__(
        self,
        spec: StateSpec,
        *,
        discount: float = 0.97,
        trace: float = 0.8,
        pessimism: float = 1.0,
        members: int = 5,
        hidden: tuple[int, ...] = (128, 128),
        rounds: int = 2,
        round_steps: int = 50,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        """Build the untrained value.

        Args:
            spec: the layout of the state.
            discount: γ, per control period.
            trace: λ, how much of a return is what was paid, and how little the value of the next state.
            pessimism: standard deviations between members that are added to their mean.
            members: networks, which differ by initial weights and batches.
            hidden: widths of the hidden layers.
            rounds: of new targets per fit.
            round_steps: gradient steps per round.
            batch_size: rows per member and gradient step.
            learning_rate: of Adam.
            seed: of the initial weights.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(0 <= discount < 1, f"value: discount is {discount}; it must be in [0, 1)")
        require(0 <= trace <= 1, f"value: trace is {trace}; it must be in [0, 1]")
        counts = {"members": members, "rounds": rounds, "round_steps": round_steps, "batch_size": batch_size}
        for name, count in counts.items():
            require(count >= 1, f"value: {name} is {count}; it must be at least 1")
        self.members, self.discount, self.trace, self.pessimism = members, discount, trace, pessimism
        self._rounds, self._round_steps, self._batch_size = rounds, round_steps, batch_size
        self._features = Features(spec)
        self._network = EnsembleNetwork(
            members=members,
            inputs=self._features.state_features,
            hidden=hidden,
            targets=1,
            logits=0,
            gaussian=False,
            generator=Generator().manual_seed(seed),
        )
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=learning_rate, fused=True)
        self._inputs = Normalizer.identity(self._features.state_features)
        self._targets = Normalizer.identity(1)
        self._range = (0.0, 0.0)
        self._fits = 0

    @property
    def worst(self) -> float:
        """The largest return known: what a future is charged that has ended."""
        return self._range[1]

    def __call__(self, states: Tensor) -> Tensor:
        """The cost to come from states (..., nx): (...); 0 before the first fit."""
        values = self._values(self._inputs.normalize(self._features.of_states(states.reshape(-1, states.shape[-1]))))
        pessimistic = values.mean(0) + self.pessimism * values.std(0, correction=0)
        return pessimistic.clamp(*self._range).view(states.shape[:-1])

    def fit(self, transitions: Transitions, costs: Tensor, *, generator: Generator) -> ValueReport:
        """Learn from all transitions so far; weights and optimiser go on from the last fit.

        Args:
            transitions: the whole data set.
            costs: (T,) what each transition cost.
            generator: draws the batches (a CPU generator).
        """
        features = self._features.of_states(transitions.states)
        self._renormalize(features, costs)
        rows = self._inputs.normalize(features)
        following = self._inputs.normalize(self._features.of_states(transitions.next_states))
        for _ in range(self._rounds):
            with torch.no_grad():
                returns = self._returns(transitions, costs, self._values(following).mean(0))
            self._descend(rows, self._targets.normalize(returns), generator)
        self._range = (float(returns.min()), float(returns.max()))
        self._fits += 1
        with torch.no_grad():
            values = self._values(rows)
        spread = returns.std() + 1e-9
        return ValueReport(
            explained=float(1 - ((values.mean(0) - returns) / spread).square().mean()),
            disagreement=float((values.std(0, correction=0) / spread).mean()),
        )

    def _values(self, rows: Tensor) -> Tensor:
        """Of each member, (E, T), in units of the cost."""
        mean, _, _ = self._network(rows.expand(self.members, -1, -1))
        return self._targets.restore(mean).squeeze(-1)

    def _renormalize(self, features: Tensor, costs: Tensor) -> None:
        inputs = Normalizer.of(features, constant_std=1.0)
        ahead = 1 / (1 - self.discount)
        targets = Normalizer((costs.mean() * ahead).view(1), (costs.std() * math.sqrt(ahead) + 1e-6).view(1))
        if self._fits:
            self._network.renormalize_inputs(self._inputs, inputs)
            self._network.renormalize_targets(self._targets, targets)
        self._inputs, self._targets = inputs, targets

    def _returns(self, transitions: Transitions, costs: Tensor, following: Tensor) -> Tensor:
        """λ-returns (T,); ``following`` are the values of the next states."""
        last = torch.ones(len(costs), dtype=torch.bool)
        last[:-1] = (transitions.episodes[1:] != transitions.episodes[:-1]).cpu()
        if transitions.terminated is not None:
            following = following.where(~transitions.terminated, costs.max() / (1 - self.discount))
            last |= transitions.terminated.cpu()
        paid, values, is_last = costs.tolist(), following.tolist(), last.tolist()
        returns, later = [0.0] * len(paid), 0.0
        for step in reversed(range(len(paid))):
            ahead = values[step] if is_last[step] else (1 - self.trace) * values[step] + self.trace * later
            returns[step] = later = paid[step] + self.discount * ahead
        return torch.tensor(returns, device=costs.device)

    def _descend(self, rows: Tensor, targets: Tensor, generator: Generator) -> None:
        shape = (self._round_steps, self.members, self._batch_size)
        for batch in torch.randint(len(rows), shape, generator=generator).to(rows.device):
            self._optimizer.zero_grad(set_to_none=True)
            mean, _, _ = self._network(rows[batch])
            error = functional.smooth_l1_loss(mean.squeeze(-1), targets[batch], reduction="none")
            torch.autograd.backward(error.mean(-1).sum())
            self._optimizer.step()

    def to(self, device: torch.device | str) -> "ValueEnsemble":
        """Move the value, its optimiser included."""
        device = torch.device(device)
        self._network.to(device)
        self._optimizer.load_state_dict(self._optimizer.state_dict())
        self._inputs, self._targets = self._inputs.to(device), self._targets.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to plan and to go on fitting; tensors and primitives only."""
        return copy.deepcopy(
            {
                "format_version": FORMAT_VERSION,
                "network": dict(self._network.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "inputs": {"mean": self._inputs.mean, "std": self._inputs.std},
                "targets": {"mean": self._targets.mean, "std": self._targets.std},
                "range": list(self._range),
                "fits": self._fits,
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            ValueError: if it is of another version.
        """
        version = state.get("format_version")
        require(
            version == FORMAT_VERSION,
            f"checkpoint: the value has format version {version!r} where {FORMAT_VERSION} is expected; fit it again",
        )
        state = copy.deepcopy(dict(state))
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        device = self._inputs.mean.device
        self._inputs = Normalizer(**state["inputs"]).to(device)
        self._targets = Normalizer(**state["targets"]).to(device)
        low, high = state["range"]
        self._range, self._fits = (low, high), state["fits"]
