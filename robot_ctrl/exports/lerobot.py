"""Episodes as a LeRobotDataset v3.0, the format in which LeRobot trains policies.

    meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet  videos/observation.images.CAMERA/chunk-000/file-000.mp4

A frame is a step: ``observation.state`` is what the joints read before a command, ``action`` is the command that was
sent, both named ``JOINT.pos`` as LeRobot does where commands are positions; velocities, efforts, rewards and pictures
are added where they were recorded. Units are SI (rad, rad/s, N·m), not LeRobot's degrees or percent.

LeRobot's ``timestamp`` is frame_index / fps by definition; ``observation.time`` keeps the measured times (s since the
recording began).

Source: the description of the format at https://huggingface.co/docs/lerobot/lerobot-dataset-v3.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from hardware.robot import Array
from robot_ctrl.errors import RunError
from robot_ctrl.steps import Steps
from robot_ctrl.video import VideoWriter

VERSION = "v3.0"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_OPTIONAL = {
    "joint_velocity": "observation.velocity",
    "effort": "observation.effort",
    "external_torque": "observation.external_torque",
    "reward": "next.reward",
}
_PICTURES = 40
"""How many pictures of an episode its statistics are taken from."""

Feature = dict[str, Any]
Columns = dict[str, NDArray[Any]]
Stats = dict[str, dict[str, Any]]


def write_lerobot(episodes: Sequence[Steps], out: Path) -> None:
    """Write episodes as a dataset into a folder that does not exist yet; it appears complete, or not at all.

    Raises:
        RunError: if pyarrow is not installed, the folder exists, or the episodes differ in what they hold.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise RunError(
            f"export to LeRobot needs the package pyarrow ({error}): pip install robot-ctrl[export]"
        ) from None
    if out.exists():
        raise RunError(f"{out} exists, and a dataset is not written over another. Choose another --out.")
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _Dataset(pyarrow, episodes, temporary).write()
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class _Dataset:
    """A dataset on its way to disk."""

    def __init__(self, pyarrow: Any, episodes: Sequence[Steps], folder: Path) -> None:
        self._pyarrow, self._episodes, self._folder = pyarrow, episodes, folder
        self._columns = [_columns(steps) for steps in episodes]
        self._cameras = sorted(episodes[0].observations[0].images)
        self._check_alike()
        self._fps = max(1, round(1.0 / float(np.median([steps.period for steps in episodes]))))
        self._tasks = list(dict.fromkeys(_task(steps) for steps in episodes))

    def write(self) -> None:
        frames = 0
        rows: list[dict[str, Any]] = []
        tables: list[Columns] = []
        stats: list[Stats] = []
        for number, (steps, columns) in enumerate(zip(self._episodes, self._columns, strict=True)):
            length = len(steps.times)
            index = np.arange(length, dtype=np.int64)
            task = self._tasks.index(_task(steps))
            tables.append(
                columns
                | {
                    "timestamp": (index / self._fps).astype(np.float32),
                    "frame_index": index,
                    "episode_index": np.full(length, number, np.int64),
                    "index": frames + index,
                    "task_index": np.full(length, task, np.int64),
                }
            )
            stats.append({name: _statistics(values) for name, values in tables[-1].items()})
            stats[-1] |= {_video_key(camera): _picture_statistics(steps, camera) for camera in self._cameras}
            rows.append(self._episode_row(number, frames, length, _task(steps), stats[-1]))
            frames += length
        for camera in self._cameras:
            self._write_video(camera)
        features = self._features(tables[0])
        self._write_parquet(DATA.format(chunk_index=0, file_index=0), self._frame_table(tables))
        self._write_parquet(EPISODES, self._pyarrow.Table.from_pylist(rows))
        self._write_tasks()
        self._write_json("meta/stats.json", _pooled(stats))
        self._write_json("meta/info.json", self._info(frames, features))

    def _check_alike(self) -> None:
        first = {name: values.shape[1:] for name, values in self._columns[0].items()}
        for steps, columns in zip(self._episodes, self._columns, strict=True):
            here = {name: values.shape[1:] for name, values in columns.items()}
            if here != first or sorted(steps.observations[0].images) != self._cameras:
                raise RunError(
                    f"{steps.episode.path} holds {here}, {self._episodes[0].episode.path} holds {first}: a dataset is "
                    f"of one robot and one set of cameras. Export them separately."
                )

    def _episode_row(self, number: int, first: int, length: int, task: str, stats: Stats) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [task],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": first,
            "dataset_to_index": first + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for camera in self._cameras:
            row |= {
                f"videos/{_video_key(camera)}/chunk_index": 0,
                f"videos/{_video_key(camera)}/file_index": 0,
                f"videos/{_video_key(camera)}/from_timestamp": first / self._fps,
                f"videos/{_video_key(camera)}/to_timestamp": (first + length) / self._fps,
            }
        return row | {f"stats/{name}/{key}": value for name, found in stats.items() for key, value in found.items()}

    def _features(self, columns: Columns) -> dict[str, Feature]:
        steps = self._episodes[0]
        suffix = "pos" if steps.commands_are_positions else "cmd"
        names = {
            "action": [f"{joint}.{suffix}" for joint in steps.joints],
            "observation.state": [f"{joint}.pos" for joint in steps.joints],
            "observation.velocity": [f"{joint}.vel" for joint in steps.joints],
            "observation.effort": [f"{joint}.effort" for joint in steps.joints],
            "observation.external_torque": [f"{joint}.effort" for joint in steps.joints],
        }
        features: dict[str, Feature] = {
            name: {"dtype": str(values.dtype), "shape": [values.shape[1] if values.ndim > 1 else 1]}
            | {"names": names[name] if name in names and len(names[name]) == values.shape[1] else None}
            for name, values in columns.items()
        }
        for camera in self._cameras:
            height, width, _ = steps.observations[0].images[camera].shape
            features[_video_key(camera)] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": self._video_info(camera),
            }
        return features

    def _video_info(self, camera: str) -> dict[str, Any]:
        with av.open(str(self._video_path(camera))) as video:
            stream = video.streams.video[0]
            return {
                "video.height": stream.height,
                "video.width": stream.width,
                "video.codec": stream.codec_context.name,
                "video.pix_fmt": stream.pix_fmt,
                "video.is_depth_map": False,
                "video.fps": self._fps,
                "video.channels": 3,
                "has_audio": False,
            }

    def _info(self, frames: int, features: Mapping[str, Feature]) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": self._episodes[0].episode.metadata.get("robot"),
            "total_episodes": len(self._episodes),
            "total_frames": frames,
            "total_tasks": len(self._tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": DATA,
            "video_path": VIDEO if self._cameras else None,
            "features": dict(features),
        }

    def _frame_table(self, tables: Sequence[Columns]) -> Any:
        arrays = {}
        for name in tables[0]:
            values = np.concatenate([table[name] for table in tables])
            if values.ndim > 1:
                flat = self._pyarrow.array(values.ravel())
                arrays[name] = self._pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
            else:
                arrays[name] = self._pyarrow.array(values)
        return self._pyarrow.table(arrays)

    def _write_tasks(self) -> None:
        """The tasks as pandas would write them with the task as the index, which is how LeRobot looks them up."""
        table = self._pyarrow.table({"task_index": np.arange(len(self._tasks)), "task": self._tasks})
        kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
        about = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": None}
                for name, (pandas, numpy) in kinds.items()
            ],
            "creator": {"library": "pyarrow", "version": self._pyarrow.__version__},
            "pandas_version": "2.0.0",
        }
        self._write_parquet("meta/tasks.parquet", table.replace_schema_metadata({"pandas": json.dumps(about)}))

    def _write_parquet(self, name: str, table: Any) -> None:
        from pyarrow import parquet

        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, path)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=4) + "\n", "utf-8")

    def _video_path(self, camera: str) -> Path:
        return self._folder / VIDEO.format(video_key=_video_key(camera), chunk_index=0, file_index=0)

    def _write_video(self, camera: str) -> None:
        path = self._video_path(camera)
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width, _ = self._episodes[0].observations[0].images[camera].shape
        with VideoWriter(path, self._fps, (width, height)) as video:
            for steps in self._episodes:
                for observation in steps.observations:
                    video.write(observation.images[camera])


