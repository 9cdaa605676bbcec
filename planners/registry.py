"""The planners by the names that configurations use."""

import ast
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Generator

    from planners.planner import Horizon
    from planners.sampling import SamplingPlanner

PLANNERS = {
    "random-shooting": ("random_shooting", "RandomShooting"),
    "cem": ("cem", "CEM"),
    "icem": ("icem", "ICEM"),
    "mppi": ("mppi", "MPPI"),
    "pddm": ("pddm", "PDDM"),
    "gradient": ("gradient", "GradientRefinement"),
}
"""Name → module and class; modules are imported when a planner is made."""


def planner_class(name: str) -> "type[SamplingPlanner]":
    """The class of a planner.

    Raises:
        ValueError: if there is no planner of that name.
    """
    if name not in PLANNERS:
        raise ValueError(f"planner: {name!r} is unknown; there are {', '.join(PLANNERS)}.")
    module, class_name = PLANNERS[name]
    return cast("type[SamplingPlanner]", getattr(importlib.import_module(f"planners.{module}"), class_name))


def create(
    name: str,
    horizon: "Horizon",
    *,
    generator: "Generator",
    now: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> "SamplingPlanner":
    """Make a planner from its name and settings.

    Raises:
        ValueError: if there is no planner of that name, or a setting is outside its limits.
        TypeError: if the planner has no setting of a name.
    """
    return planner_class(name)(horizon, generator=generator, now=now, **settings)


def descriptions() -> dict[str, str]:
    """One line for each planner: the first of its module's docstring, read without importing the module."""
    folder = Path(__file__).parent
    lines = {}
    for name, (module, _) in PLANNERS.items():
        docstring = ast.get_docstring(ast.parse((folder / f"{module}.py").read_text(encoding="utf-8")))
        lines[name] = (docstring or "").partition("\n")[0]
    return lines
