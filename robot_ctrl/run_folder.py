"""A run on disk: self-contained, and whole after kill -9 at any moment."""

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_ctrl.config import RunConfig, check_config, read_yaml, write_config
from robot_ctrl.errors import RunError

CHECKPOINT_VERSION = 1
_KEPT_CHECKPOINTS = 2


class RunFolder:
    """``config.yaml  metrics.csv  episodes/*.mcap  checkpoints/  summary.json  report.html  episode.mp4``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.episodes = path / "episodes"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.csv"
        self.diagnostics = path / "diagnostics.npz"
        self.video = path / "episode.mp4"

    @classmethod
    def create(cls, config: RunConfig) -> "RunFolder":
        """Make the folder of a new run.

        Raises:
            RunError: if it exists and ``overwrite`` is false, or cannot be written.
        """
        folder = cls(config.run_dir)
        try:
            if folder.path.exists() and any(folder.path.iterdir()):
                if not (folder.path / "config.yaml").exists():
                    raise RunError(f"{folder.path} exists and is not a run folder: choose another run_dir=.")
                if not config.overwrite:
                    raise RunError(
                        f"{folder.path} already holds a run: continue it with `robot-ctrl resume {folder.path}`, "
                        f"replace it with overwrite=true, or choose another run_dir=."
                    )
                shutil.rmtree(folder.path)
            folder.episodes.mkdir(parents=True)
            folder.checkpoints.mkdir()
            write_config(config, folder.path / "config.yaml")
        except OSError as error:
            raise RunError(f"{folder.path}: the run folder cannot be written: {error.strerror}.") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> "tuple[RunFolder, RunConfig]":
        """An existing run and its configuration.

        Raises:
            RunError: if the path is not a run folder.
        """
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path} is not a run folder: it has no config.yaml. Give the run_dir of a run.")
        config = check_config(read_yaml(path / "config.yaml"), str(path / "config.yaml"))
        return cls(path), config.model_copy(update={"run_dir": path})

    def episode_path(self, episode: int) -> Path:
        """Where an episode is recorded."""
        return self.episodes / f"episode_{episode:05d}.mcap"

    def unfinished_attempts(self, episode: int) -> list[Path]:
        """What earlier, cut-off attempts at an episode left behind."""
        return sorted(self.episodes.glob(f"episode_{episode:05d}.unfinished-*.mcap"))

    def set_aside(self, episode: int) -> None:
        """Keep a cut-off attempt at an episode under a name of its own; its data still counts."""
        path = self.episode_path(episode)
        if path.exists():
            attempt = len(self.unfinished_attempts(episode)) + 1
            path.rename(path.with_suffix(f".unfinished-{attempt}.mcap"))

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows anew, atomically."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        temporary = self.metrics.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        temporary.replace(self.metrics)

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv, as text; empty before the first episode."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file atomically."""
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(self.path / name)

    def save_checkpoint(self, episode: int, content: Mapping[str, Any]) -> None:
        """Save what is needed to go on after an episode, atomically; the last two are kept."""
        import torch

        path = self.checkpoints / f"episode_{episode:05d}.pt"
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save({"version": CHECKPOINT_VERSION, "episode": episode, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
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
                content: dict[str, Any] = torch.load(path, weights_only=True)
            except Exception:
                continue
            if content["version"] != CHECKPOINT_VERSION:
                raise RunError(
                    f"{path}: checkpoint version {content['version']}, this program reads version "
                    f"{CHECKPOINT_VERSION}: use the robot-ctrl version that wrote it (see summary.json)."
                )
            return content
        return None

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("episode_*.pt"))


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value
