"""A run on disk: self-contained, and whole after kill -9 at any moment."""

import csv
import fcntl
import io
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robot_ctrl.config import RunConfig, check_config, read_yaml, write_config
from robot_ctrl.errors import RunError

logger = logging.getLogger(__name__)
CHECKPOINT_VERSION = 1
_KEPT_CHECKPOINTS = 2


class RunFolder:
    """``config.yaml  metrics.csv  episodes/*.mcap  checkpoints/  summary.json  report.html  episode.mp4``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.report = path / "report.html"
        self.episodes = path / "episodes"
        self.demonstrations = path / "demonstrations"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.csv"
        self.diagnostics = path / "diagnostics.npz"
        self.video = path / "episode.mp4"

    @classmethod
    def create(cls, config: RunConfig) -> "RunFolder":
        """Make the folder of a new run.

        Raises:
            RunError: if it exists and ``overwrite`` is false, it cannot be written, or a demonstration is missing.
        """
        folder = cls(config.run_dir)
        demonstrations = _recordings(config.learning.demonstrations)
        try:
            if folder.path.exists() and any(folder.path.iterdir()):
                if not (folder.path / "config.yaml").exists():
                    raise RunError(f"{folder.path} exists and is not a run folder: choose another run_dir=.")
                if not config.overwrite:
                    raise RunError(
                        f"{folder.path} already holds a run: continue it with `robot-ctrl resume {folder.path}`, "
                        f"replace it with overwrite=true, or choose another run_dir=."
                    )
                with folder.held():
                    shutil.rmtree(folder.path)
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_config(config)
            folder.episodes.mkdir()
            folder.checkpoints.mkdir()
            if demonstrations:
                folder.demonstrations.mkdir()
            for number, path in enumerate(demonstrations):
                shutil.copyfile(path, folder.demonstrations / f"demonstration_{number:05d}.mcap")
        except OSError as error:
            raise RunError(f"{folder.path}: the run folder cannot be written: {error.strerror}.") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> "tuple[RunFolder, RunConfig]":
        """An existing run and its configuration.

        Raises:
            RunError: if the path is not a run folder.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.yaml. Give the run_dir of a run.")
        config = check_config(read_yaml(folder.config), str(folder.config))
        return folder, config.model_copy(update={"run_dir": path})

    def write_config(self, config: RunConfig) -> None:
        """Write every setting of the run, atomically."""
        with _replacing(self.config) as temporary:
            write_config(config, temporary)

    def is_shown(self) -> bool:
        """Whether there is a report of the last episode."""
        return self.report.exists() and self.report.stat().st_mtime_ns >= self.metrics.stat().st_mtime_ns

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from writing to the run, as long as this one lives.

        Raises:
            RunError: if another process holds it.
        """
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.path}: another process is writing to this run: wait for it, or stop it first."
                ) from None
            yield

    def episode_path(self, episode: int) -> Path:
        """Where an episode is recorded."""
        return self.episodes / f"episode_{episode:05d}.mcap"

    def unfinished_attempts(self, episode: int) -> list[Path]:
        """What earlier, cut-off attempts at an episode left behind."""
        return sorted(self.episodes.glob(f"episode_{episode:05d}.unfinished-*.mcap"))

    def set_aside(self, first: int) -> None:
        """Keep the attempts at all episodes from the first on under names of their own; their data still counts."""
        for path in self.episodes.glob("episode_?????.mcap"):
            if path >= self.episode_path(first):
                attempts = (path.with_suffix(f".unfinished-{number}.mcap") for number in itertools.count(1))
                path.rename(next(attempt for attempt in attempts if not attempt.exists()))

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows anew, atomically."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with _replacing(self.metrics) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv, as text; empty before the first episode."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file atomically."""
        with _replacing(self.path / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def save_checkpoint(self, episode: int, content: Mapping[str, Any]) -> None:
        """Save what is needed to go on after an episode, atomically; the last two are kept."""
        import torch

        buffer = io.BytesIO()
        torch.save({"version": CHECKPOINT_VERSION, "episode": episode, **content}, buffer)
        self.checkpoints.mkdir(exist_ok=True)
        path = self.checkpoints / f"episode_{episode:05d}.pt"
        with _replacing(path) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        for old in self._checkpoint_files()[:-_KEPT_CHECKPOINTS]:
            old.unlink()

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None before the first; damaged ones are skipped for the one before.

        Raises:
            RunError: if it was written by another version.
        """
        import torch

        for path in reversed(self._checkpoint_files()):
            try:
                content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                version = content["version"]
            except Exception as error:  # damaged bytes can raise anything in the unpickler
                reason = str(error).partition("\n")[0]
                logger.warning("%s is damaged (%s); the checkpoint before it is used instead.", path, reason)
                continue
            if version != CHECKPOINT_VERSION:
                raise RunError(
                    f"{path}: checkpoint version {version}, this program reads version {CHECKPOINT_VERSION}: "
                    f"use the robot-ctrl version that wrote it (see summary.json)."
                )
            return content
        return None

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("episode_*.pt"))


def _recordings(paths: Sequence[Path]) -> list[Path]:
    """The episode files among paths, and in those that are folders."""
    found = []
    for path in paths:
        files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise RunError(f"learning.demonstrations: {path} is no episode (.mcap), and no folder that holds one.")
        found += files
    return found


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to write to; what is written takes the file's place in one step, or none of it does."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value
