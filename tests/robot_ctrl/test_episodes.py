"""The reader: damaged files give everything before the damage, and can be made whole."""

import logging

import numpy as np
import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import Writer

from hardware.clock import VirtualClock
from hardware.robot import Observation, SentAction
from robot_ctrl.episodes import read_episode, recover_episode
from robot_ctrl.recorder import EpisodeWriter

STEPS = 130


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "episode_0001.mcap"
    random = np.random.default_rng(0)
    clock = VirtualClock()
    with EpisodeWriter(path, metadata={"task": "reach", "seed": "3"}, clock=clock) as writer:
        for step in range(STEPS):
            images = {"wrist": np.full((2, 3, 3), step, np.uint8)} if step % 10 == 0 else {}
            writer.write_observation(Observation(step, {"q": random.normal(size=6)}, images))
            writer.write_action(SentAction(np.zeros(2), np.ones(2), (), clock.now()), np.full(2, 0.5))
            clock.advance(0.02)
    return path


def same(left, right):
    """Whether one list of observations starts like the other."""
    return all(
        one.sequence == other.sequence
        and np.array_equal(one.values["q"], other.values["q"])
        and set(one.images) == set(other.images)
        for one, other in zip(left, right, strict=False)
    )


def test_a_file_cut_anywhere_gives_everything_before_the_cut(whole, tmp_path):
    data = whole.read_bytes()
    complete = read_episode(whole)
    cut = tmp_path / "cut.mcap"
    seen = (0, 0)
    for size in [*range(0, len(data), 97), *range(len(data) - 40, len(data))]:
        cut.write_bytes(data[:size])
        episode = read_episode(cut)
        assert episode.truncated
        assert 0 <= episode.bytes_lost <= size
        now = (len(episode.observations), len(episode.actions))
        assert now[0] >= seen[0]
        assert now[1] >= seen[1]
        assert now[1] <= now[0] <= now[1] + 1
        assert same(episode.observations, complete.observations)
        assert episode.outcome in ("unfinished", "finished")
        if episode.outcome == "finished":
            assert now == (STEPS, STEPS)
        seen = now
    assert seen == (STEPS, STEPS)


