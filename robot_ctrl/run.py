"""`robot-ctrl run` and `resume`: learn, then show."""

import logging
from collections.abc import Sequence
from pathlib import Path

from robot_ctrl.build import make_parts
from robot_ctrl.config import RunConfig, parse_overrides, write_config
from robot_ctrl.errors import Interrupted, RunError
from robot_ctrl.learning import Learner
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.showing import show
from robot_ctrl.watch import TerminalWatcher

logger = logging.getLogger(__name__)
_MAY_GROW = ("episodes", "env_steps", "threads")


def start(config: RunConfig) -> int:
    """Start a new run."""
    return _learn(config, RunFolder.create(config))


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with a run from its last finished episode.

    Raises:
        RunError: if an override would change what the run is.
    """
    folder, config = RunFolder.open(run)
    changes = parse_overrides(overrides)
    for key in changes:
        if key not in _MAY_GROW:
            raise RunError(
                f"{key}: a resumed run can change only {', '.join(_MAY_GROW)}; start a new run for the rest."
            )
    config = RunConfig.model_validate(config.model_dump() | changes)
    write_config(config, folder.path / "config.yaml")
    return _learn(config, folder)


def _learn(config: RunConfig, folder: RunFolder) -> int:
    task, model, controller, safety = make_parts(config)
    logger.info("%s → %s", config.task["name"], folder.path)
    try:
        with TerminalWatcher(config.episodes, task.episode_steps) as watcher:
            Learner(config, folder, task, model, controller, safety, watcher).learn()
        report = show(config, folder, task, model, controller, safety)
    except Interrupted:
        logger.warning("stopped; go on with `robot-ctrl resume %s`", folder.path)
        raise
    logger.info("the report is %s", report)
    return 0
