"""A policy and what will follow from its actions, learned from the recorded transitions: soft actor-critic."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.checks import require
from models.features import Features
from models.layer_norm_network import LayerNormNetwork
from models.normalizer import Normalizer
from models.state import StateSpec
from models.transitions import Transitions

FORMAT_VERSION = 2
LOG_STD_RANGE = (-5.0, 1.0)
FIRST_TEMPERATURE = 0.1
TARGET_RATE = 0.01
"""How far the target networks move towards the critics at each gradient step."""

_NETWORKS = ("actor", "critics", "targets")
_OPTIMIZERS = ("actor_optimizer", "critic_optimizer", "temperature_optimizer")


@dataclass(frozen=True)
class ActorCriticReport:
    """How the last gradient step of a fit found things; in units of the spread of the action values.

    Attributes:
        error: root mean square temporal difference.
        disagreement: the critics' standard deviation.
        entropy: of the policy, nats per action variable.
    """

    error: float
    disagreement: float
    entropy: float


class ActorCritic:
    """A policy π(s) and its discounted cost to come, Q(s, a) = c + γ E Q(s', π(s')).

    Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) with an ensemble of critics and several gradient steps
    per transition (Chen et al., Randomized Ensembled Double Q-Learning, 2021, arXiv:2101.05982): a target is the worse
    of two critics drawn at random, so that what nobody has tried does not look cheap. The policy's entropy is held at a
    target; values count costs alone, for they are added to those of a plan. A recording that just stops goes on with
    Q; one that ended is charged the worst step for ever.

    To a planner it gives candidates, the policy's own actions; what a plan has to beat to be followed instead of them,
    ``going_on``; and the cost of a plan's last state, Q(s, π(s)), which lets a short plan see far (Hansen et al.,
    TD-MPC2, 2024, arXiv:2310.16828; Lowrey et al., Plan Online, Learn Offline, 2018, arXiv:1811.01848). A planner looks
    for states that it underrates: therefore the critics' disagreement is added to their mean, and values stay within
    what costs can come to.
    """

    def __init__(
        self,
        spec: StateSpec,
        *,
        discount: float = 0.98,
        updates: float = 4.0,
        proposals: int = 16,
        pessimism: float = 1.0,
        critics: int = 5,
        hidden: tuple[int, ...] = (128, 128),
        batch_size: int = 256,
        learning_rate: float = 5e-4,
        actor_every: int = 2,
        entropy: float = -1.0,
        seed: int = 0,
    ) -> None:
        """Build the untrained policy and its critics.

        Args:
            spec: the layout of the state.
            discount: γ, per control period.
            updates: gradient steps per new transition.
            proposals: action sequences of the policy among the candidates of each plan; with 0 no plan gives way to
                the policy either.
            pessimism: standard deviations between critics that are added to their mean in the cost of last states.
            critics: networks, at least 2, which differ by their initial weights.
            hidden: widths of the hidden layers, of policy and critics.
            batch_size: rows per gradient step.
            learning_rate: of Adam, for policy, critics and temperature.
            actor_every: the policy takes one gradient step for so many of the critics.
            entropy: what the policy's is held at, nats per action variable.
            seed: of the initial weights.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(0 <= discount < 1, f"value: discount is {discount}; it must be in [0, 1)")
        require(updates > 0, f"value: updates is {updates}; it must be positive")
        require(proposals >= 0, f"value: proposals is {proposals}; it must be at least 0")
        require(critics >= 2, f"value: critics is {critics}; it must be at least 2")
        for name, count in {"batch_size": batch_size, "actor_every": actor_every}.items():
            require(count >= 1, f"value: {name} is {count}; it must be at least 1")
        self.discount, self.pessimism, self.proposals = discount, pessimism, proposals
        self._updates, self._batch_size, self._actor_every = updates, batch_size, actor_every
        self._target_entropy = entropy * spec.action_size
        self._features = Features(spec)
        generator = Generator().manual_seed(seed)
        inputs, actions = self._features.state_features, spec.action_size
        self._actor = LayerNormNetwork(1, (inputs, *hidden, 2 * actions), generator)
        self._critics = LayerNormNetwork(critics, (inputs + actions, *hidden, 1), generator)
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        self._log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))
        self._actor_optimizer = torch.optim.Adam(self._actor.parameters(), lr=learning_rate, fused=True)
        self._critic_optimizer = torch.optim.Adam(self._critics.parameters(), lr=learning_rate, fused=True)
        self._temperature_optimizer = torch.optim.Adam([self._log_temperature], lr=learning_rate, fused=True)
        self._inputs = Normalizer.identity(inputs)
        self._values = Normalizer.identity(1)
        self._range = (0.0, 0.0)
        self._rows_seen = 0
        self._steps = 0

    @property
    def critics(self) -> int:
        """The number of critics."""
        return len(self._critics.weights[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._inputs.mean.device

    @property
    def worst(self) -> float:
        """The largest cost to come: what a future is charged that has ended."""
        return self._range[1]

    @property
    def trained(self) -> bool:
        """Whether it was fitted: before, values are 0 and the policy means nothing."""
        return self._steps > 0

    def __call__(self, states: Tensor) -> Tensor:
        """The cost to come from states (..., nx) under the policy: (...); 0 before the first fit."""
        rows = self._rows(states.reshape(-1, states.shape[-1]))
        mean, _ = self._distribution(rows)
        values = self._values.restore(self._critics(torch.cat([rows, mean.tanh()], -1)).squeeze(-1))
        pessimistic = values.mean(0) + self.pessimism * values.std(0, correction=0)
        return pessimistic.clamp(*self._range).view(states.shape[:-1])

    def going_on(self, states: Tensor, periods: int) -> Tensor:
        """What a plan has to beat: so many undiscounted control periods and the cost to come after them, (...).

        It is what the critics expect of the policy from states (..., nx), at its average cost per period.
        """
        return self(states) * (1 + periods * (1 - self.discount))

    def act(self, states: Tensor, *, noise: Tensor) -> Tensor:
        """Actions (K, nu) in states (K, nx), off the policy's mean by noise (K, nu) standard deviations."""
        mean, log_std = self._distribution(self._rows(states))
        return (mean + log_std.exp() * noise).tanh()

    def fit(self, transitions: Transitions, costs: Tensor, *, generator: Generator) -> ActorCriticReport:
        """Learn from all transitions so far, as many gradient steps as there are new ones times ``updates``.

        Args:
            transitions: the whole data set.
            costs: (T,) what each transition cost.
            generator: draws batches, actions and critics (a CPU generator).
        """
        features = self._features.of_states(transitions.states)
        self._renormalize(features, costs)
        now = self._inputs.normalize(features)
        following = self._inputs.normalize(self._features.of_states(transitions.next_states))
        ended = transitions.terminated
        error = q = q_density = torch.zeros(1)
        for _ in range(max(1, round(self._updates * (len(now) - self._rows_seen)))):
            batch = torch.randint(len(now), (self._batch_size,), generator=generator).to(now.device)
            with torch.no_grad():
                later, q_density = self._later(following[batch], generator)
                if ended is not None:
                    later = later.where(~ended[batch], self.worst)
                target = self._values.normalize(costs[batch] + self.discount * later)
            q = self._critics(torch.cat([now[batch], transitions.actions[batch]], -1)).squeeze(-1)
            error = (q - target).square().mean(-1)
            _descend(self._critic_optimizer, error.sum())
            torch._foreach_lerp_(list(self._targets.parameters()), list(self._critics.parameters()), TARGET_RATE)
            self._steps += 1
            if self._steps % self._actor_every == 0:
                self._improve(now[batch], generator)
        self._rows_seen = len(now)
        return ActorCriticReport(
            error=float(error.detach().mean().sqrt()),
            disagreement=float(q.detach().std(0, correction=0).mean()),
            entropy=float(-q_density.mean()) / transitions.actions.shape[-1],
        )

    def _later(self, rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """What follows where the policy acts next, by the worse of two critics, and its log-density there, (B,)."""
        actions, log_density = self._sample(rows, generator)
        values = self._targets(torch.cat([rows, actions], -1), self._pair(generator)).squeeze(-1)
        return self._values.restore(values.amax(0)), log_density

    def _improve(self, rows: Tensor, generator: Generator) -> None:
        """One step of the policy towards cheaper actions, and of the temperature towards the target entropy."""
        actions, log_density = self._sample(rows, generator)
        self._critics.requires_grad_(False)
        values = self._critics(torch.cat([rows, actions], -1), self._pair(generator)).squeeze(-1).mean(0)
        _descend(self._actor_optimizer, (self._log_temperature.detach().exp() * log_density + values).mean())
        self._critics.requires_grad_(True)
        excess = -log_density.detach().mean() - self._target_entropy
        _descend(self._temperature_optimizer, self._log_temperature * excess)

    def _pair(self, generator: Generator) -> Tensor:
        return torch.randperm(self.critics, generator=generator)[:2].to(self.device)

    def _sample(self, rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions (B, nu) of the policy and the logarithm of their density (B,)."""
        mean, log_std = self._distribution(rows)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        raw = mean + log_std.exp() * noise
        # log |d tanh(x)/dx| = 2 (log 2 − x − softplus(−2x))
        log_slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        log_density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - log_slope
        return raw.tanh(), log_density.sum(-1)

    def _distribution(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation (B, nu) of the actions before they are squashed."""
        mean, raw = self._actor(rows)[0].chunk(2, -1)
        low, high = LOG_STD_RANGE
        return mean, low + (high - low) * torch.sigmoid(2 * raw)

    def _rows(self, states: Tensor) -> Tensor:
        return self._inputs.normalize(self._features.of_states(states))

    def _renormalize(self, features: Tensor, costs: Tensor) -> None:
        inputs = Normalizer.of(features, constant_std=1.0)
        ahead = 1 / (1 - self.discount)
        values = Normalizer((costs.mean() * ahead).view(1), (costs.std() * math.sqrt(ahead) + 1e-6).view(1))
        if self.trained:
            for network in (self._actor, self._critics, self._targets):
                network.renormalize_inputs(self._inputs, inputs)
            for network in (self._critics, self._targets):
                network.renormalize_outputs(self._values, values)
        self._inputs, self._values = inputs, values
        self._range = (float(costs.min()) * ahead, float(costs.max()) * ahead)

    def to(self, device: torch.device | str) -> "ActorCritic":
        """Move policy and critics, their optimisers included."""
        device = torch.device(device)
        for name in _NETWORKS:
            getattr(self, f"_{name}").to(device)
        self._log_temperature.data = self._log_temperature.data.to(device)
        for name in _OPTIMIZERS:
            optimizer = getattr(self, f"_{name}")
            optimizer.load_state_dict(optimizer.state_dict())
        self._inputs, self._values = self._inputs.to(device), self._values.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to plan and to go on fitting; tensors and primitives only."""
        parts = {name: getattr(self, f"_{name}").state_dict() for name in (*_NETWORKS, *_OPTIMIZERS)}
        return copy.deepcopy(
            {
                "format_version": FORMAT_VERSION,
                "parts": {name: dict(part) for name, part in parts.items()},
                "log_temperature": self._log_temperature.detach(),
                "inputs": {"mean": self._inputs.mean, "std": self._inputs.std},
                "values": {"mean": self._values.mean, "std": self._values.std},
                "range": list(self._range),
                "rows_seen": self._rows_seen,
                "steps": self._steps,
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
        for name, part in state["parts"].items():
            getattr(self, f"_{name}").load_state_dict(part)
        device = self.device
        self._log_temperature.data = state["log_temperature"].to(device)
        self._inputs = Normalizer(**state["inputs"]).to(device)
        self._values = Normalizer(**state["values"]).to(device)
        low, high = state["range"]
        self._range, self._rows_seen, self._steps = (low, high), state["rows_seen"], state["steps"]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()