def test_damage_in_the_middle_keeps_what_came_before(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    damaged = tmp_path / "damaged.mcap"
    complete = read_episode(whole).observations
    refused = 0
    for place in range(8, len(data), 17):
        hurt = data.copy()
        hurt[place] ^= 0xFF
        damaged.write_bytes(hurt)
        try:
            episode = read_episode(damaged)
        except ValueError:  # the text that makes the file an episode was hit
            refused += 1
        else:
            assert same(episode.observations, complete)
            assert episode.outcome in ("unfinished", "finished")
    assert refused <= 15


def test_a_chunk_that_is_no_longer_called_one_is_not_stepped_over(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    places = []
    place = 8
    while place < len(data) - 8:
        if data[place] == Opcode.CHUNK:
            places.append(place)
        place += 9 + int.from_bytes(data[place + 1 : place + 9], "little")
    assert len(places) > 3
    before = read_episode(whole).observations
    path = tmp_path / "e.mcap"
    data[places[2]] = 0x70
    path.write_bytes(data)
    episode = read_episode(path)
    assert episode.truncated
    assert episode.bytes_lost == len(data) - places[2]
    assert 0 < len(episode.observations) < len(before)
    assert same(episode.observations, before)


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"\xff" * 5000, bytes(range(256)) * 9])
def test_garbage_after_a_cut_is_counted_and_ignored(whole, tmp_path, garbage, caplog):
    data = whole.read_bytes()[: whole.stat().st_size // 2]
    path = tmp_path / "garbage.mcap"
    path.write_bytes(data)
    clean = read_episode(path)
    path.write_bytes(data + garbage)
    with caplog.at_level(logging.WARNING):
        episode = read_episode(path)
    assert episode.truncated
    assert len(episode.observations) == len(clean.observations) > 0
    assert len(garbage) - 1000 < episode.bytes_lost <= clean.bytes_lost + len(garbage)
    assert "garbage.mcap" in caplog.text
    assert f"the last {episode.bytes_lost} of {len(data + garbage)} bytes" in caplog.text
    assert f"{len(episode.observations)} observations" in caplog.text


def test_garbage_after_a_proper_end_costs_nothing(whole, tmp_path):
    path = tmp_path / "tail.mcap"
    path.write_bytes(whole.read_bytes() + b"tail")
    episode = read_episode(path)
    assert (len(episode.observations), episode.outcome) == (STEPS, "finished")
    assert (episode.truncated, episode.bytes_lost) == (True, 4)


def test_a_whole_file_is_read_without_a_warning(whole, caplog):
    episode = read_episode(whole)
    assert (episode.truncated, episode.bytes_lost, episode.outcome) == (False, 0, "finished")
    assert [read.sequence for read in episode.observations] == list(range(STEPS))
    assert [action.time for action in episode.actions] == pytest.approx([0.02 * step for step in range(STEPS)])
    assert not caplog.records


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.mcap").write_text("episode, return\n")
    with pytest.raises(ValueError, match=r"text\.mcap: not an MCAP file"):
        read_episode(tmp_path / "text.mcap")
    with pytest.raises(ValueError, match=r"text\.mcap: not an MCAP file"):
        recover_episode(tmp_path / "text.mcap")
    with (tmp_path / "foreign.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.finish()
    with pytest.raises(ValueError, match=r"foreign\.mcap: an MCAP file, but not an episode"):
        read_episode(tmp_path / "foreign.mcap")
    with pytest.raises(FileNotFoundError):
        read_episode(tmp_path / "missing.mcap")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_recovery_gives_a_whole_file_and_keeps_the_original(whole, tmp_path, share):
    data = whole.read_bytes()
    path = tmp_path / "episode_0001.mcap"
    path.write_bytes(data[: int(len(data) * share)])
    before = read_episode(path)
    backup = recover_episode(path)
    assert backup is not None
    assert backup.read_bytes() == data[: int(len(data) * share)]
    after = read_episode(path)
    assert not after.truncated
    assert after.outcome == before.outcome
    assert len(after.observations) == len(before.observations)
    assert len(after.actions) == len(before.actions)
    assert same(after.observations, before.observations)
    assert before.metadata.items() <= after.metadata.items()
    assert after.metadata["recovered_bytes_lost"] == str(before.bytes_lost)
    with path.open("rb") as file:
        messages = sum(1 for _ in make_reader(file).iter_messages())
    pictures = sum(len(read.images) for read in before.observations)
    assert messages == len(before.observations) + len(before.actions) + pictures
    assert sorted(tmp_path.iterdir()) == [path, backup]
    assert recover_episode(path) is None


@pytest.mark.parametrize("size", [0, 4, 8, 30])
def test_an_episode_cut_before_its_beginning_is_empty_and_beyond_recovery(whole, tmp_path, size):
    path = tmp_path / "e.mcap"
    path.write_bytes(whole.read_bytes()[:size])
    episode = read_episode(path)
    assert (episode.observations, episode.actions, dict(episode.metadata)) == ([], [], {})
    assert (episode.truncated, episode.outcome) == (True, "unfinished")
    with pytest.raises(ValueError, match=r"e\.mcap: nothing to recover"):
        recover_episode(path)
    assert list(tmp_path.iterdir()) == [path]


def test_recovery_leaves_a_whole_file_alone(whole):
    before = whole.read_bytes()
    assert recover_episode(whole) is None
    assert whole.read_bytes() == before


def test_recovery_never_replaces_an_original(whole, tmp_path):
    path = tmp_path / "e.mcap"
    path.write_bytes(whole.read_bytes()[:5000])
    original = tmp_path / "e.mcap.damaged"
    original.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"e\.mcap\.damaged keeps the original"):
        recover_episode(path)
    assert original.read_bytes() == b"precious"
    original.write_bytes(path.read_bytes())  # an earlier recovery was killed half-way
    assert recover_episode(path) == original


def test_an_episode_can_be_read_while_it_is_written(tmp_path, caplog):
    path = tmp_path / "e.mcap"
    writer = EpisodeWriter(path, metadata={}, clock=VirtualClock())
    for step in range(7):
        writer.write_observation(Observation(step, {"q": np.zeros(6)}))
    writer.flush()
    episode = read_episode(path)
    assert (len(episode.observations), episode.outcome, episode.bytes_lost) == (7, "unfinished", 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    writer.write_observation(Observation(7, {"q": np.zeros(6)}))
    writer.close("finished")
    assert len(read_episode(path).observations) == 8
