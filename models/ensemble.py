"""A probabilistic ensemble: networks that learn what actions do, and how sure they are of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from models.averaging import AveragedNetwork
from models.calibration import CalibrationReport, calibrate
from models.checks import check_transitions, require
from models.dynamics import Rollout
from models.features import Features
from models.fitting import Data, FitReport, Loss, Progress, descend
from models.inference import FrozenNetwork, Precision
from models.lean_rollout import roll_out_fast
from models.network import EnsembleNetwork
from models.normalizer import Normalizer
from models.novelty import Novelty
from models.propagation import Propagation
from models.rollout import Doubt, Futures, draw_doubt, roll_out_differentiably
from models.split import bootstrap_tables, holdout_rows
from models.state import StateSpec
from models.transitions import Transitions
from models.unrolling import Unrolling

__all__ = ["FitReport", "Prediction", "ProbabilisticEnsemble"]

FORMAT_VERSION = 2
SMALLEST_WEIGHT_DECAY, LARGEST_WEIGHT_DECAY = 2.5e-5, 7.5e-4

RollOut = Callable[[Features, FrozenNetwork, Tensor, Tensor, Doubt], Futures]


@dataclass(frozen=True)
class Prediction:
    """What each planning member predicts for one step of T states.

    Attributes:
        mean: (E, T, nx) next states, in state units.
        variance: (E, T, nx), zero for commands and for a deterministic head.
        reward: (E, T), or None.
        end_probability: (E, T), or None.
    """

    mean: Tensor
    variance: Tensor
    reward: Tensor | None
    end_probability: Tensor | None


class ProbabilisticEnsemble:
    """An ensemble of E networks that each predict a Gaussian change of state (PETS, arXiv:1805.12114).

    It starts untrained: ``fit`` it before rollouts mean anything. With ``members=1`` it is the single network
    that serves as a baseline; with ``head="deterministic"`` it predicts means only.
    """

    def __init__(
        self,
        spec: StateSpec,
        *,
        members: int = 5,
        hidden: tuple[int, ...] = (200, 200, 200),
        head: Literal["gaussian", "deterministic"] = "gaussian",
        learn_reward: bool = False,
        learn_termination: bool = False,
        propagation: Propagation = "ts1",
        particles: int = 5,
        precision: Precision = "fp32",
        elites: int | None = None,
        bootstrap: bool = False,
        learning_rate: float = 1e-3,
        weight_decay: float = 1.0,
        batch_size: int = 256,
        first_steps: int = 2000,
        refit_steps: int = 600,
        patience: int = 10,
        fresh_fraction: float = 0.25,
        multi_step: int = 1,
        holdout_fraction: float = 0.1,
        holdout_cap: int = 2000,
        seed: int = 0,
    ) -> None:
        """Build the untrained ensemble.

        Args:
            spec: the layout of the state.
            members: networks, E.
            hidden: widths of the hidden layers.
            head: predict a Gaussian, or its mean only.
            learn_reward: predict the reward too; predictions stay within the range seen in the data.
            learn_termination: predict the end of the episode too.
            propagation: TS1 draws the member that moves a particle at each step, TS∞ keeps it,
                ``expectation`` moves one particle per member by its mean, ``moment-matching`` redraws the
                particles from a Gaussian at each step.
            particles: P, a multiple of the planning members; ``expectation`` ignores it.
            precision: of the products in rollouts.
            elites: how many members plan, the best on the rows held out; None for all.
            bootstrap: let each member learn from its own resample of the data, drawn with replacement; if
                false, members differ by their initial weights and their batches only, which wastes no data and
                is usually enough.
            learning_rate: of Adam.
            weight_decay: a factor on decays from 2.5e-5 in the first layer to 7.5e-4 in the last.
            batch_size: rows per member and gradient step.
            first_steps: gradient steps of the first fit, at most.
            refit_steps: gradient steps of every later fit, at most; these go on from the last weights.
            patience: evaluations on the holdout without a clear gain until a fit stops.
            fresh_fraction: part of each batch of a refit that is drawn from rows new since the last fit.
            multi_step: mean predictions are fed back this many steps and judged after each; 1 judges one step
                only, each further step costs as much again.
            holdout_fraction: part of the rows held out.
            holdout_cap: rows held out, at most.
            seed: of the initial weights, the holdout and the bootstrap.

        Raises:
            ValueError: if a number is out of its range or the particles cannot be shared out evenly.
        """
        planning = members if elites is None else elites
        require(members >= 1, f"members is {members}; it must be at least 1")
        require(1 <= planning <= members, f"elites is {elites}; it must be between 1 and members ({members})")
        require(all(width >= 1 for width in hidden), f"hidden is {hidden}; widths must be positive")
        require(batch_size >= 1, f"batch_size is {batch_size}; it must be at least 1")
        require(0 <= fresh_fraction < 1, f"fresh_fraction is {fresh_fraction}; it must be in [0, 1)")
        require(multi_step >= 1, f"multi_step is {multi_step}; it must be at least 1")
        require(0 <= holdout_fraction < 1, f"holdout_fraction is {holdout_fraction}; it must be in [0, 1)")
        require(
            particles >= 1 and particles % planning == 0,
            f"particles is {particles}; it must be a multiple of the {planning} members that plan, "
            f"for example {planning * max(1, particles // planning)}",
        )
        self.spec, self.features = spec, Features(spec)
        self.propagation, self.particles, self.precision = propagation, particles, precision
        self.elite_count, self._bootstrap = planning, bootstrap
        self._batch_size, self._first_steps, self._refit_steps = batch_size, first_steps, refit_steps
        self._patience, self._fresh_fraction, self._multi_step = patience, fresh_fraction, multi_step
        self._holdout_fraction, self._holdout_cap, self._seed = holdout_fraction, holdout_cap, seed
        self.learn_reward, self.learn_termination = learn_reward, learn_termination
        targets = self.features.target_size + learn_reward
        self._network = EnsembleNetwork(
            members=members,
            inputs=self.features.input_size,
            hidden=hidden,
            targets=targets,
            logits=int(learn_termination),
            gaussian=head == "gaussian",
            generator=Generator().manual_seed(seed),
        )
        self._average = AveragedNetwork(self._network)
        self._shape = {
            "members": members,
            "hidden": list(hidden),
            "head": head,
            "inputs": self.features.input_size,
            "targets": targets,
            "logits": int(learn_termination),
        }
        self._optimizer = self._make_optimizer(learning_rate, weight_decay)
        self._inputs = Normalizer.identity(self.features.input_size)
        self._targets = Normalizer.identity(targets)
        self._elites = torch.arange(planning)
        self._rows_seen = 0
        self._reward_range = torch.tensor([-torch.inf, torch.inf])
        self._novelty = Novelty(self.features)
        self._freeze()

    def _make_optimizer(self, learning_rate: float, weight_decay: float) -> torch.optim.Adam:
        network = self._network
        decays = torch.linspace(SMALLEST_WEIGHT_DECAY, LARGEST_WEIGHT_DECAY, len(network.weights)).tolist()
        groups: list[dict[str, Any]] = [
            {"params": [weight], "weight_decay": weight_decay * decay}
            for weight, decay in zip(network.weights, decays, strict=True)
        ]
        groups.append({"params": list(network.biases), "weight_decay": 0.0})
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)

    @property
    def state_size(self) -> int:
        """The number of state variables, nx."""
        return self.spec.size

    @property
    def action_size(self) -> int:
        """The number of action variables, nu."""
        return self.spec.action_size

    @property
    def members(self) -> int:
        """The number of networks, E."""
        return len(self._network.weights[0])

    @property
    def elites(self) -> tuple[int, ...]:
        """The members that plan, best first."""
        return tuple(self._elites.tolist())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._inputs.mean.device

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Widths of the networks that plan, from the inputs to the outputs."""
        return self._frozen.layer_sizes

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        per_row = sum(2 * weight.shape[1] * weight.shape[2] for weight in self._network.weights)
        return float(per_row * candidates * self.particles)

    def fit(self, transitions: Transitions, *, generator: Generator, progress: Progress | None = None) -> FitReport:
        """Learn from all transitions so far; weights and optimiser go on from the last fit.

        Args:
            transitions: the whole data set; rows of earlier fits first and unchanged.
            generator: draws the batches (a CPU generator).
            progress: called after each evaluation on the holdout.

        Raises:
            ValueError: if there are too few rows, a column is missing, a shape is wrong or a value is not
            finite.
        """
        started = time.perf_counter()
        check_transitions(transitions, self.spec, needs_rewards=self.learn_reward)
        count, seen = len(transitions), self._rows_seen
        require(
            count >= seen, f"fit: there are {count} transitions but the last fit had {seen}; give the whole data set"
        )
        transitions = _on(transitions, self.device)
        inputs, targets = self._tables(transitions)
        held_out = holdout_rows(len(transitions), self._holdout_fraction, self._holdout_cap, self._seed)
        learned_from = torch.ones(len(transitions), dtype=torch.bool)
        learned_from[held_out] = False
        if not learned_from.any():
            learned_from[:] = True
        rows = learned_from.nonzero().squeeze(-1)
        self._renormalize(inputs[rows], targets[rows])
        tables = bootstrap_tables(rows, self.members, self._seed) if self._bootstrap else [rows] * self.members
        terminated = transitions.terminated
        if self.learn_termination and terminated is None:
            terminated = torch.zeros(len(transitions), dtype=torch.bool, device=self.device)
        first = self._rows_seen == 0
        data = Data(
            inputs=self._inputs.normalize(inputs),
            targets=self._targets.normalize(targets),
            terminated=terminated.float() if terminated is not None and self.learn_termination else None,
            tables=tables,
            fresh=[table[table >= self._rows_seen] if not first else table[:0] for table in tables],
            holdout=(held_out if len(held_out) else rows[: self._holdout_cap]).to(self.device),
            unrolling=self._unrolling(transitions, held_out),
        )
        steps, losses = descend(
            self._network,
            self._average,
            self._optimizer,
            data,
            generator=generator,
            batch=self._batch_size,
            fresh_fraction=self._fresh_fraction,
            max_steps=self._first_steps if first else self._refit_steps,
            patience=self._patience,
            progress=progress,
        )
        self._elites = losses.argsort()[: self.elite_count].cpu()
        self._rows_seen = len(transitions)
        if transitions.rewards is not None:
            self._reward_range = torch.stack([transitions.rewards.min(), transitions.rewards.max()])
        self._novelty.fit(transitions.states, rows, data.holdout, self._inputs)
        self._freeze()
        return self._report(transitions, data, rows, losses, steps, time.perf_counter() - started)

    def _unrolling(self, transitions: Transitions, held_out: Tensor) -> Unrolling | None:
        if self._multi_step == 1:
            return None
        return Unrolling(self.features, self._inputs, self._targets, transitions, held_out, self._multi_step)

    def _tables(self, transitions: Transitions) -> tuple[Tensor, Tensor]:
        inputs = self.features.inputs(transitions.states, transitions.actions)
        targets = self.features.targets(transitions.states, transitions.next_states)
        if self.learn_reward and transitions.rewards is not None:
            targets = torch.cat([targets, transitions.rewards.unsqueeze(-1)], -1)
        return inputs, targets

    def _renormalize(self, inputs: Tensor, targets: Tensor) -> None:
        new_inputs = Normalizer.of(inputs, constant_std=1.0)
        new_targets = Normalizer.of(targets, constant_std=1e-6)
        if self._rows_seen:
            for network in (self._network, self._average.network):
                network.renormalize_inputs(self._inputs, new_inputs)
                network.renormalize_targets(self._targets, new_targets)
        self._inputs, self._targets = new_inputs, new_targets

    def _freeze(self) -> None:
        self._frozen = self._frozen_in(self.precision)
        self._frozen_exact = self._frozen if self.precision == "fp32" else self._frozen_in("fp32")

    def _frozen_in(self, precision: Precision) -> FrozenNetwork:
        return FrozenNetwork(
            self._average.network,
            self._elites.to(self.device),
            self._inputs,
            self._targets,
            predicts_reward=self.learn_reward,
            precision=precision,
        )

    @torch.no_grad()
    def _report(
        self, transitions: Transitions, data: Data, rows: Tensor, losses: Tensor, steps: int, seconds: float
    ) -> FitReport:
        loss_of = Loss(self._average.network, data)
        sample = rows[torch.linspace(0, len(rows) - 1, min(len(rows), len(data.holdout))).long()].to(self.device)
        held = transitions[data.holdout]
        predicted = self.predict(held.states, held.actions).mean.mean(0)
        error = self.features.targets(held.next_states, predicted).square().mean(0)
        scale = self._targets.std[: self.features.target_size]
        in_units = torch.zeros(self.state_size, device=self.device)
        in_units[self.features.learned] = error.sqrt()
        return FitReport(
            train_loss=float(loss_of(sample).mean()),
            holdout_loss=float(losses.mean()),
            member_losses=tuple(losses.tolist()),
            one_step_rmse=float((error / scale.square()).mean().sqrt()),
            one_step_rmse_states=tuple(in_units.tolist()),
            elites=self.elites,
            rows=len(transitions),
            steps=steps,
            seconds=seconds,
        )

    @torch.no_grad()
    def predict(self, states: Tensor, actions: Tensor) -> Prediction:
        """One step of each planning member, in float32, without noise.

        Args:
            states: (T, nx).
            actions: (T, nu).
        """
        frozen = self._frozen_exact
        controls = self.features.controls(states, actions)
        inputs = torch.cat([self.features.of_states(states), controls], -1).expand(frozen.members, -1, -1)
        outputs = frozen.interpret(frozen.evaluate_differentiably(inputs))
        mean = self.features.advance(states.expand(frozen.members, -1, -1), controls, outputs.change)
        variance = torch.zeros_like(mean)
        if outputs.std is not None:
            scale = self._targets.std[: self.features.target_size]
            variance[..., self.features.learned] = (outputs.std * scale).square()
        return Prediction(
            mean=mean,
            variance=variance,
            reward=None if outputs.reward is None else self._clamped(outputs.reward),
            end_probability=None if outputs.end_logit is None else outputs.end_logit.sigmoid(),
        )

    def _clamped(self, reward: Tensor) -> Tensor:
        return torch.clamp(reward, self._reward_range[0], self._reward_range[1])

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``.

        Gradients flow to the actions and the state where they are required, then in float32. Without a
        generator, moment matching leaves each particle to its member and TS1 goes round the members. Without
        noise (no generator, a deterministic head, ``expectation``) members that keep their particles have one
        each.

        Args:
            state: (nx,), (N, nx) or (P, N, nx); P a multiple of the planning members.
            actions: (N, H, nu), scaled to [-1, 1].
            generator: source of the noise and of TS1's draws; None propagates without either.

        Raises:
            ValueError: if a shape does not fit.
        """
        require(
            actions.dim() == 3 and actions.shape[2] == self.action_size,
            f"rollout: actions have shape {tuple(actions.shape)}; they must be (N, H, {self.action_size})",
        )
        require(
            state.shape[-1] == self.state_size and state.dim() <= 3,
            f"rollout: the state has shape {tuple(state.shape)}; its last dimension must be {self.state_size}",
        )
        state, actions = state.float(), actions.float()
        if torch.is_grad_enabled() and (actions.requires_grad or state.requires_grad):
            return self._roll(state, actions, generator, self._frozen_exact, roll_out_differentiably)
        with torch.no_grad():
            return self._roll(state, actions, generator, self._frozen, roll_out_fast)

    def _particles_for(self, state: Tensor, noisy: bool) -> int:
        planning = self.elite_count
        if state.dim() == 3:
            require(
                len(state) % planning == 0,
                f"rollout: the state has {len(state)} particles; it must be a multiple of the {planning} "
                "members that plan",
            )
            return len(state)
        if self.propagation == "expectation":
            return planning
        stochastic = noisy and (self._frozen.gaussian or self.propagation == "moment-matching")
        switching = self.propagation == "ts1" and planning > 1
        return self.particles if stochastic or switching else planning

    def _roll(
        self,
        state: Tensor,
        actions: Tensor,
        generator: Generator | None,
        frozen: FrozenNetwork,
        roll: RollOut,
    ) -> Rollout:
        candidates, horizon, _ = actions.shape
        particles = self._particles_for(state, noisy=generator is not None)
        doubt = draw_doubt(
            self.propagation,
            horizon=horizon,
            particles=particles,
            frozen=frozen,
            scale=self._targets.std[: self.features.target_size],
            generator=generator,
        )
        start = state.expand(particles, candidates, self.state_size)
        futures = roll(self.features, frozen, start, actions, doubt)
        alive = None
        if futures.end_logits is not None:
            goes_on = (futures.end_logits > 0).cumsum(-1) == 0
            alive = torch.cat([torch.ones_like(goes_on[..., :1]), goes_on], -1)
        members = None
        if self.propagation in ("tsinf", "expectation") and frozen.members > 1:
            members = self._elites.to(state.device).repeat_interleave(particles // frozen.members)
        rewards = None if futures.rewards is None else self._clamped(futures.rewards)
        return Rollout(futures.states, rewards, alive, members)

    @torch.no_grad()
    def calibrate(self, executed: Transitions) -> CalibrationReport:
        """Compare predictions with transitions that the model was not fitted to."""
        return calibrate(self, executed)

    def novelty(self, states: Tensor) -> Tensor:
        """How far states (T, nx) are from the data, see ``Novelty``: about 1 for rows held out, inf before a fit."""
        return self._novelty.of(states, self._inputs)

    def to(self, device: torch.device | str) -> "ProbabilisticEnsemble":
        """Move the model, its optimiser included."""
        device = torch.device(device)
        self._network.to(device)
        self._average.network.to(device)
        self._optimizer.load_state_dict(self._optimizer.state_dict())
        self._inputs, self._targets = self._inputs.to(device), self._targets.to(device)
        self._reward_range = self._reward_range.to(device)
        self._novelty.to(device)
        self._freeze()
        return self

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to plan and to go on fitting; tensors and primitives only."""
        return {
            "format_version": FORMAT_VERSION,
            "shape": dict(self._shape),
            "network": _cloned(dict(self._network.state_dict())),
            "average": _cloned(dict(self._average.network.state_dict())),
            "averaged_steps": self._average.steps,
            "optimizer": _cloned(self._optimizer.state_dict()),
            "inputs": {"mean": self._inputs.mean.clone(), "std": self._inputs.std.clone()},
            "targets": {"mean": self._targets.mean.clone(), "std": self._targets.std.clone()},
            "elites": list(self.elites),
            "rows_seen": self._rows_seen,
            "split_seed": self._seed,
            "reward_range": self._reward_range.clone(),
            "novelty": {"reference": self._novelty.reference.clone(), "typical": self._novelty.typical.clone()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            ValueError: if it is of another version or of a model of another shape.
        """
        version = state.get("format_version")
        require(
            version == FORMAT_VERSION,
            f"checkpoint: format version {version!r} where {FORMAT_VERSION} is expected; fit the model again",
        )
        for key, value in self._shape.items():
            found = state["shape"].get(key)
            require(
                found == value,
                f"checkpoint: {key} is {found!r} where this model has {value!r}; build the model with the "
                "settings that the checkpoint was made with",
            )
        elites = torch.tensor(state["elites"])
        require(
            len(elites) == self.elite_count,
            f"checkpoint: {len(elites)} elites where this model has {self.elite_count}",
        )
        self._network.load_state_dict(state["network"])
        self._average.network.load_state_dict(state["average"])
        self._average.steps = state["averaged_steps"]
        self._optimizer.load_state_dict(_cloned(state["optimizer"]))
        self._inputs = Normalizer(state["inputs"]["mean"].clone(), state["inputs"]["std"].clone()).to(self.device)
        self._targets = Normalizer(state["targets"]["mean"].clone(), state["targets"]["std"].clone()).to(self.device)
        self._elites, self._rows_seen, self._seed = elites, state["rows_seen"], state["split_seed"]
        self._reward_range = state["reward_range"].to(self.device).clone()
        self._novelty.reference = state["novelty"]["reference"].to(self.device).clone()
        self._novelty.typical = state["novelty"]["typical"].to(self.device).clone()
        self._freeze()


def _on(transitions: Transitions, device: torch.device) -> Transitions:
    def move(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.to(device)

    return Transitions(
        transitions.states.to(device),
        transitions.actions.to(device),
        transitions.next_states.to(device),
        move(transitions.rewards),
        move(transitions.terminated),
        transitions.episodes.to(device),
    )


def _cloned(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _cloned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cloned(item) for item in value]
    return value
