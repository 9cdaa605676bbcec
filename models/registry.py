"""The models by the names that configurations use."""

import ast
import importlib
from pathlib import Path
from typing import Any

MODELS = {
    "ensemble": ("ensemble", "ProbabilisticEnsemble"),
    "e2c": ("image.e2c", "E2C"),
    "solar": ("image.solar", "SOLAR"),
    "latent-state-space": ("image.latent_state_space", "LatentStateSpace"),
    "joint-embedding": ("image.joint_embedding", "JointEmbedding"),
    "foresight": ("image.foresight", "Foresight"),
}
"""Name → module and class; modules are imported when a model is made."""


def model_class(name: str) -> Any:
    """The class of a model.

    Raises:
        ValueError: if there is no model of that name.
    """
    if name not in MODELS:
        raise ValueError(f"model: {name!r} is unknown; there are {', '.join(MODELS)}.")
    module, class_name = MODELS[name]
    return getattr(importlib.import_module(f"models.{module}"), class_name)


def descriptions() -> dict[str, str]:
    """One line for each model: the first of its module's docstring, read without importing the module."""
    folder = Path(__file__).parent
    lines = {}
    for name, (module, _) in MODELS.items():
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        lines[name] = (docstring or "").partition("\n")[0]
    return lines
