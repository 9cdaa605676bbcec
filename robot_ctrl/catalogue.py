"""What there is to run, with one line each."""

from collections.abc import Iterable

from hardware.arms.so101 import so101, so101_push
from planners.registry import descriptions
from robot_ctrl.tasks import TASKS, task_class

_OPEN = (
    ("dmc:domain-task", "any dm_control task, for example dmc:walker-walk; its reward is learned."),
    (
        "gym:EnvId",
        "any Gymnasium environment with continuous actions, for example gym:Pusher-v5; its reward is learned.",
    ),
    ("my_task.yaml", "your MJCF with residual cost terms; see docs/your-robot.md."),
    ("my_task.py:MyTask", "a task class of your own."),
)
_MODELS = (("ensemble", "Bootstrap ensemble of probabilistic or deterministic networks (Chua et al. 2018)."),)


def catalogue() -> str:
    """Tasks, robots, models and planners as a table."""
    sections = {
        "Tasks": [*((name, _first_line(task_class(name))) for name in TASKS), *_OPEN],
        "Robots": [("so101", _first_line(so101)), ("so101-push", _first_line(so101_push))],
        "Models": _MODELS,
        "Planners": descriptions().items(),
    }
    return "\n\n".join(f"{title}\n{_table(rows)}" for title, rows in sections.items())


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().split("\n")[0]


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<18} {line}" for name, line in rows)
