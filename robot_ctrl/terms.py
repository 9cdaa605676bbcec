"""Residual cost terms, residual × norm × weight, as a YAML task names them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from planners.cost import StepCost

Norm = Literal["l1", "l2", "squared", "smooth"]
Columns = Callable[[str], Sequence[int]]
"""State variable (a site, a joint, a sensor) → its columns; raises for a name that the state does not hold."""


class _Term(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weight: float = Field(1.0, ge=0)
    norm: Norm = "squared"
    width: float = Field(0.05, gt=0, description="where the smooth norm turns from a parabola into a cone")


class SiteDistance(_Term):
    """From a site to the goal, a fixed point or another site, m."""

    kind: Literal["site-distance"]
    site: str
    to: Literal["goal"] | tuple[float, float, float] | str = "goal"


class Posture(_Term):
    """From joint positions to a pose; joints that are not named are free."""

    kind: Literal["posture"]
    pose: dict[str, float]


class Velocity(_Term):
    """Joint velocities."""

    kind: Literal["velocity"]


class Control(_Term):
    """Actions."""

    kind: Literal["control"]


class Contact(_Term):
    """A touch or force sensor's reading against a wanted one."""

    kind: Literal["contact"]
    sensor: str
    wanted: float = 0.0


Term = Annotated[SiteDistance | Posture | Velocity | Control | Contact, Field(discriminator="kind")]


def step_cost(term: Term, columns: Columns, velocities: Sequence[int], goal: Tensor) -> StepCost:
    """The unweighted step cost of a term.

    Args:
        term: the term.
        columns: where the state holds a name.
        velocities: the state's joint velocities.
        goal: (3,) this episode's goal; empty where the task has none.
    """
    residual = _residual(term, columns, velocities, goal)
    return lambda states, actions: _norm(residual(states[..., 1:, :], actions), term.norm, term.width)


def _residual(
    term: Term, columns: Columns, velocities: Sequence[int], goal: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    if isinstance(term, SiteDistance):
        site = list(columns(term.site))
        if term.to == "goal":
            if not len(goal):
                raise ValueError(
                    f"a site-distance of {term.site!r} goes to the goal, and task.goal is not given."
                )
            return lambda states, actions: states[..., site] - goal
        if isinstance(term.to, str):
            other = list(columns(term.to))
            return lambda states, actions: states[..., site] - states[..., other]
        point = torch.tensor(term.to, device=goal.device)
        return lambda states, actions: states[..., site] - point
    if isinstance(term, Posture):
        joints = [column for joint in term.pose for column in columns(joint)]
        pose = torch.tensor(list(term.pose.values()), device=goal.device)
        return lambda states, actions: states[..., joints] - pose
    if isinstance(term, Velocity):
        rates = list(velocities)
        return lambda states, actions: states[..., rates]
    if isinstance(term, Control):
        return lambda states, actions: actions.expand(states.shape[0], -1, -1, -1)
    sensor = list(columns(term.sensor))
    return lambda states, actions: states[..., sensor] - term.wanted


def _norm(residual: Tensor, norm: Norm, width: float) -> Tensor:
    if norm == "l1":
        return residual.abs().sum(dim=-1)
    squared = residual.square().sum(dim=-1)
    if norm == "l2":
        return squared.sqrt()
    if norm == "smooth":
        return (squared + width**2).sqrt() - width
    return squared


def weights(terms: Mapping[str, Term]) -> dict[str, float]:
    """The weight of every term, by name."""
    return {name: term.weight for name, term in terms.items()}
