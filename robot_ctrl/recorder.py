"""Writes an episode to disk as it happens, so that what was learned from can be seen and survives a kill.

One MCAP file per episode (https://mcap.dev), JSON messages with schemas, so that Foxglove and every other
MCAP tool shows it. Numbers are written as the shortest text that reads back as the same float64; what JSON
cannot say is written as the strings "NaN", "Infinity" and "-Infinity", as Protocol Buffers do in JSON.

Messages are gathered into compressed chunks. A chunk goes to the operating system after ``FLUSH_MESSAGES``
messages or ``FLUSH_BYTES`` bytes, and at every event: a process killed at any moment loses less than one
chunk, and a reader gets everything before it.
"""

import base64
import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self, cast

import cv2
import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from hardware.clock import Clock
from hardware.robot import Observation, RobotSpec, SentAction

if TYPE_CHECKING:
    from planners.plan import Plan

Outcome = Literal["finished", "interrupted", "fault"]

FORMAT = "robot-ctrl episode 1"
FLUSH_MESSAGES = 40
FLUSH_BYTES = 256 * 1024

_NUMBER = {"type": "number"}
_NUMBERS = {"type": "array", "items": _NUMBER}
_TEXT = {"type": "string"}
_ACTION = {
    "time": _NUMBER,
    "requested": _NUMBERS,
    "sent": _NUMBERS,
    "action": _NUMBERS,
    "reasons": {
        "type": "array",
        "items": {"type": "object", "properties": {"limit": _TEXT, "joint": _TEXT, "amount": _NUMBER}},
    },
}
_PLAN = {
    "computed_from": {"type": "integer"},
    "computed_at": _NUMBER,
    "cost": _NUMBER,
    "iterations": {"type": "integer"},
    "evaluated": {"type": "integer"},
    "finished": _TEXT,
    "plan_ms": _NUMBER,
    "elite_costs": _NUMBERS,
    "disagreement": _NUMBER,
}
_TICK = {
    "time": _NUMBER,
    "sent": _NUMBERS,
    "joint_position": _NUMBERS,
    "joint_velocity": _NUMBERS,
    "state_age": _NUMBER,
    "plan_age": _NUMBER,
    "late": _NUMBER,
}
_TIMESTAMP = {
    "type": "object",
    "title": "time",
    "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
}
_LOG = {
    "timestamp": _TIMESTAMP,
    "level": {"type": "integer", "description": "1 debug, 2 info, 3 warning, 4 error, 5 fatal"},
    "message": _TEXT,
    "name": _TEXT,
    "file": _TEXT,
    "line": {"type": "integer"},
}
_LEVELS = {"fault": 4, "error": 4}
_WARNING = 3
_COMPRESSED_IMAGE = {
    "timestamp": _TIMESTAMP,
    "frame_id": _TEXT,
    "data": {"type": "string", "contentEncoding": "base64"},
    "format": _TEXT,
}


class RecordingError(OSError):
    """An episode could not be written; what was flushed before is intact and readable."""


