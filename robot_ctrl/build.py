"""From a run's configuration to its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hardware.safety import SafetyFilter
from models.ensemble import ProbabilisticEnsemble
from models.threads import choose_threads
from planners.registry import planner_class
from robot_ctrl.config import RunConfig, check_config, merge, parse_overrides, read_yaml
from robot_ctrl.controller import Controller
from robot_ctrl.errors import ConfigError, RunError
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.settings import check_settings
from robot_ctrl.task import Task
from robot_ctrl.tasks import make_task, task_class

PLANNER_DEFAULTS = {"name": "icem", "horizon": 25, "risk": "mean", "risk_parameter": None}
"""The settings of a planner section that are not the planner class's own."""

MODEL_FROM_TASK = ("learn_reward", "learn_termination", "seed")
"""Constructor arguments of the model that the task and the run decide."""


def resolve(task: str, overrides: Sequence[str]) -> RunConfig:
    """The complete configuration of a run: every setting with its value.

    Args:
        task: a task's name, or the YAML file of a run.
        overrides: ``key=value`` arguments.

    Raises:
        ConfigError: anything that cannot be used, with the key and what would be right.
    """
    changes = _absolute_mjcf(parse_overrides(overrides), Path.cwd())
    if task.endswith((".yaml", ".yml")):
        path, source = Path(task), task
        tree = _absolute_mjcf({"run_dir": f"runs/{path.stem}"} | read_yaml(path), path.parent)
    else:
        tree, source = {"task": {"name": task}}, "command line"
    tree = merge(tree, changes)
    section = tree.get("task")
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise ConfigError(
            f"{source}: task.name is missing: say which task to run, for example task: {{name: arm-reach}}."
        )
    factory = task_class(section["name"])
    tree = merge({"run_dir": f"runs/{_slug(section['name'])}"}, merge(factory.defaults, tree))
    config = check_config(tree, source)
    planner = merge(PLANNER_DEFAULTS, config.planner)
    own = {key: value for key, value in planner.items() if key not in PLANNER_DEFAULTS}
    try:
        planner_settings = check_settings(planner_class(planner["name"]), own, "planner", skip=("now",))
    except ValueError as error:
        raise ConfigError(f"planner.name: {error}") from None
    shared = {key: planner[key] for key in PLANNER_DEFAULTS}
    return config.model_copy(
        update={
            "task": {"name": section["name"]} | check_settings(factory, _without_name(config.task), "task"),
            "model": check_settings(ProbabilisticEnsemble, config.model, "model", skip=MODEL_FROM_TASK),
            "planner": shared | planner_settings,
        }
    )


def make_model(config: RunConfig, task: Task) -> ProbabilisticEnsemble:
    """The dynamics model of a run, not yet fitted."""
    try:
        return ProbabilisticEnsemble(
            task.state_spec,
            learn_reward=task.learns_reward,
            learn_termination=task.learns_termination,
            seed=derive_seed(config.seed, "model"),
            **config.model,
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None


def make_controller(config: RunConfig, task: Task, model: ProbabilisticEnsemble) -> Controller:
    """The planner in the loop of a run."""
    try:
        return Controller(task, model, config.planner, replan_every=config.learning.replan_every, device=config.device)
    except ValueError as error:
        raise ConfigError(f"planner: {error}") from None


def make_safety(config: RunConfig, task: Task) -> SafetyFilter:
    """The filter between the loop and the robot, with the run's limits on top of the robot's own."""
    spec = task.robot.spec
    joints = tuple(
        replace(
            joint,
            velocity=_smaller(joint.velocity, config.robot.max_velocity),
            acceleration=_smaller(joint.acceleration, config.robot.max_acceleration),
        )
        for joint in spec.joints
    )
    return SafetyFilter(replace(spec, joints=joints))


def set_threads(config: RunConfig) -> None:
    """Set the number of threads for tensor work, once per process."""
    torch.set_num_threads(choose_threads() if config.threads == "auto" else config.threads)


def make_parts(config: RunConfig) -> tuple[Task, ProbabilisticEnsemble, Controller, SafetyFilter]:
    """Task with its robot connected, model, controller and safety filter of a run."""
    set_threads(config)
    task = make_task(config.task)
    task.robot.connect()
    model = make_model(config, task)
    return task, model, make_controller(config, task, model), make_safety(config, task)


def load_controller(run: Path) -> tuple[Task, Controller, SafetyFilter]:
    """A run's task with its robot connected, its controller with the last model, and its safety filter.

    Raises:
        RunError: if the path is no run folder, or nothing has been fitted yet.
        ConfigError: if the task cannot be built any more, for example because its MJCF is gone.
    """
    folder, config = RunFolder.open(run)
    checkpoint = folder.load_checkpoint()
    if checkpoint is None or not checkpoint["fits"]:
        raise RunError(f"{run} has no fitted model yet: let the run finish its random episodes first.")
    task, model, controller, safety = make_parts(config)
    model.load_state_dict(checkpoint["model"])
    return task, controller, safety


def _smaller(limit: float | None, other: float | None) -> float | None:
    return min((value for value in (limit, other) if value is not None), default=None)


def _without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def _absolute_mjcf(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A task's MJCF is relative to the file that names it; the run must find it from anywhere."""
    section = tree.get("task")
    mjcf = section.get("mjcf") if isinstance(section, Mapping) else None
    return merge(tree, {"task": {"mjcf": str((folder / mjcf).resolve())}}) if isinstance(mjcf, str) else tree


def _slug(name: str) -> str:
    return Path(name.rpartition("/")[2]).name.replace(":", "-").replace(".", "-")
