"""What is exported is what was recorded: csv everywhere; LeRobot and Rerun where their packages are installed."""

import csv
import json
import sys
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from two_links import picture, record, two_links

from hardware.clock import VirtualClock
from hardware.robot import Observation, SentAction
from robot_ctrl.errors import RunError
from robot_ctrl.export import export
from robot_ctrl.recorder import EpisodeWriter
from robot_ctrl.steps import read_steps


@pytest.fixture
def run(tmp_path):
    """Two episodes with a camera; in the second a command was cut short."""
    (tmp_path / "episodes").mkdir()
    record(tmp_path / "episodes/episode_00000.mcap", two_links(tmp_path), steps=12, camera=True)
    record(tmp_path / "episodes/episode_00001.mcap", two_links(tmp_path), steps=15, camera=True, greedy=True)
    return tmp_path


def steps_of(run, number):
    return read_steps(run / f"episodes/episode_{number:05d}.mcap")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_row_is_a_command_and_what_was_read_before_it(run):
    path = export(run, "csv")
    assert path == run / "episodes.csv"
    rows = rows_of(path)
    assert len(rows) == 13 + 16
    steps = steps_of(run, 1)
    row = rows[13 + 7]
    assert (row["episode"], row["file"], row["step"]) == ("1", "episode_00001.mcap", "7")
    assert float(row["time"]) == steps.times[7]
    assert [float(row[f"sent.{joint}"]) for joint in ("shoulder", "elbow")] == steps.sent[7].tolist()
    assert [float(row[f"requested.{joint}"]) for joint in ("shoulder", "elbow")] == steps.requested[7].tolist()
    assert [float(row[f"action.{n}"]) for n in range(2)] == steps.commands[7].scaled.tolist()
    read = steps.observations[7].values
    assert [float(row[f"joint_position.{joint}"]) for joint in ("shoulder", "elbow")] == read["joint_position"].tolist()
    assert [float(row[f"qvel.{n}"]) for n in range(2)] == read["qvel"].tolist()
    limited = [row for row in rows[13:] if row["limits"]]
    assert len(limited) == 1
    assert limited[0]["step"] == "5"
    assert "velocity shoulder" in limited[0]["limits"]


def test_the_last_csv_row_is_what_the_last_command_led_to(run):
    row = rows_of(export(run, "csv", number=0))[-1]
    steps = steps_of(run, 0)
    assert (row["step"], row["time"], row["sent.elbow"], row["limits"]) == ("12", "", "", "")
    assert float(row["joint_position.elbow"]) == steps.last.values["joint_position"][1]


def test_one_episode_is_exported_beside_it_or_where_asked(run):
    file = run / "episodes/episode_00001.mcap"
    assert export(file, "csv") == run / "episodes/episode_00001.csv"
    assert export(run, "csv", number=1) == run / "episode_00001.csv"
    assert export(run, "csv", run / "new/folder/table.csv", number=1).is_file()
    assert len(rows_of(run / "new/folder/table.csv")) == 16
    assert not list(run.glob("**/*.tmp"))
    with pytest.raises(RunError, match="there are no episode 7 in"):
        export(run, "csv", number=7)


def test_episodes_without_a_step_are_left_out_of_a_runs_export(run, caplog):
    with EpisodeWriter(run / "episodes/episode_00002.mcap", metadata={}, clock=VirtualClock()):
        pass
    assert {row["episode"] for row in rows_of(export(run, "csv"))} == {"0", "1"}
    assert "episode_00002.mcap: 0 observations and 0 commands" in caplog.text
    with pytest.raises(RunError, match="there are no steps to show"):
        export(run, "csv", number=2)


def test_commands_are_matched_with_what_was_read_last_before_them(tmp_path):
    """A control loop that reads more often than it commands, and begins to read before it commands."""
    clock = VirtualClock(100.0)
    with EpisodeWriter(tmp_path / "e.mcap", metadata={}, clock=clock) as writer:
        for number in range(10):
            now = {"joints": clock.now()}
            writer.write_observation(Observation(number, {"joint_position": np.array([float(number)])}, {}, now, now))
            if number % 3 == 2:
                command = np.array([number / 10])
                writer.write_action(SentAction(command, command, (), clock.now() + 0.004), np.zeros(1))
            clock.advance(0.01)
    steps = read_steps(tmp_path / "e.mcap")
    assert [read.sequence for read in steps.observations] == [2, 5, 8]
    assert steps.last.sequence == 9
    np.testing.assert_allclose(steps.times, [0.024, 0.054, 0.084])
    assert steps.period == pytest.approx(0.03)
    assert steps.joints == ("joint_1",)


@pytest.mark.parametrize(("form", "package", "extra"), [("lerobot", "pyarrow", "export"), ("rerun", "rerun", "rerun")])
def test_a_missing_package_is_named_with_its_extra(run, monkeypatch, form, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RunError, match=rf"pip install robot-ctrl\[{extra}\]"):
        export(run, form)
    assert sorted(path.name for path in run.iterdir()) == ["episodes", "two_links_0.3.xml"]


class FakeRerun:
    """What the export uses of rerun-sdk; it keeps what it is given."""

    def __init__(self):
        self.columns = {}
        self.logged = []
        self.time = None
        self.Scalars = SimpleNamespace(columns=lambda scalars: scalars)
        self.TextLog = self.TextDocument = str
        self.EncodedImage = lambda contents, media_type: (media_type, contents)

    def TimeColumn(self, name, duration):
        assert name == "episode_time"
        return duration

    def RecordingStream(self, name):
        assert name == "robot-ctrl"
        return self

    def save(self, path):
        path.write_bytes(b"RRF2")

    def set_time(self, name, duration):
        self.time = duration

    def send_columns(self, path, indexes, columns):
        self.columns[path] = (indexes[0], columns[0] if isinstance(columns, list) else columns)

    def log(self, path, what, static=False):
        self.logged.append((path, None if static else self.time, what))

    def flush(self):
        pass

    disconnect = flush