class EpisodeWriter:
    """Writes one episode file. Not for use by several threads at once.

    Used as a context manager it closes as "finished", or as "interrupted" where an exception passes through;
    ``close("fault")`` before that wins.
    """

    def __init__(self, path: Path, *, metadata: Mapping[str, str], clock: Clock) -> None:
        """Create the file, with its folder, and write the metadata.

        Args:
            path: the file, ending in ``.mcap``; it must not exist.
            metadata: what a reader should know: task, seed, episode number, names of the state variables.
            clock: gives the log times; its reading at the start is added to the metadata together with the
                wall-clock time.

        Raises:
            FileExistsError: if the file exists; recordings are never overwritten.
            RecordingError: if it cannot be written.
        """
        self.path = path
        self._clock = clock
        self._file = _ChunkFile(path)
        output = cast("IO[bytes]", self._file)
        self._writer: Any = Writer(output, chunk_size=FLUSH_BYTES, compression=CompressionType.ZSTD)
        self._channels: dict[str, int] = {}
        self._log_time = 0
        self._unflushed = 0
        self._unflushed_bytes = 0
        self._closed = False
        self._writer.start()
        anchor = {
            "format": FORMAT,
            "clock_at_start": repr(clock.now()),
            "wall_clock_at_start": datetime.now(UTC).isoformat(),
        }
        self._writer.add_metadata("episode", {**metadata, **anchor})
        try:
            self.flush()
        except RecordingError:
            self._file.close()
            path.unlink()
            raise

    def __enter__(self) -> Self:
        """Use the writer in a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close as "finished", or as "interrupted" after an exception."""
        self.close("finished" if error is None else "interrupted")

    def write_observation(self, observation: Observation) -> None:
        """Record what was read; pictures are kept losslessly, as PNG.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        for camera, image in observation.images.items():
            self._write_image(camera, image, observation)
        values = {name: np.asarray(value, np.float64) for name, value in observation.values.items()}
        if "/observation" not in self._channels:
            self._add_channel("/observation", "Observation", _observation_schema(values, observation))
        message = {
            "sequence": observation.sequence,
            "values": {name: value.tolist() for name, value in values.items()},
            "read_start": dict(observation.read_start),
            "read_end": dict(observation.read_end),
            "images": list(observation.images),
        }
        self._write("/observation", message, observation.sequence)

    def write_action(self, sent: SentAction, scaled: NDArray[np.floating[Any]]) -> None:
        """Record a command, and the planner's action (nu,) in [-1, 1] that led to it.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        if "/action" not in self._channels:
            self._add_channel("/action", "Action", _ACTION)
        message = {
            "time": sent.time,
            "requested": sent.requested.tolist(),
            "sent": sent.sent.tolist(),
            "action": scaled.tolist(),
            "reasons": [{"limit": limit, "joint": joint, "amount": amount} for limit, joint, amount in sent.reasons],
        }
        self._write("/action", message)

    def write_plan(self, plan: "Plan", *, plan_ms: float, disagreement: float | None = None) -> None:
        """Record how planning went: not the actions, but the effort, the cost and the model's doubt.

        Args:
            plan: the plan.
            plan_ms: how long planning took, ms.
            disagreement: of the ensemble along the plan, where it was computed.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        if "/plan" not in self._channels:
            self._add_channel("/plan", "Plan", _PLAN)
        message = {
            "computed_from": plan.computed_from,
            "computed_at": plan.computed_at,
            "cost": plan.cost,
            "iterations": plan.iterations,
            "evaluated": plan.evaluated,
            "finished": plan.finished,
            "plan_ms": plan_ms,
            "elite_costs": list(plan.elite_costs),
            "disagreement": disagreement,
        }
        self._write("/plan", message)

    def write_tick(self, tick: Mapping[str, Any]) -> None:
        """Record one tick of a control loop that is faster than the steps a model learns from.

        Args:
            tick: ``time`` (s on the loop's clock), ``sent`` (nu), ``joint_position`` (nu), ``joint_velocity`` (nu),
                ``state_age`` (s), ``plan_age`` (s) and ``late`` (s after the tick was due); None for what was not
                there.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        if "/control" not in self._channels:
            self._add_channel("/control", "ControlTick", _TICK)
        self._write("/control", tick)

    def write_event(self, kind: str, text: str) -> None:
        """Record something out of the ordinary (a fault, a missed deadline) and flush at once.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        if "/event" not in self._channels:
            self._add_channel("/event", "foxglove.Log", _LOG)
        message = {
            "timestamp": _timestamp(self._clock.now()),
            "level": _LEVELS.get(kind, _WARNING),
            "message": text,
            "name": kind,
            "file": "",
            "line": 0,
        }
        self._write("/event", message)
        self.flush()

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system: from here on a kill does not lose it.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        self._writer.flush()
        self._unflushed = 0
        self._unflushed_bytes = 0

    def close(self, outcome: Outcome) -> None:
        """Write how the episode ended and close the file; only the first call counts.

        After a ``RecordingError`` nothing more is written, and a reader finds the episode unfinished.

        Raises:
            RecordingError: if the disk is full or fails.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._file.failed:
                self.flush()
                self._writer.add_metadata("outcome", {"outcome": outcome})
                self._writer.finish()
                self._file.flush()
                self._file.sync()
        finally:
            self._file.close()

    def _write_image(self, camera: str, image: NDArray[np.uint8], observation: Observation) -> None:
        topic = f"/camera/{camera}"
        if topic not in self._channels:
            self._add_channel(topic, "foxglove.CompressedImage", _COMPRESSED_IMAGE)
        encoded, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not encoded:
            raise ValueError(f"camera {camera!r}: a picture of shape {image.shape} cannot be written as PNG")
        message = {
            "timestamp": _timestamp(observation.read_start.get(camera, self._clock.now())),
            "frame_id": camera,
            "data": base64.b64encode(png.tobytes()).decode("ascii"),
            "format": "png",
        }
        self._write(topic, message, observation.sequence)

    def _add_channel(self, topic: str, schema: str, properties: Mapping[str, Any]) -> None:
        text = json.dumps({"title": schema, "type": "object", "properties": properties})
        schema_id = self._writer.register_schema(schema, "jsonschema", text.encode())
        self._channels[topic] = self._writer.register_channel(topic, "json", schema_id)

    def _write(self, topic: str, message: Mapping[str, Any], sequence: int = 0) -> None:
        if self._closed:
            raise ValueError(f"{self.path}: the episode is closed; start a new EpisodeWriter to record more")
        if self._file.failed:
            raise RecordingError(f"{self.path}: recording stopped at an earlier error; start a new episode")
        data = _to_json(message)
        self._log_time = max(self._log_time, _nanoseconds(self._clock.now()))
        self._writer.add_message(self._channels[topic], self._log_time, data, self._log_time, sequence)
        self._unflushed += 1
        self._unflushed_bytes += len(data)
        if self._unflushed >= FLUSH_MESSAGES or self._unflushed_bytes >= FLUSH_BYTES:
            self.flush()


class _ChunkFile:
    """A file that is written in whole flushes: one that fails half-way is taken back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError as error:
            raise FileExistsError(
                f"{path} exists, and recordings are never overwritten. Record under another name."
            ) from error
        self._pending = bytearray()
        self._written = 0
        self.failed = False

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def tell(self) -> int:
        return self._written + len(self._pending)

    def flush(self) -> None:
        remaining = bytes(self._pending)
        try:
            while remaining:
                remaining = remaining[os.write(self._descriptor, remaining) :]
        except OSError as error:
            self.failed = True
            with contextlib.suppress(OSError):  # readers step over a torn chunk, but a clean end is better
                os.ftruncate(self._descriptor, self._written)
            raise self._explained(error) from error
        self._written += len(self._pending)
        self._pending.clear()

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _explained(self, error: OSError) -> RecordingError:
        kept = f"The {self._written} bytes before it are kept and readable."
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return RecordingError(error.errno, f"{self._path}: cannot be written: {error.strerror}. {kept}")
        free = shutil.disk_usage(self._path.parent).free
        return RecordingError(
            error.errno,
            f"{self._path}: the disk is full: the next {len(self._pending)} bytes need room and {free} are "
            f"free. {kept} Free some space, or put run_dir on another disk, then resume the run.",
        )


def about_robot(spec: RobotSpec) -> dict[str, str]:
    """What a recording's metadata says about its robot: whose numbers are recorded, in which order."""
    return {
        "robot": spec.name,
        "joints": ",".join(joint.name for joint in spec.joints),
        "command_mode": spec.command_mode,
        "control_rate": repr(spec.control_rate),
    }


def _observation_schema(values: Mapping[str, NDArray[Any]], observation: Observation) -> dict[str, Any]:
    def numbers(depth: int) -> dict[str, Any]:
        return {"type": "array", "items": numbers(depth - 1)} if depth else _NUMBER

    return {
        "sequence": {"type": "integer"},
        "values": {
            "type": "object",
            "properties": {name: numbers(value.ndim) for name, value in values.items()},
        },
        "read_start": {"type": "object", "properties": dict.fromkeys(observation.read_start, _NUMBER)},
        "read_end": {"type": "object", "properties": dict.fromkeys(observation.read_end, _NUMBER)},
        "images": {"type": "array", "items": _TEXT},
    }


_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def _to_json(message: Mapping[str, Any]) -> bytes:
    try:
        return _encode(message).encode()
    except ValueError:  # a NaN or an infinity, which are too rare to look for beforehand
        return _encode(_spelled_out(message)).encode()


def _spelled_out(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _spelled_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled_out(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _timestamp(seconds: float) -> dict[str, int]:
    whole, rest = divmod(_nanoseconds(seconds), 10**9)
    return {"sec": whole, "nsec": rest}


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
