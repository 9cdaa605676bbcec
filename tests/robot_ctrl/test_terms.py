import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError

from robot_ctrl.terms import Contact, Control, Posture, SiteDistance, Term, Velocity

NO_GOAL = torch.zeros(0)


class FixedLayout:
    """Columns: a slide, an angle, their rates, a site, another site, a touch sensor, a force sensor."""

    def joint(self, name: str) -> int:
        return {"slide": 0, "spin": 1}[name]

    def is_angle(self, column: int) -> bool:
        return column == 1

    def rates(self, names: tuple[str, ...]) -> list[int]:
        return [{"slide": 2, "spin": 3}[name] for name in names or ("slide", "spin")]

    def site(self, name: str) -> list[int]:
        return {"tip": [4, 5, 6], "cup": [7, 8, 9]}[name]

    def sensor(self, name: str) -> list[int]:
        return {"touch": [10], "force": [11, 12, 13]}[name]


STATE = [0.5, 6.0, 2.0, -3.0, 0.1, 0.2, 0.3, 0.1, 0.5, 0.7, 4.0, 1.0, 2.0, 2.0]


def charged(term: Term, goal: torch.Tensor = NO_GOAL, action: tuple[float, float] = (0.5, -1.0)) -> float:
    """What a term charges for one step that arrives at STATE; the state before it must not count."""
    start = torch.full((len(STATE),), 100.0)
    states = torch.stack([start, torch.tensor(STATE)]).reshape(1, 1, 2, -1).double()
    actions = torch.tensor(action).reshape(1, 1, 2).double()
    cost = term.step_cost(FixedLayout(), goal.double())(states, actions)
    assert cost.shape == (1, 1, 1)
    return float(cost)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("l1", 5.0), ("l2", math.sqrt(13)), ("squared", 13.0), ("smooth", math.sqrt(13 + 0.25) - 0.5)],
)
def test_norms_of_a_velocity_of_2_and_minus_3(norm: str, expected: float) -> None:
    term = Velocity.model_validate({"kind": "velocity", "norm": norm, "width": 0.5})
    assert charged(term) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (SiteDistance(kind="site-distance", site="tip", to=(0.1, 0.2, 0.7), norm="l2"), 0.4),
        (SiteDistance(kind="site-distance", site="tip", to="cup", norm="l2"), 0.5),
        (Posture(kind="posture", pose={"slide": 0.2}, norm="l2"), 0.3),
        (Posture(kind="posture", pose={"spin": 0.0}, norm="l2"), 2 * math.pi - 6.0),
        (Velocity(kind="velocity", joints=("spin",), norm="l2"), 3.0),
        (Control(kind="control"), 1.25),
        (Contact(kind="contact", sensor="touch", wanted=1.0, norm="l1"), 3.0),
        (Contact(kind="contact", sensor="force", wanted=5.0, norm="l1"), 2.0),
    ],
)
def test_every_kind_measures_what_it_says(term: Term, expected: float) -> None:
    assert charged(term) == pytest.approx(expected, abs=1e-6)


def test_the_goal_is_where_a_site_goes_unless_told_otherwise() -> None:
    term = SiteDistance(kind="site-distance", site="tip", norm="l2")
    assert charged(term, goal=torch.tensor([0.1, 0.2, 0.0])) == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"no goal; give task\.goal"):
        charged(term)


def test_costs_keep_the_shape_of_many_particles_and_candidates() -> None:
    states, actions = torch.zeros(3, 5, 8, len(STATE)), torch.ones(5, 7, 2)
    for term in (Control(kind="control"), Velocity(kind="velocity", norm="l2")):
        assert term.step_cost(FixedLayout(), NO_GOAL)(states, actions).shape == (3, 5, 7)


@pytest.mark.parametrize("norm", ["l1", "l2", "squared", "smooth"])
def test_slopes_at_the_goal_are_finite(norm: str) -> None:
    term = Velocity.model_validate({"kind": "velocity", "norm": norm})
    states = torch.zeros(1, 1, 2, len(STATE), requires_grad=True)
    term.step_cost(FixedLayout(), NO_GOAL)(states, torch.zeros(1, 1, 2)).sum().backward()
    assert states.grad is not None
    assert states.grad.isfinite().all()


class Holder(BaseModel):
    cost: Mapping[str, Term]


def test_terms_are_read_by_kind_and_written_whole() -> None:
    tree: dict[str, Any] = {"reach": {"kind": "site-distance", "site": "tip", "weight": 5}}
    holder = Holder.model_validate({"cost": tree})
    assert isinstance(holder.cost["reach"], SiteDistance)
    again = Holder.model_validate({"cost": {"reach": holder.cost["reach"]}})
    assert again.cost["reach"] is holder.cost["reach"]
    assert holder.cost["reach"].model_dump()["site"] == "tip"


@pytest.mark.parametrize(
    ("term", "where", "what"),
    [
        ({"kind": "site-distanc", "site": "tip"}, ("cost", "reach", "kind"), "'site-distance'"),
        ({"site": "tip"}, ("cost", "reach", "kind"), "required"),
        ({"kind": "velocity", "norm": "l3"}, ("cost", "reach", "norm"), "'smooth'"),
        ({"kind": "velocity", "weight": -1}, ("cost", "reach", "weight"), "greater than or equal to 0"),
        ({"kind": "velocity", "weight": math.nan}, ("cost", "reach", "weight"), "finite"),
        ({"kind": "velocity", "site": "tip"}, ("cost", "reach", "site"), "not permitted"),
        ({"kind": "posture", "pose": {}}, ("cost", "reach", "pose"), "at least 1"),
        ({"kind": "site-distance", "site": "tip", "to": [1, 2]}, ("cost", "reach", "to"), "three finite"),
        ("fast", ("cost", "reach"), "valid dictionary"),
    ],
)
def test_findings_name_the_key(term: object, where: tuple[str, ...], what: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"cost": {"reach": term}})
    (finding,) = caught.value.errors()
    assert finding["loc"] == where
    assert what in finding["msg"]
