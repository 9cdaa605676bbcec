"""Rollouts through frozen networks: one step after another, all particles and candidates at once."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.features import Features
from models.inference import FrozenNetwork
from models.propagation import Propagation, assignments, match_moments


@dataclass(frozen=True)
class Doubt:
    """All random numbers of a rollout, none of which depends on the candidates.

    Attributes:
        order: (H, P), under TS1 the particle that takes each member's places; else None.
        noise: (H, P, 1, n), what the predicted normalised standard deviations are multiplied with: standard
            normal numbers times the targets' scale; None without noise.
        redraws: (H, P, 1, n) standard normal numbers for moment matching; None without noise.
    """

    order: Tensor | None
    noise: Tensor | None
    redraws: Tensor | None


def draw_doubt(
    propagation: Propagation,
    *,
    horizon: int,
    particles: int,
    frozen: FrozenNetwork,
    scale: Tensor,
    generator: Generator | None,
) -> Doubt:
    """Draw what a rollout of P particles needs.

    Args:
        propagation: how doubt travels.
        horizon: H.
        particles: P.
        frozen: the networks.
        scale: (n,) standard deviations of the targets.
        generator: source of the numbers; None for none.
    """
    order = None
    if propagation == "ts1" and frozen.members > 1:
        order = assignments(horizon, particles, frozen.members, generator).to(scale.device)
    if generator is None:
        return Doubt(order, None, None)
    shape = (horizon, particles, 1, len(scale))
    noise = redraws = None
    if frozen.gaussian and propagation != "expectation":
        noise = torch.randn(shape, generator=generator, device=scale.device) * scale
    if propagation == "moment-matching":
        redraws = torch.randn(shape, generator=generator, device=scale.device)
    return Doubt(order, noise, redraws)


@dataclass(frozen=True)
class Futures:
    """What networks imagine; rewards are not clamped.

    Attributes:
        states: (P, N, H + 1, nx), a view of memory in the order of time.
        rewards: (P, N, H), or None.
        end_logits: (P, N, H), or None.
    """

    states: Tensor
    rewards: Tensor | None
    end_logits: Tensor | None


def roll_out_differentiably(
    features: Features, frozen: FrozenNetwork, start: Tensor, actions: Tensor, doubt: Doubt
) -> Futures:
    """The plain form of ``roll_out``, which gradients flow through; the networks must be in float32."""
    particles, candidates, _ = start.shape
    members, learned = frozen.members, features.learned
    per_particle = (particles, candidates, -1)
    now, states = start, [start]
    rewards: list[Tensor] = []
    end_logits: list[Tensor] = []
    for step in range(actions.shape[1]):
        source = now if doubt.order is None else now[doubt.order[step]]
        controls = features.controls(source, actions[:, step]).expand(per_particle)
        inputs = torch.cat([features.of_states(source), controls], -1)
        raw = frozen.evaluate_differentiably(inputs.view(members, -1, frozen.input_size))
        outputs = frozen.interpret(raw)
        change = outputs.change.view(per_particle)
        if doubt.noise is not None and outputs.std is not None:
            change = change + outputs.std.view(per_particle) * doubt.noise[step]
        now = features.advance(source, controls, change)
        back = None if doubt.order is None else doubt.order[step].argsort()
        if back is not None:
            now = now[back]
        if doubt.redraws is not None:
            now = now.clone()
            now[..., learned] = match_moments(now[..., learned], doubt.redraws[step])
        states.append(now)
        for values, kept in ((outputs.reward, rewards), (outputs.end_logit, end_logits)):
            if values is not None:
                values = values.view(particles, candidates)
                kept.append(values if back is None else values[back])
    return Futures(
        torch.stack(states, 2),
        torch.stack(rewards, -1) if rewards else None,
        torch.stack(end_logits, -1) if end_logits else None,
    )


def roll_out(features: Features, frozen: FrozenNetwork, start: Tensor, actions: Tensor, doubt: Doubt) -> Futures:
    """Roll action sequences out into memory that is allocated once; no gradients.

    States stay in float32, with time as the outermost dimension, so that every step reads and writes one block.

    Args:
        features: what the networks see.
        frozen: the networks.
        start: (P, N, nx) float32, may be expanded; the particles of a member are adjacent.
        actions: (N, H, nu) float32.
        doubt: the random numbers.
    """
    particles, candidates, size = start.shape
    horizon = actions.shape[1]
    members, input_size = frozen.members, frozen.input_size
    grouped = (members, particles // members, candidates, -1)
    states = start.new_empty((horizon + 1, particles, candidates, size))
    states[0] = start
    controls = _write_controls(features, states, actions)
    inputs = frozen.empty_inputs(particles, candidates)
    state_inputs = inputs[..., : features.state_features]
    control_inputs = inputs[..., features.state_features :]
    control_columns = slice(features.state_features, None)
    network_controls = frozen.normalize_columns(controls, control_columns) if features.followers is None else None
    rewards = start.new_empty((horizon, particles, candidates)) if frozen.predicts_reward else None
    end_logits = start.new_empty((horizon, particles, candidates)) if frozen.predicts_end else None
    order, back = doubt.order, None if doubt.order is None else doubt.order.argsort(-1)
    gathered = torch.empty_like(states[0]) if order is not None else None
    all_learned = features.target_size == size
    moved = states.new_empty((particles, candidates, features.target_size))
    for step in range(horizon):
        now, following = states[step], states[step + 1]
        if order is not None and gathered is not None:
            now = torch.index_select(now, 0, order[step], out=gathered)
        frozen.write_columns(features.of_states(now), slice(0, features.state_features), state_inputs)
        if network_controls is None:
            frozen.write_columns(controls[step] - now[..., features.followers], control_columns, control_inputs)
        else:
            control_inputs.copy_(network_controls[step])
        target = following if all_learned and order is None else moved
        before = now if all_learned else now[..., features.learned]
        before, after = before.view(grouped), target.view(grouped)
        noise = None if doubt.noise is None else doubt.noise[step].view(*grouped[:2], 1, -1)
        for part, raw in frozen.evaluate(inputs.view(members, -1, input_size)):
            raw = raw.view(len(raw), *grouped[1:])
            frozen.move(before[part], raw, None if noise is None else noise[part], after[part])
            if rewards is not None:
                rewards[step].view(grouped[:3])[part] = frozen.reward(raw)
            if end_logits is not None:
                end_logits[step].view(grouped[:3])[part] = raw[..., -1]
        if back is not None:
            target = torch.index_select(moved, 0, back[step])
            for values in (rewards, end_logits):
                if values is not None:
                    values[step] = values[step][back[step]]
        if doubt.redraws is not None:
            target = match_moments(target, doubt.redraws[step])
        if target is not following:
            following[..., features.learned] = target
    return Futures(
        states.permute(1, 2, 0, 3),
        None if rewards is None else rewards.permute(1, 2, 0),
        None if end_logits is None else end_logits.permute(1, 2, 0),
    )


def _write_controls(features: Features, states: Tensor, actions: Tensor) -> Tensor:
    """The actions or the commands that they lead to, (H, P or 1, N, nu); commands are written into the states."""
    by_time = actions.transpose(0, 1).unsqueeze(1)
    command = features.spec.command
    if command is None:
        return by_time
    columns = list(command.columns)
    now = states[0][..., columns]
    commands = []
    for step_actions in by_time:
        now = command.advance(now, step_actions)
        commands.append(now)
    controls = torch.stack(commands)
    states[1:, ..., columns] = controls
    return controls
