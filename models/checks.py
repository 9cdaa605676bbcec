"""What is refused, and how it is said."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.state import StateSpec
from models.transitions import Transitions


def require(condition: bool, message: str) -> None:
    """Raise ValueError with ``message`` and a full stop unless the condition holds."""
    if not condition:
        raise ValueError(message + ".")


def check_kind(state: Mapping[str, Any], kind: str, version: int) -> None:
    """Refuse a checkpoint of another kind of model, or of another format.

    Raises:
        ValueError: if it is.
    """
    require(
        state.get("kind") == kind and state.get("format") == version,
        f"the checkpoint holds a model of kind {state.get('kind')!r}, format {state.get('format')!r}; "
        f"this is {kind}, format {version}",
    )


def check_transitions(transitions: Transitions, spec: StateSpec, *, needs_rewards: bool) -> None:
    """Refuse data that a model cannot be fitted to.

    Raises:
        ValueError: if there are too few rows, a column is missing, a shape is wrong or a value is not finite.
    """
    count = len(transitions)
    require(count >= 2, f"fit: there are {count} transitions; collect at least 2")
    for name, values, width in (
        ("states", transitions.states, spec.size),
        ("actions", transitions.actions, spec.action_size),
        ("next_states", transitions.next_states, spec.size),
    ):
        expected = (count, width)
        require(values.shape == expected, f"fit: {name} has shape {tuple(values.shape)}; it must be {expected}")
        _check_finite(name, values, spec)
    if needs_rewards:
        require(
            transitions.rewards is not None,
            "fit: the transitions have no rewards, which learn_reward needs; record them or give the task a cost",
        )
    if transitions.rewards is not None:
        _check_finite("rewards", transitions.rewards.unsqueeze(-1), spec)


def _check_finite(name: str, values: Tensor, spec: StateSpec) -> None:
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        label = spec.names[column] if name in ("states", "next_states") else str(column)
        raise ValueError(
            f"fit: {name} holds {values[row, column].item()} at row {row}, column {label} "
            f"({len(bad)} such values in all); drop these transitions or repair their source."
        )