def test_a_rerun_recording_holds_every_step(run, monkeypatch):
    fake = FakeRerun()
    monkeypatch.setitem(sys.modules, "rerun", fake)
    assert export(run, "rerun") == run / "episodes.rrd"
    steps = steps_of(run, 1)
    times, _ = fake.columns["episode_00001/sent/elbow"]
    np.testing.assert_array_equal(times, steps.times)
    assert "episode_00000/joint_position/shoulder" in fake.columns
    events = [entry for entry in fake.logged if entry[0] == "episode_00001/events"]
    assert events[0][2] == "late plan: the plan was 12 ms late <followed>"
    assert events[0][1] == pytest.approx(0.55)
    pictures = [entry for entry in fake.logged if entry[0] == "episode_00001/camera/front"]
    assert len(pictures) == 15
    media, png = pictures[3][2]
    assert media == "image/png"
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), picture(3))


def test_rerun_itself_takes_the_recording(run):
    pytest.importorskip("rerun", reason="needs pip install robot-ctrl[rerun]")
    assert export(run, "rerun").read_bytes()[:3] == b"RRF"


@pytest.fixture
def dataset(run):
    pytest.importorskip("pyarrow", reason="needs pip install robot-ctrl[export]")
    from pyarrow import parquet

    folder = export(run, "lerobot")
    return SimpleNamespace(
        run=run,
        folder=folder,
        info=json.loads((folder / "meta/info.json").read_text()),
        stats=json.loads((folder / "meta/stats.json").read_text()),
        frames=parquet.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict(),
        episodes=parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist(),
        tasks=parquet.read_table(folder / "meta/tasks.parquet"),
        video=folder / "videos/observation.images.front/chunk-000/file-000.mp4",
    )


def test_a_lerobot_dataset_describes_itself(dataset):
    info = dataset.info
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 20, "two_links")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 27, 1)
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": ["shoulder.pos", "elbow.pos"]}
    assert info["features"]["observation.state"]["names"] == ["shoulder.pos", "elbow.pos"]
    assert info["features"]["observation.images.front"]["shape"] == [36, 48, 3]
    assert info["features"]["observation.images.front"]["info"]["video.codec"] == "h264"
    assert set(dataset.frames) == {name for name, it in info["features"].items() if it["dtype"] != "video"}
    about = json.loads(dataset.tasks.schema.metadata[b"pandas"])
    assert about["index_columns"] == ["task"]
    assert dataset.tasks.to_pydict() == {"task_index": [0], "task": ["two-links"]}


def test_a_lerobot_frame_is_a_step(dataset):
    frames, steps = dataset.frames, steps_of(dataset.run, 1)
    row = 12 + 4
    assert [frames[name][row] for name in ("index", "episode_index", "frame_index", "task_index")] == [16, 1, 4, 0]
    assert frames["timestamp"][row] == pytest.approx(0.2)
    assert frames["observation.time"][row] == steps.times[4]
    np.testing.assert_array_equal(frames["action"][row], steps.sent[4].astype(np.float32))
    read = steps.observations[4].values
    np.testing.assert_array_equal(frames["observation.state"][row], read["joint_position"].astype(np.float32))
    first, second = dataset.episodes
    assert (first["dataset_from_index"], first["dataset_to_index"], first["length"]) == (0, 12, 12)
    assert (second["dataset_from_index"], second["dataset_to_index"], second["tasks"]) == (12, 27, ["two-links"])
    assert second["videos/observation.images.front/from_timestamp"] == pytest.approx(12 / 20)


def test_lerobot_statistics_are_those_of_the_frames(dataset):
    actions = np.array(dataset.frames["action"], np.float64)
    stats = dataset.stats["action"]
    for name, value in {
        "min": actions.min(0),
        "max": actions.max(0),
        "mean": actions.mean(0),
        "std": actions.std(0),
    }.items():
        np.testing.assert_allclose(stats[name], value, atol=1e-9)
    assert stats["count"] == [27]
    assert np.shape(dataset.stats["observation.images.front"]["mean"]) == (3, 1, 1)
    brightness = np.mean([picture(n).mean() / 255 for n in [*range(12), *range(15)]])
    assert np.mean(dataset.stats["observation.images.front"]["mean"]) == pytest.approx(brightness, abs=1e-6)


def test_the_lerobot_video_shows_every_frame_at_its_time(dataset):
    with av.open(str(dataset.video)) as video:
        decoded = [(float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")) for frame in video.decode()]
    assert len(decoded) == 27
    for index, (time, image) in enumerate(decoded):
        assert time == pytest.approx(index / 20)
        expected = picture(index if index < 12 else index - 12)
        assert np.abs(image.astype(float) - expected).mean() < 3


def test_a_lerobot_dataset_is_never_written_over(dataset):
    with pytest.raises(RunError, match=r"episodes-lerobot exists.*another --out"):
        export(dataset.run, "lerobot")


def test_episodes_of_different_robots_are_no_lerobot_dataset(run):
    pytest.importorskip("pyarrow", reason="needs pip install robot-ctrl[export]")
    record(run / "episodes/episode_00002.mcap", two_links(run), steps=5, camera=False)
    with pytest.raises(RunError, match=r"episode_00002\.mcap holds .* Export them separately"):
        export(run, "lerobot")
    assert not list(run.glob("*lerobot*"))
