"""Tasks by name; one file each."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_ctrl.errors import ConfigError, unknown
from robot_ctrl.settings import check_settings
from robot_ctrl.task import Task

TASKS = {
    "arm-reach": "robot_ctrl.tasks.arm_reach:ArmReach",
    "arm-goal-image": "robot_ctrl.tasks.arm_goal_image:ArmGoalImage",
    "arm-push": "robot_ctrl.tasks.arm_push:ArmPush",
    "cartpole-swingup": "robot_ctrl.tasks.cartpole_swingup:CartpoleSwingup",
    "pendulum-image": "robot_ctrl.tasks.pendulum_image:PendulumImage",
    "planar-image": "robot_ctrl.tasks.planar_image:PlanarImage",
    "push-goal-pixel": "robot_ctrl.tasks.push_goal_pixel:PushGoalPixel",
    "push-goal-pixel-foresight": "robot_ctrl.tasks.push_goal_pixel_foresight:PushGoalPixelForesight",
    "reacher-goal-image": "robot_ctrl.tasks.reacher_goal_image:ReacherGoalImage",
    "reacher-solar": "robot_ctrl.tasks.solar_reacher:ReacherSolar",
    "reacher-hard": "robot_ctrl.tasks.reacher_hard:ReacherHard",
    "finger-spin": "robot_ctrl.tasks.finger_spin:FingerSpin",
    "cheetah-run": "robot_ctrl.tasks.cheetah_run:CheetahRun",
    "half-cheetah": "robot_ctrl.tasks.half_cheetah:HalfCheetah",
    "mjcf": "robot_ctrl.tasks.mjcf:MjcfTask",
}


def task_class(name: str) -> type[Task]:
    """The class behind a task's name, ``dmc:domain-task``, ``gym:Id`` or ``file.py:Class``.

    Raises:
        ConfigError: if there is no such task.
    """
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        return _checked(getattr(importlib.import_module(module), attribute), name)
    if name.startswith(("dmc:", "gym:")):
        from robot_ctrl.tasks import any_environment

        return any_environment.task_class(name)
    if name.startswith("pixels:"):
        from robot_ctrl.tasks import dmc_pixels

        return dmc_pixels.task_class(name)
    if ".py:" in name:
        return _from_file(name)
    raise ConfigError(
        unknown("task", name, list(TASKS))
        + " Or give dmc:domain-task, pixels:domain-task, gym:EnvId, a YAML file, or path/to/file.py:MyTask."
    )


def make_task(section: Mapping[str, Any]) -> Task:
    """The task of a run's ``task`` section: its name and its settings.

    Raises:
        ConfigError: unknown task or setting, or a setting out of range.
    """
    settings = dict(section)
    factory = task_class(str(settings.pop("name", "")))
    complete = check_settings(factory, settings, "task")
    try:
        return factory(**complete)
    except ValueError as error:
        raise ConfigError(f"task: {error}") from None


def _from_file(name: str) -> type[Task]:
    file, _, attribute = name.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise ConfigError(f"{file}: there is no such file; a task of your own is named as path/to/file.py:MyTask.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Task)]
        raise ConfigError(f"{file}: " + unknown("class", attribute, classes))
    return _checked(found, name)


def _checked(found: Any, name: str) -> type[Task]:
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ConfigError(f"{name}: is not a subclass of robot_ctrl.task.Task.")
    return found
