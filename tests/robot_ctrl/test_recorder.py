"""The writer: what it puts on disk, when, and what is left when the process or the disk gives up."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from hardware.clock import VirtualClock
from hardware.robot import JointSpec, Observation, RobotSpec, SentAction
from planners.plan import Plan
from robot_ctrl.episodes import read_episode
from robot_ctrl.recorder import FLUSH_MESSAGES, EpisodeWriter, RecordingError, about_robot

EXTREMES = [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]
AWKWARD = [0.1, 1 / 3, 1e16, -1e22, 123456789.123456789, 9007199254740993.0, np.pi]


def same_bits(left, right):
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return left.shape == right.shape and np.array_equal(
        np.where(np.isnan(left), 0, left).view(np.int64), np.where(np.isnan(right), 0, right).view(np.int64)
    )


def observation(sequence, **values):
    time = 0.02 * sequence
    return Observation(sequence, values, {}, {"joints": time}, {"joints": time + 0.001})


def action(value=0.5, time=0.0):
    return SentAction(np.array([value, 2.0]), np.array([0.25, 2.0]), (("velocity", "elbow", 0.25),), time)


def test_everything_comes_back_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**64, 500, dtype=np.uint64).view(np.float64)
    values = {
        "extremes": np.array(EXTREMES),
        "awkward": np.array(AWKWARD),
        "any": bits,
        "scalar": np.array(0.1),
        "single": np.array([0.1, -3e38], np.float32),
        "terminated": np.array(True),
        "matrix": random.normal(size=(3, 4)),
        "empty": np.zeros(0),
    }
    sent = SentAction(np.array([np.nan, 0.1]), np.array([-0.0, 1 / 3]), (("finite", "elbow", np.inf),), 0.7)
    plan = Plan(0.0, 0.02, np.zeros((5, 2), np.float32), np.zeros(2, np.float32), cost=float("inf"))
    with EpisodeWriter(tmp_path / "e.mcap", metadata={"task": "reach"}, clock=VirtualClock(3.5)) as writer:
        writer.write_observation(Observation(7, values, {}, {"joints": 0.1}, {"joints": np.inf}))
        writer.write_action(sent, np.array([0.1, -1.0], np.float32))
        writer.write_plan(plan, plan_ms=1.25)
        writer.write_plan(
            Plan(
                0.0,
                0.02,
                np.zeros((5, 2), np.float32),
                np.zeros(2, np.float32),
                cost=0.1,
                iterations=2,
                evaluated=128,
                finished="iterations",
                computed_from=7,
                computed_at=0.3,
                elite_costs=(float("nan"), 0.1),
            ),
            plan_ms=12.5,
            disagreement=0.25,
        )
        writer.write_event("fault", "the elbow is overloaded: ürgent")

    episode = read_episode(tmp_path / "e.mcap")
    assert not episode.truncated
    assert episode.outcome == "finished"
    assert episode.metadata["task"] == "reach"
    [read] = episode.observations
    assert read.sequence == 7
    assert set(read.values) == set(values)
    for name, value in values.items():
        assert same_bits(read.values[name], value), name
        assert read.values[name].dtype == np.float64
    assert read.read_start == {"joints": 0.1}
    assert read.read_end == {"joints": np.inf}
    [command] = episode.actions
    assert same_bits(command.requested, sent.requested)
    assert same_bits(command.sent, sent.sent)
    assert same_bits(command.scaled, np.array([0.1, -1.0], np.float32))
    assert command.reasons == sent.reasons
    assert command.time == 0.7
    fallback, planned = episode.plans
    assert fallback.cost == np.inf
    assert fallback.disagreement is None
    assert np.isnan(fallback.computed_at)
    assert (planned.cost, planned.iterations, planned.evaluated, planned.finished) == (
        0.1,
        2,
        128,
        "iterations",
    )
    assert (planned.computed_from, planned.computed_at, planned.plan_ms) == (7, 0.3, 12.5)
    assert np.isnan(planned.elite_costs[0])
    assert planned.elite_costs[1:] == (0.1,)
    assert planned.disagreement == 0.25
    [event] = episode.events
    assert (event.time, event.kind, event.text) == (3.5, "fault", "the elbow is overloaded: ürgent")


def test_events_are_logs_that_viewers_show(tmp_path):
    clock = VirtualClock()
    clock.advance(3.25)
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=clock) as writer:
        writer.write_event("fault", "stuck")
        writer.write_event("trouble", "one packet was lost")
    with (tmp_path / "e.mcap").open("rb") as file:
        read = [(schema, json.loads(message.data)) for schema, _, message in make_reader(file).iter_messages("/event")]
    assert {(schema.name, schema.encoding) for schema, _ in read} == {("foxglove.Log", "jsonschema")}
    assert [message for _, message in read] == [
        {
            "timestamp": {"sec": 3, "nsec": 250000000},
            "level": level,
            "message": text,
            "name": kind,
            "file": "",
            "line": 0,
        }
        for level, kind, text in ((4, "fault", "stuck"), (3, "trouble", "one packet was lost"))
    ]
    assert set(json.loads(read[0][0].data)["properties"]) == set(read[0][1])


def test_control_ticks_are_read_back(tmp_path):
    tick = {"time": 1.5, "sent": [0.1, 0.2], "joint_position": [0.0, float("nan")], "joint_velocity": None}
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock()) as writer:
        writer.write_tick(tick | {"state_age": None, "plan_age": 0.04, "late": 0.001})
    [read] = read_episode(tmp_path / "e.mcap").ticks
    assert same_bits(read.sent, [0.1, 0.2])
    assert same_bits(read.joint_position, [0.0, np.nan])
    assert read.joint_velocity is None
    assert (read.time, read.state_age, read.plan_age, read.late) == (1.5, None, 0.04, 0.001)


def test_a_recording_names_its_robot_and_joints(tmp_path):
    spec = RobotSpec("two", (JointSpec("shoulder"), JointSpec("elbow")), "position", 50.0)
    with EpisodeWriter(tmp_path / "e.mcap", metadata=about_robot(spec), clock=VirtualClock()) as writer:
        writer.write_event("info", "nothing happened")
    metadata = read_episode(tmp_path / "e.mcap").metadata
    assert (metadata["robot"], metadata["joints"], metadata["command_mode"]) == ("two", "shoulder,elbow", "position")


def test_pictures_are_lossless_and_belong_to_their_observation(tmp_path):
    random = np.random.default_rng(1)
    pictures = [
        {
            "wrist": random.integers(0, 256, (9, 7, 3), np.uint8),
            "top": random.integers(0, 256, (4, 5, 3), np.uint8),
        },
        {},
        {"wrist": random.integers(0, 256, (9, 7, 3), np.uint8)},
    ]
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock()) as writer:
        for sequence, images in enumerate(pictures):
            writer.write_observation(Observation(sequence, {"q": np.zeros(1)}, images, {"wrist": 1.25}))
    observations = read_episode(tmp_path / "e.mcap").observations
    for expected, read in zip(pictures, observations, strict=True):
        assert set(read.images) == set(expected)
        for camera, image in expected.items():
            np.testing.assert_array_equal(read.images[camera], image)
    with (tmp_path / "e.mcap").open("rb") as file:
        messages = list(make_reader(file).iter_messages(topics=["/camera/wrist"]))
    assert len(messages) == 2
    for schema, channel, message in messages:
        assert (schema.name, schema.encoding) == ("foxglove.CompressedImage", "jsonschema")
        assert channel.message_encoding == "json"
        picture = json.loads(message.data)
        assert set(picture) == {"timestamp", "frame_id", "data", "format"}
        assert picture["timestamp"] == {"sec": 1, "nsec": 250_000_000}
        assert (picture["frame_id"], picture["format"]) == ("wrist", "png")


def test_messages_are_strict_json_with_schemas_that_name_every_value(tmp_path):
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock()) as writer:
        writer.write_observation(observation(0, qpos=np.array([np.nan, -np.inf]), reward=np.array(1.0)))
        writer.write_action(action(np.nan), np.zeros(2))

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    with (tmp_path / "e.mcap").open("rb") as file:
        messages = {channel.topic: (schema, message) for schema, channel, message in make_reader(file).iter_messages()}
    schema, message = messages["/observation"]
    assert json.loads(message.data, parse_constant=refuse)["values"] == {
        "qpos": ["NaN", "-Infinity"],
        "reward": 1.0,
    }
    assert json.loads(messages["/action"][1].data)["reasons"] == [
        {"limit": "velocity", "joint": "elbow", "amount": 0.25}
    ]
    properties = json.loads(schema.data)["properties"]["values"]["properties"]
    assert properties["qpos"] == {"type": "array", "items": {"type": "number"}}
    assert properties["reward"] == {"type": "number"}
    schema, message = messages["/action"]
    assert set(json.loads(message.data, parse_constant=refuse)) == set(json.loads(schema.data)["properties"])


def test_log_times_are_the_clocks_and_never_go_back(tmp_path):
    class Unsteady:
        def __init__(self):
            self.times = iter([10.0, 10.0, 10.5, 10.25, 11.0])

        def now(self):
            return next(self.times)

    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=Unsteady()) as writer:
        for sequence in range(4):
            writer.write_observation(observation(sequence, q=np.zeros(1)))
    with (tmp_path / "e.mcap").open("rb") as file:
        times = [message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=False)]
    assert times == [10_000_000_000, 10_500_000_000, 10_500_000_000, 11_000_000_000]
    metadata = read_episode(tmp_path / "e.mcap").metadata
    assert float(metadata["clock_at_start"]) == 10.0
    assert metadata["wall_clock_at_start"].endswith("+00:00")


@pytest.mark.parametrize("outcome", ["finished", "interrupted", "fault"])
def test_the_outcome_is_recorded_once(tmp_path, outcome):
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock()) as writer:
        writer.write_observation(observation(0, q=np.zeros(1)))
        writer.close(outcome)
        with pytest.raises(ValueError, match="closed"):
            writer.write_observation(observation(1, q=np.zeros(1)))
        writer.close("finished")
    episode = read_episode(tmp_path / "e.mcap")
    assert episode.outcome == outcome
    assert len(episode.observations) == 1


def test_an_exception_closes_the_episode_as_interrupted(tmp_path):
    def drive():
        with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock()) as writer:
            writer.write_observation(observation(0, q=np.zeros(1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    episode = read_episode(tmp_path / "e.mcap")
    assert episode.outcome == "interrupted"
    assert not episode.truncated


def test_recordings_are_never_overwritten(tmp_path):
    path = tmp_path / "episodes" / "e.mcap"
    EpisodeWriter(path, metadata={"n": "first"}, clock=VirtualClock()).close("finished")
    with pytest.raises(FileExistsError, match=r"e\.mcap.*another name"):
        EpisodeWriter(path, metadata={"n": "second"}, clock=VirtualClock())
    assert read_episode(path).metadata["n"] == "first"


WRITE_FOREVER = """
import sys
from pathlib import Path
import numpy as np
from hardware.clock import MonotonicClock
from hardware.robot import JointSpec, Observation, RobotSpec, SentAction
from robot_ctrl.recorder import EpisodeWriter
writer = EpisodeWriter(Path(sys.argv[1]), metadata={"task": "reach"}, clock=MonotonicClock())
step = 0
while True:
    writer.write_observation(Observation(step, {"q": np.full(20, step / 3)}))
    writer.write_action(SentAction(np.zeros(6), np.zeros(6), (), step * 0.01), np.zeros(6))
    step += 1
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_less_than_one_flush_interval(tmp_path):
    path = tmp_path / "e.mcap"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    while int(process.stdout.readline()) < 333:
        pass
    process.send_signal(signal.SIGKILL)
    written = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    transitions = written[-1] if written else 333
    episode = read_episode(path)
    assert episode.outcome == "unfinished"
    assert episode.truncated
    assert episode.metadata["task"] == "reach"
    assert transitions - FLUSH_MESSAGES / 2 <= len(episode.actions) <= transitions + 1
    assert FLUSH_MESSAGES / 2 <= 20
    for step, read in enumerate(episode.observations):
        assert read.sequence == step
        np.testing.assert_array_equal(read.values["q"], np.full(20, step / 3))


