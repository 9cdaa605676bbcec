"""`robot-ctrl export`: recorded episodes in a format that other programs read."""

import logging
from pathlib import Path
from typing import Literal

from robot_ctrl.errors import RunError
from robot_ctrl.steps import Steps, episode_files, read_steps

logger = logging.getLogger(__name__)

Format = Literal["csv", "lerobot", "rerun"]
_DEFAULT_NAMES = {"csv": "{}.csv", "lerobot": "{}-lerobot", "rerun": "{}.rrd"}


def export(run_or_episode: Path, form: Format, out: Path | None = None, *, number: int | None = None) -> Path:
    """Write episodes in another format; returns where.

    Args:
        run_or_episode: an episode's ``.mcap`` file, or a run folder, of which all episodes are taken.
        form: "csv", "lerobot" or "rerun".
        out: the file, or for LeRobot the folder, to write; None puts it beside the episode, or into the run folder.
        number: one episode of a run folder.

    Raises:
        RunError: if there is nothing to export, the format's package is missing, or LeRobot's folder exists.
    """
    files = episode_files(run_or_episode, number)
    episodes = _readable(files)
    if out is None:
        stem = "episodes" if len(files) > 1 else files[0].stem
        folder = run_or_episode if run_or_episode.is_dir() else run_or_episode.parent
        out = folder / _DEFAULT_NAMES[form].format(stem)
    out.parent.mkdir(parents=True, exist_ok=True)
    if form == "csv":
        from robot_ctrl.exports.csv_table import write_csv

        write_csv(episodes, out)
    elif form == "lerobot":
        from robot_ctrl.exports.lerobot import write_lerobot

        write_lerobot(episodes, out)
    else:
        from robot_ctrl.exports.rerun_file import write_rerun

        write_rerun(episodes, out)
    return out


def _readable(files: list[Path]) -> list[Steps]:
    """The episodes; of several, those without a step are left out with a warning."""
    if len(files) == 1:
        return [read_steps(files[0])]
    episodes = []
    for path in files:
        try:
            episodes.append(read_steps(path))
        except RunError as error:
            logger.warning("left out: %s", error)
    if not episodes:
        raise RunError(f"{files[0].parent}: none of its {len(files)} episodes holds a step.")
    return episodes
