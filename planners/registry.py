"""The planners by the names that configurations use."""

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from planners.ilqr import ILQR
    from planners.kl_lqr import KLConstrainedLQR
    from planners.sampling import SamplingPlanner

PLANNERS = {
    "random-shooting": ("random_shooting", "RandomShooting"),
    "cem": ("cem", "CEM"),
    "icem": ("icem", "ICEM"),
    "mppi": ("mppi", "MPPI"),
    "pddm": ("pddm", "PDDM"),
    "gradient": ("gradient", "GradientRefinement"),
}
"""Sampling planners: name → module and class; modules are imported when a planner is made."""

TRAJECTORY_OPTIMIZERS = {"ilqr": ("ilqr", "ILQR"), "kl-lqr": ("kl_lqr", "KLConstrainedLQR")}
"""Planners that need derivatives, and so are given the model instead of an objective."""


def planner_class(name: str) -> "type[SamplingPlanner] | type[ILQR] | type[KLConstrainedLQR]":
    """The class of a planner.

    Raises:
        ValueError: if there is no planner of that name.
    """
    known = PLANNERS | TRAJECTORY_OPTIMIZERS
    if name not in known:
        raise ValueError(f"planner: {name!r} is unknown; there are {', '.join(known)}.")
    module, class_name = known[name]
    return cast(
        "type[SamplingPlanner] | type[ILQR] | type[KLConstrainedLQR]",
        getattr(importlib.import_module(f"planners.{module}"), class_name),
    )


def descriptions() -> dict[str, str]:
    """One line for each planner: the first of its module's docstring, read without importing the module."""
    folder = Path(__file__).parent
    lines = {}
    for name, (module, _) in (PLANNERS | TRAJECTORY_OPTIMIZERS).items():
        docstring = ast.get_docstring(ast.parse((folder / f"{module}.py").read_text(encoding="utf-8")))
        lines[name] = (docstring or "").partition("\n")[0]
    return lines
