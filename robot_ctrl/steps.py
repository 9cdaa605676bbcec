"""An episode as steps: what was read last before every command, and the command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.robot import Array, Observation
from robot_ctrl.episodes import Episode, RecordedAction, read_episode
from robot_ctrl.errors import RunError


@dataclass(frozen=True)
class Steps:
    """The T steps of an episode.

    Attributes:
        episode: where they come from.
        joints: names of the nu commanded joints.
        times: (T,) when the commands were sent, seconds since the recording began.
        commands: what was sent, T of them.
        observations: what was read last before each command, T of them.
        last: what was read after the last command; None if nothing was.
    """

    episode: Episode
    joints: tuple[str, ...]
    times: Array
    commands: Sequence[RecordedAction]
    observations: Sequence[Observation]
    last: Observation | None

    @property
    def requested(self) -> Array:
        """(T, nu) what was asked for, in command units."""
        return np.stack([command.requested for command in self.commands])

    @property
    def sent(self) -> Array:
        """(T, nu) what was sent, in command units."""
        return np.stack([command.sent for command in self.commands])

    @property
    def period(self) -> float:
        """Seconds between commands, the median; 0 of a single one."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def commands_are_positions(self) -> bool:
        """Whether commands are joint positions, so that both can be compared.

        Recordings say so where they know ("command_mode"); else the command in force at the start, which holds
        the joints where they are, tells.
        """
        mode = self.episode.metadata.get("command_mode")
        if mode is not None:
            return mode == "position"
        start = self.observations[0].values
        command, position = start.get("command"), start.get("joint_position")
        return (
            command is not None
            and position is not None
            and command.shape == position.shape
            and bool(np.any(position != 0))
            and bool(np.allclose(command, position, atol=0.1))
        )

    def measured(self, name: str) -> Array | None:
        """(T, ...) the values of one name before each command; None if they were not recorded throughout."""
        read = [observation.values.get(name) for observation in self.observations]
        shapes = {None if value is None else value.shape for value in read}
        if None in shapes or len(shapes) != 1:
            return None
        return np.stack([value for value in read if value is not None])

    def names_of(self, name: str, size: int) -> list[str]:
        """What the parts of a value are called: joints where there is one part for each, else numbers."""
        if size == len(self.joints) and name.startswith(("joint_", "command", "effort", "external_torque")):
            return list(self.joints)
        return [str(part) for part in range(size)]


def read_steps(path: Path) -> Steps:
    """The steps of an episode file; of a damaged one, those that can be read.

    Raises:
        RunError: if it is no episode file, or holds no command.
    """
    try:
        episode = read_episode(path)
    except (ValueError, FileNotFoundError) as error:
        raise RunError(str(error)) from None
    if not episode.actions or not episode.observations:
        raise RunError(
            f"{path}: {len(episode.observations)} observations and {len(episode.actions)} commands were recorded; "
            f"there are no steps to show. Choose another episode."
        )
    begin = began(episode)
    read, last = _read_before(episode)
    size = len(episode.actions[0].sent)
    recorded = tuple(name for name in episode.metadata.get("joints", "").split(",") if name)
    joints = recorded if len(recorded) == size else tuple(f"joint_{number + 1}" for number in range(size))
    commands = episode.actions[: len(read)]
    return Steps(episode, joints, np.array([command.time - begin for command in commands]), commands, read, last)


def began(episode: Episode) -> float:
    """When the recording began, seconds on the loop's clock."""
    first = episode.actions[0].time if episode.actions else 0.0
    return float(episode.metadata.get("clock_at_start", first))


def episode_files(run_or_episode: Path, number: int | None = None) -> list[Path]:
    """The episode files that a user means: the file itself, or those of a run's folder, in order.

    Args:
        run_or_episode: an ``.mcap`` file, a run folder, or a deployment's folder.
        number: one episode of the folder; None means all.

    Raises:
        RunError: if there is none.
    """
    if run_or_episode.is_file():
        return [run_or_episode]
    folder = run_or_episode / "episodes"
    pattern = "episode_?????.mcap" if number is None else f"episode_{number:05d}.mcap"
    files = sorted(folder.glob(pattern))
    if not files:
        what = "no episodes" if number is None else f"no episode {number}"
        raise RunError(f"{run_or_episode}: there are {what} in {folder}. Give a run folder or an .mcap file.")
    return files


def run_of(episode: Path) -> Path | None:
    """The folder of the run that an episode file belongs to; None outside a run."""
    return next((folder for folder in episode.absolute().parents if (folder / "config.yaml").is_file()), None)


def _read_before(episode: Episode) -> tuple[list[Observation], Observation | None]:
    """What was read last before each command, by time where the times are known, else by order; and the one after."""
    observations, actions = episode.observations, episode.actions
    times = [max(observation.read_end.values(), default=np.nan) for observation in observations]
    if np.isfinite(times).all():
        before = np.searchsorted(times, [action.time for action in actions], side="right") - 1
        indices = np.maximum(before, 0).tolist()
    else:
        indices = list(range(min(len(observations), len(actions))))
    following = indices[-1] + 1
    last = observations[following] if following < len(observations) else None
    return [observations[index] for index in indices], last
