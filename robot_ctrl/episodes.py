"""Reads episode files back, whole or damaged, and repairs them."""

import base64
import filecmp
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

import cv2
import numpy as np
from mcap.records import Channel, Chunk, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC, CompressionType, Writer
from numpy.typing import NDArray

from hardware.robot import Array, Observation, SentAction
from robot_ctrl.recorder import FLUSH_BYTES, FORMAT, Outcome

RecordedOutcome = Outcome | Literal["unfinished"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedAction(SentAction):
    """A command, and the planner's action that led to it.

    Attributes:
        scaled: (nu,) the planner's action in [-1, 1].
    """

    scaled: Array


@dataclass(frozen=True)
class RecordedPlan:
    """How one planning went.

    Attributes:
        computed_from: sequence number of the observation planned from.
        computed_at: when planning ended, seconds on the loop's clock.
        cost: the plan's cost; infinite for a fallback.
        iterations: refinements done.
        evaluated: candidate sequences costed.
        finished: why planning ended.
        plan_ms: how long planning took, ms.
        elite_costs: (iterations,) mean cost of the elites after each refinement.
        disagreement: of the ensemble along the plan; None where it was not computed.
    """

    computed_from: int
    computed_at: float
    cost: float
    iterations: int
    evaluated: int
    finished: str
    plan_ms: float
    elite_costs: tuple[float, ...]
    disagreement: float | None


@dataclass(frozen=True)
class RecordedEvent:
    """Something out of the ordinary: when (seconds on the loop's clock), of which kind, in words."""

    time: float
    kind: str
    text: str


@dataclass(frozen=True)
class RecordedTick:
    """One tick of a control loop that is faster than the steps a model learns from; None for what was not there.

    Attributes:
        time: when it began, seconds on the loop's clock.
        sent: (nu,) the command.
        joint_position: (nu,) rad.
        joint_velocity: (nu,) rad/s.
        state_age: of what was read, when the command was sent, s.
        plan_age: of the plan that was followed, s.
        late: seconds after it was due.
    """

    time: float
    sent: Array | None
    joint_position: Array | None
    joint_velocity: Array | None
    state_age: float | None
    plan_age: float | None
    late: float | None


@dataclass(frozen=True)
class Episode:
    """What was recorded of one episode.

    Attributes:
        path: the file.
        metadata: what was said at the start; ``clock_at_start`` and ``wall_clock_at_start`` tie the
            two clocks together.
        observations: in the order in which they were read.
        actions: in the order in which they were sent.
        plans: in the order in which they were made.
        events: in the order in which they happened.
        ticks: of the control loop, in their order; none where it is as fast as the steps.
        outcome: how the episode ended; "unfinished" where the recording stopped before it could say.
        truncated: whether the file lacks its proper end.
        bytes_lost: bytes at the end of the file that could not be read.
    """

    path: Path
    metadata: Mapping[str, str]
    observations: list[Observation]
    actions: list[RecordedAction]
    plans: list[RecordedPlan]
    events: list[RecordedEvent]
    ticks: list[RecordedTick]
    outcome: RecordedOutcome
    truncated: bool
    bytes_lost: int


def read_episode(path: Path) -> Episode:
    """Read an episode file; of a damaged one, everything before the damage, with a warning in the log.

    An episode that is still being written can be read too: everything up to its last flush.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an episode file.
    """
    contents = _salvage(path)
    metadata, outcome = _about(contents)
    channels: dict[int, str] = {}
    observations: list[Observation] = []
    actions: list[RecordedAction] = []
    plans: list[RecordedPlan] = []
    events: list[RecordedEvent] = []
    ticks: list[RecordedTick] = []
    pictures: dict[str, str] = {}
    for record in contents.records:
        if isinstance(record, Channel):
            channels[record.id] = record.topic
        elif isinstance(record, Message):
            topic = channels.get(record.channel_id, "")
            message = json.loads(record.data)
            if topic.startswith("/camera/"):
                pictures[message["frame_id"]] = message["data"]
            elif topic == "/observation":
                observations.append(_observation(message, pictures))
            elif topic == "/action":
                actions.append(_action(message))
            elif topic == "/plan":
                plans.append(_plan(message))
            elif topic == "/control":
                ticks.append(_tick(message))
            elif topic == "/event":
                events.append(RecordedEvent(record.log_time * 1e-9, message["name"], message["message"]))
    truncated = contents.bytes_lost > 0 or not contents.complete
    if truncated:
        _log.log(
            logging.WARNING if contents.bytes_lost else logging.DEBUG,
            "%s: the recording has no proper end; the last %d of %d bytes could not be read. Kept: "
            "%d observations, %d actions, %d plans, %d events.",
            path,
            contents.bytes_lost,
            contents.size,
            len(observations),
            len(actions),
            len(plans),
            len(events),
        )
    lost = contents.bytes_lost
    return Episode(path, metadata, observations, actions, plans, events, ticks, outcome, truncated, lost)


def recover_episode(path: Path) -> Path | None:
    """Make a damaged episode file whole again, for tools that insist on a proper end.

    The file is replaced in one step by one with everything that could be read; the original stays beside it,
    byte for byte, with ``.damaged`` added to its name.

    Returns:
        Where the original is kept, or None if the file was whole and nothing was done.

    Raises:
        FileNotFoundError: if there is no such file.
        FileExistsError: if another original is already kept under that name.
        ValueError: if the file is not an episode file, or was cut before anything was recorded.
    """
    contents = _salvage(path)
    if contents.complete and contents.bytes_lost == 0:
        return None
    metadata, _ = _about(contents)
    if not metadata:
        raise ValueError(f"{path}: nothing to recover: the recording was cut before its beginning. Delete it.")
    backup = path.with_name(path.name + ".damaged")
    if not backup.exists():
        copy = path.with_name(path.name + ".damaged.tmp")
        shutil.copy2(path, copy)
        os.replace(copy, backup)
    elif not filecmp.cmp(path, backup, shallow=False):
        raise FileExistsError(f"{backup} keeps the original of an earlier recovery; move it away and try again")
    repaired = path.with_name(path.name + ".tmp")
    with repaired.open("wb") as file:
        _rewrite(contents, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(repaired, path)
    return backup


@dataclass(frozen=True)
class _Contents:
    """The readable records of a file, and how much of it was not."""

    path: Path
    records: list[McapRecord]
    size: int
    bytes_lost: int
    complete: bool


def _salvage(path: Path) -> _Contents:
    data = path.read_bytes()
    if not data.startswith(MCAP0_MAGIC) and not MCAP0_MAGIC.startswith(data):
        raise ValueError(
            f"{path}: not an MCAP file: it starts with {data[:8]!r}, not with {MCAP0_MAGIC!r}. "
            f"Episodes of a run are in its folder episodes/."
        )
    stream = BytesIO(data)
    records: list[McapRecord] = []
    good = len(MCAP0_MAGIC) if data.startswith(MCAP0_MAGIC) else 0
    complete = False
    try:
        for record in StreamReader(stream, emit_chunks=True).records:
            length = int.from_bytes(data[good + 1 : good + 9], "little")
            if good + 9 + length != stream.tell():
                raise ValueError("the parser stepped over a record that no episode has")
            records += breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
            good = stream.tell()
        good = stream.tell()
        complete = True
    except Exception as error:  # damaged bytes can raise anything in the parser and the decompressor
        _log.debug("%s: reading stopped at byte %d: %r", path, good, error)
    return _Contents(path, records, len(data), len(data) - good, complete)


def _about(contents: _Contents) -> tuple[dict[str, str], RecordedOutcome]:
    """The metadata and the outcome; refuses files that are not episodes."""
    metadata: dict[str, str] = {}
    outcome: str | None = None
    for record in contents.records:
        if isinstance(record, Metadata) and record.name == "episode":
            metadata.update(record.metadata)
        elif isinstance(record, Metadata) and record.name == "outcome":
            outcome = record.metadata.get("outcome")
    cut_at_once = not contents.complete and len(contents.records) <= 1
    if metadata.get("format") != FORMAT and not cut_at_once:
        raise ValueError(
            f"{contents.path}: an MCAP file, but not an episode: its format is {metadata.get('format')!r}, "
            f"and {FORMAT!r} can be read. Episodes are written by robot_ctrl.recorder.EpisodeWriter."
        )
    for known in get_args(Outcome):
        if outcome == known:
            return metadata, known
    return metadata, "unfinished"


def _rewrite(contents: _Contents, file: IO[bytes]) -> None:
    """Write the records again, with a proper end; what the episode said about itself is not changed."""
    writer: Any = Writer(file, chunk_size=FLUSH_BYTES, compression=CompressionType.ZSTD)
    schemas: dict[int, int] = {0: 0}
    channels: dict[int, int] = {}
    writer.start()
    for record in contents.records:
        if isinstance(record, Schema) and record.id not in schemas:
            schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
        elif isinstance(record, Channel) and record.id not in channels:
            channels[record.id] = writer.register_channel(
                record.topic, record.message_encoding, schemas[record.schema_id], record.metadata
            )
        elif isinstance(record, Message):
            writer.add_message(
                channels[record.channel_id],
                record.log_time,
                record.data,
                record.publish_time,
                record.sequence,
            )
        elif isinstance(record, Metadata):
            writer.add_metadata(record.name, record.metadata)
    writer.add_metadata("episode", {"recovered_bytes_lost": str(contents.bytes_lost)})
    writer.finish()


class _Pictures(Mapping[str, NDArray[np.uint8]]):
    """Pictures by camera, decoded when they are asked for: an episode of them would not fit in memory."""

    def __init__(self, encoded: Mapping[str, str]) -> None:
        self._encoded = encoded

    def __getitem__(self, camera: str) -> NDArray[np.uint8]:
        png = np.frombuffer(base64.b64decode(self._encoded[camera]), np.uint8)
        decoded = cv2.imdecode(png, cv2.IMREAD_COLOR)
        if decoded is None:
            raise ValueError(f"the recorded picture of camera {camera!r} is not a PNG that can be decoded")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


def _observation(message: Mapping[str, Any], pictures: Mapping[str, str]) -> Observation:
    return Observation(
        sequence=message["sequence"],
        values={name: _array(value) for name, value in message["values"].items()},
        images=_Pictures({camera: pictures[camera] for camera in message["images"]}),
        read_start={source: float(time) for source, time in message["read_start"].items()},
        read_end={source: float(time) for source, time in message["read_end"].items()},
    )


def _action(message: Mapping[str, Any]) -> RecordedAction:
    return RecordedAction(
        requested=_array(message["requested"]),
        sent=_array(message["sent"]),
        reasons=tuple((why["limit"], why["joint"], float(why["amount"])) for why in message["reasons"]),
        time=float(message["time"]),
        scaled=_array(message["action"]),
    )


def _plan(message: Mapping[str, Any]) -> RecordedPlan:
    disagreement = message["disagreement"]
    return RecordedPlan(
        computed_from=message["computed_from"],
        computed_at=float(message["computed_at"]),
        cost=float(message["cost"]),
        iterations=message["iterations"],
        evaluated=message["evaluated"],
        finished=message["finished"],
        plan_ms=float(message["plan_ms"]),
        elite_costs=tuple(float(cost) for cost in message["elite_costs"]),
        disagreement=None if disagreement is None else float(disagreement),
    )


def _tick(message: Mapping[str, Any]) -> RecordedTick:
    def array(name: str) -> Array | None:
        return None if message.get(name) is None else _array(message[name])

    def number(name: str) -> float | None:
        return None if message.get(name) is None else float(message[name])

    return RecordedTick(
        time=float(message["time"]),
        sent=array("sent"),
        joint_position=array("joint_position"),
        joint_velocity=array("joint_velocity"),
        state_age=number("state_age"),
        plan_age=number("plan_age"),
        late=number("late"),
    )


def _array(value: Any) -> Array:
    """Numbers as they were recorded; the strings NaN, Infinity and -Infinity are numbers too."""
    return np.array(value, dtype=np.float64)
