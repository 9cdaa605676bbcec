"""`robot-ctrl run` and `resume`: learn, then show."""

import logging
from collections.abc import Sequence
from pathlib import Path

from robot_ctrl.build import Parts, complete, make_parts, open_run
from robot_ctrl.config import RunConfig, check_config, parse_overrides
from robot_ctrl.errors import RunError
from robot_ctrl.learning import Learner
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.showing import show
from robot_ctrl.watch import TerminalWatcher

logger = logging.getLogger(__name__)
_MAY_CHANGE = ("episodes", "env_steps", "threads", "device")


def start(config: RunConfig) -> int:
    """Start a new run.

    Raises:
        ConfigError: if its parts cannot be made; then no folder is made, and none is replaced.
        RunError: if the run folder exists or cannot be written.
    """
    parts = make_parts(config)
    return _learn(config, RunFolder.create(config), parts)


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with a run from its last finished episode.

    Raises:
        RunError: if an override would change what the run is, or nothing is left to do.
    """
    folder, config = open_run(run)
    changes = parse_overrides(overrides)
    for key in changes:
        if key not in _MAY_CHANGE:
            raise RunError(
                f"{key}: a resumed run can change only {', '.join(_MAY_CHANGE)}; start a new run for the rest."
            )
    if changes:
        config = complete(check_config(config.model_dump() | changes, "command line"))
    parts = make_parts(config)
    if changes:
        folder.write_config(config)
    return _learn(config, folder, parts)


def _learn(config: RunConfig, folder: RunFolder, parts: Parts) -> int:
    with folder.held():
        return _learn_alone(config, folder, parts)


def _learn_alone(config: RunConfig, folder: RunFolder, parts: Parts) -> int:
    watcher = TerminalWatcher(config.episodes, parts[0].episode_steps)
    learner = Learner(config, folder, *parts, watcher)
    if learner.finished and folder.is_shown():
        raise RunError(
            f"{folder.path} is finished, and its report is {folder.report}. To go further, give it more: "
            f"`robot-ctrl resume {folder.path} episodes={2 * config.episodes}` (or env_steps=N)."
        )
    logger.info("%s → %s", config.task["name"], folder.path)
    try:
        with watcher:
            learner.learn()
        report = show(config, folder, *parts)
    except BaseException as error:
        error.add_note(f"Go on with `robot-ctrl resume {folder.path}`.")
        raise
    logger.info("the report is %s", report)
    return 0