def test_an_event_is_on_disk_at_once(tmp_path):
    writer = EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock())
    writer.write_observation(observation(0, q=np.zeros(1)))
    assert read_episode(tmp_path / "e.mcap").observations == []
    writer.write_event("fault", "stuck")
    episode = read_episode(tmp_path / "e.mcap")
    assert [event.text for event in episode.events] == ["stuck"]
    assert len(episode.observations) == 1
    writer.close("fault")


def test_large_messages_do_not_wait_for_the_message_count(tmp_path):
    writer = EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock())
    noise = np.random.default_rng(0).normal(size=20_000)
    writer.write_observation(observation(0, q=noise))
    assert len(read_episode(tmp_path / "e.mcap").observations) == 1
    writer.close("finished")


@pytest.fixture
def small_disk(monkeypatch):
    """Makes ``os.write`` fail once so many bytes are written, part of a write first, as disks do."""
    room = {"left": 0, "code": errno.ENOSPC}
    write = os.write

    def limited(descriptor, data):
        if room["left"] <= 0:
            raise OSError(room["code"], os.strerror(room["code"]))
        written = write(descriptor, bytes(data)[: room["left"]])
        room["left"] -= written
        return written

    monkeypatch.setattr("robot_ctrl.recorder.os.write", limited)
    return room


