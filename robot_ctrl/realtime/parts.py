"""A run's task and its last model, for the processes that plan and learn."""

from pathlib import Path
from typing import Any

from hardware.robot import Observation
from models.learned import LearnedModel
from robot_ctrl.build import make_model
from robot_ctrl.config import RunConfig
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import RunError
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.task import Task
from robot_ctrl.tasks import make_task


def load_task_and_model(config: RunConfig, run: Path) -> tuple[Task, LearnedModel[Any]]:
    """The task, its simulated robot not connected, and the model of a run's last checkpoint.

    Raises:
        RunError: if nothing has been fitted yet, or the run plans with a terminal value.
    """
    if config.value is not None:
        raise RunError(f"{run} plans with a terminal value, which deployments do not load: learn with value=null.")
    checkpoint = fitted_checkpoint(run)
    task = make_task(config.task)
    model = make_model(config, task)
    model.load_state_dict(checkpoint["model"])
    return task, model


def fitted_checkpoint(run: Path) -> dict[str, Any]:
    """The last checkpoint of a run.

    Raises:
        RunError: if nothing has been fitted yet.
    """
    checkpoint = RunFolder(run).load_checkpoint()
    if checkpoint is None or not checkpoint["fits"]:
        raise RunError(f"{run} has no fitted model yet: let the run finish its random episodes first.")
    return checkpoint


def recorded_start(run: Path, number: int = 0) -> Observation:
    """What an episode of a run began with: a pose that the robot can start from, and no simulator is needed for it.

    Args:
        run: has episodes.
        number: which; counted round and round.

    Raises:
        RunError: if it has none.
    """
    paths = sorted(RunFolder(run).episodes.glob("episode_?????.mcap"))
    if not paths:
        raise RunError(f"{run} has no recorded episode to begin like; restore its folder episodes, or train it again.")
    return read_episode(paths[number % len(paths)]).observations[0]
