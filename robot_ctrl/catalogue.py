"""What there is to run, with one line each, read off the sources: importing them would take seconds."""

import ast
from collections.abc import Iterable
from pathlib import Path

import models.registry
import planners.registry
from robot_ctrl.tasks import TASKS

_ROBOTS = Path(__file__).parents[1] / "hardware" / "robots"

_OPEN = (
    ("dmc:domain-task", "any dm_control task, for example dmc:walker-walk; its reward is learned."),
    ("pixels:domain-task", "any dm_control task seen through its first camera; its reward is learned."),
    (
        "gym:EnvId",
        "any Gymnasium environment with continuous actions, for example gym:Pusher-v5; its reward is learned.",
    ),
    ("my_task.yaml", "your MJCF with residual cost terms; see docs/your-robot.md."),
    ("my_task.py:MyTask", "a task class of your own."),
)


def catalogue() -> str:
    """Tasks, robots, models and planners as a table."""
    sections = {
        "Tasks": [*_documented(TASKS), *_OPEN],
        "Robots": [*_robots(), ("my_robot.yaml", "an arm of your own; see docs/servo-arms.md.")],
        "Models": models.registry.descriptions().items(),
        "Planners": planners.registry.descriptions().items(),
    }
    return "\n\n".join(f"{title}\n{_table(rows)}" for title, rows in sections.items())


def _robots() -> list[tuple[str, str]]:
    """The packaged robots, with the first sentence of the comment that opens each file."""
    return [
        (
            path.stem,
            path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(". ")[0].rstrip(".") + ".",
        )
        for path in sorted(_ROBOTS.glob("*.yaml"))
    ]


def _documented(places: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, _first_line(place)) for name, place in places.items()]


def _first_line(place: str) -> str:
    """The first line of the docstring of the class or function at ``package.module:name``."""
    module, _, name = place.partition(":")
    source = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(f"{place}: there is no such class or function")


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<18} {line}" for name, line in rows)