@pytest.mark.parametrize("room", [600, 12_000, 40_001])
def test_a_full_disk_is_explained_and_leaves_a_readable_episode(tmp_path, small_disk, room):
    small_disk["left"] = room
    path = tmp_path / "e.mcap"
    random = np.random.default_rng(0)

    def drive():
        with EpisodeWriter(path, metadata={"task": "reach"}, clock=VirtualClock()) as writer:
            for sequence in range(10_000):
                writer.write_observation(observation(sequence, q=random.normal(size=20)))

    with pytest.raises(RecordingError, match=r"e\.mcap: the disk is full: .*bytes need room.*Free some") as raised:
        drive()
    assert raised.value.errno == errno.ENOSPC
    assert path.stat().st_size <= room
    episode = read_episode(path)
    assert episode.outcome == "unfinished"
    assert episode.truncated
    assert episode.bytes_lost == 0
    assert len(episode.observations) % FLUSH_MESSAGES == 0
    assert (len(episode.observations) > 0) == (room > 600)


def test_a_disk_that_is_full_from_the_start_leaves_no_file(tmp_path, small_disk):
    small_disk["left"] = 60
    with pytest.raises(RecordingError, match="the disk is full"):
        EpisodeWriter(tmp_path / "e.mcap", metadata={"task": "reach"}, clock=VirtualClock())
    assert list(tmp_path.iterdir()) == []


def test_after_a_full_disk_nothing_more_is_written(tmp_path, small_disk):
    small_disk["left"] = 5_000
    writer = EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock())

    def fill():
        for sequence in range(10_000):
            writer.write_observation(observation(sequence, q=np.random.default_rng(sequence).normal(size=20)))

    with pytest.raises(RecordingError):
        fill()
    size = (tmp_path / "e.mcap").stat().st_size
    small_disk["left"] = 10**9
    with pytest.raises(RecordingError, match="earlier error"):
        writer.write_observation(observation(0, q=np.zeros(20)))
    writer.close("finished")
    assert (tmp_path / "e.mcap").stat().st_size == size
    assert read_episode(tmp_path / "e.mcap").outcome == "unfinished"


def test_a_broken_disk_is_not_called_a_full_one(tmp_path, small_disk):
    small_disk.update(left=5_000, code=errno.EIO)
    writer = EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=VirtualClock())
    with pytest.raises(RecordingError, match="cannot be written: Input/output error"):
        writer.write_observation(observation(0, q=np.random.default_rng(0).normal(size=50_000)))
    writer.close("fault")
