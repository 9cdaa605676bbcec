"""Residual cost terms of a YAML task: residual × norm × weight."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from torch import Tensor

from planners.cost import StepCost

Norm = Literal["l1", "l2", "squared", "smooth"]

Residual = Callable[[Tensor, Tensor], Tensor]
"""States (..., nx) that were reached and actions (..., nu) that led there → (..., n)."""


class Layout(Protocol):
    """Where a state holds what; every method raises ValueError for a name that the state does not hold."""

    def joint(self, name: str) -> int:
        """The column of a hinge's or a slide's position."""
        ...

    def is_angle(self, column: int) -> bool:
        """Whether a column wraps at 2π."""
        ...

    def rates(self, names: tuple[str, ...]) -> list[int]:
        """The columns of joints' velocities; of all joints if none is named."""
        ...

    def site(self, name: str) -> list[int]:
        """The three columns of a site's position."""
        ...

    def sensor(self, name: str) -> list[int]:
        """The columns of a sensor's reading."""
        ...


class Term(BaseModel, ABC):
    """A term of the cost; ``kind`` says which subclass reads it.

    The norm makes one number of the residual r: ``l1`` Σ|r|, ``l2`` ‖r‖, ``squared`` ‖r‖², and ``smooth``
    √(‖r‖² + width²) − width, a parabola near zero and a cone far away.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    kind: str
    weight: float = Field(default=1.0, ge=0)
    norm: Norm = "squared"
    width: float = Field(default=0.05, gt=0)

    @model_validator(mode="wrap")
    @classmethod
    def _by_kind(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> "Term":
        if cls is not Term:
            return handler(given)
        if isinstance(given, Term):
            return given
        return _KINDS[_Kind.model_validate(given).kind].model_validate(given)

    @abstractmethod
    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """What should become zero.

        Args:
            layout: where the state holds what.
            goal: (3,) this episode's goal; empty where the task has none.

        Raises:
            ValueError: if the state does not hold a name, or a goal is needed and there is none.
        """

    def sites(self) -> tuple[str, ...]:
        """The sites that the term needs in the state."""
        return ()

    def sensors(self) -> tuple[str, ...]:
        """The sensors that the term needs in the state."""
        return ()

    def step_cost(self, layout: Layout, goal: Tensor) -> StepCost:
        """The norm of the residual at every step, not weighted."""
        residual = self.residual(layout, goal)

        def cost(states: Tensor, actions: Tensor) -> Tensor:
            reached = states[..., 1:, :]
            return self._norm(residual(reached, actions.expand(*reached.shape[:-1], -1)))

        return cost

    def _norm(self, residual: Tensor) -> Tensor:
        if self.norm == "l1":
            return residual.abs().sum(dim=-1)
        if self.norm == "l2":
            return _length(residual).squeeze(-1)
        squared = residual.square().sum(dim=-1)
        if self.norm == "smooth":
            return (squared + self.width**2).sqrt() - self.width
        return squared


class SiteDistance(Term):
    """From a site to the goal, to a fixed point or to another site, m."""

    kind: Literal["site-distance"]
    site: str
    to: str | tuple[float, float, float] = "goal"

    @field_validator("to", mode="wrap")
    @classmethod
    def _one_finding(cls, given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(given)
        except ValidationError:
            raise ValueError("give goal, a site's name, or a point as three finite numbers") from None

    def sites(self) -> tuple[str, ...]:
        """The site, and the other one if there is one."""
        return (self.site, self.to) if isinstance(self.to, str) and self.to != "goal" else (self.site,)

    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """(..., 3)."""
        site = layout.site(self.site)
        if isinstance(self.to, tuple):
            point = goal.new_tensor(self.to)
            return lambda states, actions: states[..., site] - point
        if self.to != "goal":
            other = layout.site(self.to)
            return lambda states, actions: states[..., site] - states[..., other]
        if not len(goal):
            raise ValueError("to: goal, but the task has no goal; give task.goal a point or a box, or go to a site.")
        return lambda states, actions: states[..., site] - goal


class Posture(Term):
    """From joint positions to a pose, rad or m; joints that are not named are free."""

    kind: Literal["posture"]
    pose: dict[str, float] = Field(min_length=1)

    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """(..., joints in the pose); angles the short way round."""
        columns = [layout.joint(name) for name in self.pose]
        pose = goal.new_tensor(list(self.pose.values()))
        wraps = torch.tensor([layout.is_angle(column) for column in columns], device=goal.device)

        def residual(states: Tensor, actions: Tensor) -> Tensor:
            apart = states[..., columns] - pose
            return torch.where(wraps, torch.atan2(apart.sin(), apart.cos()), apart)

        return residual


class Velocity(Term):
    """Joint velocities, rad/s or m/s; of all joints if none is named."""

    kind: Literal["velocity"]
    joints: tuple[str, ...] = ()

    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """(..., velocities)."""
        rates = layout.rates(self.joints)
        return lambda states, actions: states[..., rates]


class Control(Term):
    """Actions, scaled to [-1, 1]."""

    kind: Literal["control"]

    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """(..., nu)."""
        return lambda states, actions: actions


class Contact(Term):
    """A touch or force sensor's reading against a wanted one, N; of a force sensor, the force's size."""

    kind: Literal["contact"]
    sensor: str
    wanted: float = 0.0

    def sensors(self) -> tuple[str, ...]:
        """The sensor."""
        return (self.sensor,)

    def residual(self, layout: Layout, goal: Tensor) -> Residual:
        """(..., 1)."""
        columns = layout.sensor(self.sensor)
        if len(columns) == 1:
            return lambda states, actions: states[..., columns] - self.wanted
        return lambda states, actions: _length(states[..., columns]) - self.wanted


def _length(vectors: Tensor) -> Tensor:
    """(..., n) to (..., 1); its slope at zero is zero, not NaN."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return length


class _Kind(BaseModel):
    kind: Literal["site-distance", "posture", "velocity", "control", "contact"]


_KINDS: Mapping[str, type[Term]] = {
    "site-distance": SiteDistance,
    "posture": Posture,
    "velocity": Velocity,
    "control": Control,
    "contact": Contact,
}
