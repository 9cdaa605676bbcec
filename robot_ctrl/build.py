"""From a run's configuration to its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hardware.safety import SafetyFilter
from models.actor_critic import ActorCritic
from models.learned import LearnedModel
from models.registry import model_class
from models.threads import choose_threads
from planners.registry import planner_class
from robot_ctrl.config import RunConfig, check_config, merge, parse_overrides, read_yaml
from robot_ctrl.controller import Controller
from robot_ctrl.errors import ConfigError, RunError, unknown
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.settings import check_settings, defaults_of
from robot_ctrl.task import Task
from robot_ctrl.tasks import make_task, task_class

Parts = tuple[Task, LearnedModel[Any], Controller, SafetyFilter]
"""What a run is made of."""

MODEL_FROM_TASK = ("learn_reward", "learn_termination", "seed")
"""Constructor arguments of the model that the task and the run decide."""


@dataclass(frozen=True, kw_only=True)
class PlannerChoice:
    """The settings of a planner section that are not the planner class's own."""

    name: str = "icem"
    horizon: int = 25
    risk: str = "mean"
    risk_parameter: float | None = None


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
    section = tree["task"] = _for_model(section, tree.get("model"))
    factory = task_class(section["name"])
    tree = merge({"run_dir": f"runs/{_slug(section['name'])}"}, merge(_defaults(factory, tree), tree))
    return complete(check_config(tree, source))


def complete(config: RunConfig) -> RunConfig:
    """The configuration with every setting of its task, model and planner sections, checked.

    Raises:
        ConfigError: anything that cannot be used, with the key and what would be right.
    """
    factory = task_class(str(config.task.get("name", "")))
    return config.model_copy(
        update={
            "task": {"name": config.task["name"]} | check_settings(factory, _without_name(config.task), "task"),
            "model": _model_settings(factory, config.model),
            "planner": _planner_settings(config.planner),
            "value": None
            if config.value is None
            else check_settings(ActorCritic, config.value, "value", skip=("seed",)),
        }
    )


def open_run(path: Path) -> tuple[RunFolder, RunConfig]:
    """An existing run and its complete configuration.

    Raises:
        RunError: if the path is no run folder.
        ConfigError: if its config.yaml cannot be used any more.
    """
    folder, config = RunFolder.open(path)
    try:
        return folder, complete(config)
    except ConfigError as error:
        raise ConfigError(f"{folder.config}: {error}") from None


def make_model(config: RunConfig, task: Task) -> Any:
    """The dynamics model of a run, not yet fitted: a ``LearnedModel`` of the class that the configuration names."""
    settings = dict(config.model)
    kind = model_class(settings.pop("name"))
    from_task = {
        "learn_reward": task.learns_reward,
        "learn_termination": task.learns_termination,
        "seed": derive_seed(config.seed, "model"),
    }
    accepted = {key: value for key, value in from_task.items() if key in defaults_of(kind)}
    try:
        model = kind(task.model_spec, **accepted, **settings).to(config.device)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None
    task.see_with(model)
    return model


def make_value(config: RunConfig, task: Task) -> ActorCritic | None:
    """The policy and the value of a run, not yet fitted, if its configuration asks for them."""
    if config.value is None:
        return None
    if type(task).goal is not Task.goal:
        raise ConfigError(
            "value: this task has another goal in each episode, which the value does not see; set value=null."
        )
    try:
        value = ActorCritic(task.state_spec, seed=derive_seed(config.seed, "value"), **config.value)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return value.to(config.device)


def make_controller(config: RunConfig, task: Task, model: LearnedModel[Any]) -> Controller:
    """The planner in the loop of a run."""
    try:
        return Controller(
            task,
            model,
            config.planner,
            replan_every=config.learning.replan_every,
            device=config.device,
            value=make_value(config, task),
        )
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


def set_threads(config: RunConfig, model: LearnedModel[Any]) -> None:
    """Set the number of threads for tensor work, once per process; "auto" goes by the planner's population."""
    work = model.flops_per_step(config.planner.get("population", 1))
    torch.set_num_threads(choose_threads(work) if config.threads == "auto" else config.threads)