def _columns(steps: Steps) -> Columns:
    """What the frames of an episode hold, as arrays (T,) or (T, n)."""
    state = steps.measured("joint_position")
    if state is None:
        raise RunError(f"{steps.episode.path}: no joint_position was recorded, which is LeRobot's observation.state.")
    columns: Columns = {"action": steps.sent.astype(np.float32), "observation.state": state.astype(np.float32)}
    for name, feature in _OPTIONAL.items():
        values = steps.measured(name) if name != "reward" else _next_reward(steps)
        if values is not None:
            columns[feature] = values.astype(np.float32)
    columns["observation.time"] = steps.times
    return columns


def _next_reward(steps: Steps) -> Array | None:
    """(T,) the reward on arriving after each command; None where none is defined."""
    if steps.measured("reward") is None or steps.last is None:
        return None
    after = [*steps.observations[1:], steps.last]
    return np.array([float(observation.values["reward"]) for observation in after])


def _task(steps: Steps) -> str:
    return steps.episode.metadata.get("task", steps.episode.metadata.get("robot", "unnamed"))


def _video_key(camera: str) -> str:
    return f"observation.images.{camera}"


def _statistics(values: NDArray[Any]) -> dict[str, Any]:
    """Per part of a feature: lowest, highest, mean, deviation and quantiles, and how many frames."""
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {
        "min": table.min(axis=0).tolist(),
        "max": table.max(axis=0).tolist(),
        "mean": table.mean(axis=0).tolist(),
        "std": table.std(axis=0).tolist(),
        "count": [len(table)],
    }
    return found | {key: np.quantile(table, level, axis=0).tolist() for key, level in QUANTILES.items()}


def _picture_statistics(steps: Steps, camera: str) -> dict[str, Any]:
    """Per colour, of values in [0, 1], in LeRobot's shape (3, 1, 1)."""
    chosen = np.unique(np.linspace(0, len(steps.observations) - 1, _PICTURES).round().astype(int))
    pixels = np.concatenate([steps.observations[index].images[camera].reshape(-1, 3) for index in chosen]) / 255.0
    found = {key: [[[part]] for part in value] for key, value in _statistics(pixels).items()}
    return found | {"count": [len(chosen)]}


def _pooled(stats: Sequence[Stats]) -> Stats:
    """Statistics of all episodes from those of each; quantiles are averaged, as LeRobot does."""
    pooled: Stats = {}
    for name in stats[0]:
        parts = [one[name] for one in stats]
        counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
        weights = counts / counts.sum()
        means = np.array([part["mean"] for part in parts])
        squares = np.array([part["std"] for part in parts]) ** 2 + means**2
        mean = np.tensordot(weights, means, 1)
        variance = np.maximum(np.tensordot(weights, squares, 1) - mean**2, 0.0)
        pooled[name] = {
            "min": np.min([part["min"] for part in parts], axis=0).tolist(),
            "max": np.max([part["max"] for part in parts], axis=0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [int(counts.sum())],
        } | {key: np.tensordot(weights, np.array([part[key] for part in parts]), 1).tolist() for key in QUANTILES}
    return pooled