def make_parts(config: RunConfig) -> Parts:
    """Task with its robot connected, model, controller and safety filter of a run.

    Raises:
        ConfigError: if one of them cannot be made as configured, or the device is not there.
    """
    _check_device(config.device)
    try:
        task = make_task(config.task)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task.name = {config.task['name']!r}: {error}. Install the package that is missing."
        ) from None
    if task.episode_steps < 1:
        raise ConfigError(f"task: an episode has {task.episode_steps} control periods; it needs at least 1.")
    task.robot.connect()
    model = make_model(config, task)
    set_threads(config, model)
    return task, model, make_controller(config, task, model), make_safety(config, task)


def load_controller(run: Path) -> tuple[Task, Controller, SafetyFilter]:
    """A run's task with its robot connected, its controller with the last model, and its safety filter.

    Raises:
        RunError: if the path is no run folder, or nothing has been fitted yet.
        ConfigError: if the task cannot be built any more, for example because its MJCF is gone.
    """
    folder, config = open_run(run)
    checkpoint = folder.load_checkpoint()
    if checkpoint is None or not checkpoint["fits"]:
        raise RunError(f"{run} has no fitted model yet: let the run finish its random episodes first.")
    task, model, controller, safety = make_parts(config)
    model.load_state_dict(checkpoint["model"])
    if controller.value is not None:
        controller.value.load_state_dict(checkpoint["value"])
    return task, controller, safety


def _model_settings(task: type[Task], section: Mapping[str, Any]) -> dict[str, Any]:
    name = section.get("name", task.models[0])
    if name not in task.models:
        raise ConfigError(unknown("model.name for this task:", str(name), task.models))
    skip = tuple(key for key in MODEL_FROM_TASK if key in defaults_of(model_class(name)))
    return {"name": name} | check_settings(model_class(name), _without_name(section), "model", skip=skip)


def _planner_settings(section: Mapping[str, Any]) -> dict[str, Any]:
    shared = defaults_of(PlannerChoice)
    chosen = {key: value for key, value in section.items() if key in shared}
    choice = check_settings(PlannerChoice, chosen, "planner")
    try:
        planner = planner_class(choice["name"])
    except ValueError as error:
        raise ConfigError(f"planner.name: {error}") from None
    own = {key: value for key, value in section.items() if key not in shared}
    known = [key for key in defaults_of(planner) if key != "now"]
    for key in own:
        if key not in known:
            raise ConfigError(unknown(f"key in planner ({choice['name']})", key, [*shared, *known]))
    return choice | check_settings(planner, own, "planner", skip=("now",))


def _check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(
            f"device = {device!r}: PyTorch finds {count} CUDA devices here. Use device=cpu, or install a driver and a "
            f"CUDA build of PyTorch."
        )


def _smaller(limit: float | None, other: float | None) -> float | None:
    return min((value for value in (limit, other) if value is not None), default=None)


def _defaults(factory: type[Task], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The task's defaults, without the settings of a planner that was exchanged for another."""
    planner = factory.defaults.get("planner", {})
    chosen, own = tree.get("planner"), planner.get("name", PlannerChoice.name)
    if not isinstance(chosen, Mapping) or chosen.get("name", own) == own:
        return factory.defaults
    shared = {key: value for key, value in planner.items() if key in PlannerChoice.__dataclass_fields__}
    return factory.defaults | {"planner": shared}


def _for_model(section: Mapping[str, Any], model: Any) -> Mapping[str, Any]:
    """A task's section, with the task's variant for the chosen model if it has one."""
    chosen = str(model.get("name")) if isinstance(model, Mapping) else ""
    return {**section, "name": task_class(section["name"]).variants.get(chosen, section["name"])}


def _without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def _absolute_mjcf(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A task's MJCF is relative to the file that names it; the run must find it from anywhere."""
    section = tree.get("task")
    mjcf = section.get("mjcf") if isinstance(section, Mapping) else None
    return merge(tree, {"task": {"mjcf": str((folder / mjcf).resolve())}}) if isinstance(mjcf, str) else tree


def _slug(name: str) -> str:
    return Path(name.rpartition("/")[2]).name.replace(":", "-").replace(".", "-")
