import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.robot import Observation, SentAction
from robot_ctrl.episodes import read_episode
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring
from robot_ctrl.realtime.recording import (
    FLUSH_SECONDS,
    Close,
    EpisodeRecorder,
    Event,
    First,
    Open,
    Stepped,
    Ticked,
)
from robot_ctrl.realtime.sampling import Step

SPAWN = multiprocessing.get_context("spawn")


def test_of_many_messages_the_newest_wins_and_is_taken_once() -> None:
    box = Mailbox(SPAWN, 1000)
    assert box.get() is None
    for number in range(5):
        box.put({"number": number})
    assert box.get() == {"number": 4}
    assert box.get() is None


def test_a_message_that_is_too_large_is_refused_and_the_one_before_stays() -> None:
    box = Mailbox(SPAWN, 100)
    box.put("small")
    with pytest.raises(ValueError, match="does not fit"):
        box.put("x" * 200)
    assert box.get() == "small"


def test_a_torn_message_is_never_taken() -> None:
    box = Mailbox(SPAWN, 1000)
    box.put("whole")
    view = memoryview(box._memory).cast("B")
    at = box._start(1) + 16
    view[at + 3] ^= 0xFF
    assert box.get() is None
    box.put("next")
    assert box.get() == "next"


def test_a_ring_keeps_order_round_its_end_and_counts_what_does_not_fit() -> None:
    ring = Ring(SPAWN, 300)
    taken, put, fitted = [], 0, []
    for _ in range(40):
        for _ in range(3):
            if ring.put((put, "x" * (put % 50))):
                fitted.append(put)
            put += 1
        for _ in range(2):
            if (message := ring.get()) is not None:
                assert message[1] == "x" * (message[0] % 50)
                taken.append(message[0])
    while (message := ring.get()) is not None:
        taken.append(message[0])
    assert taken == fitted
    assert ring.dropped == put - len(fitted) > 0
    assert ring.empty


def test_a_pulse_has_no_age_before_the_first_beat() -> None:
    pulse = Pulse(SPAWN)
    assert pulse.age(10.0) == float("inf")
    pulse.beat(10.0)
    assert pulse.age(10.5) == pytest.approx(0.5)


def observation(sequence: int, at: float) -> Observation:
    return Observation(sequence, {"joint_position": np.full(2, at)}, {}, {"bus": at}, {"bus": at})


def step(sequence: int, at: float) -> Step:
    return Step(SentAction(np.zeros(2), np.zeros(2), (), at), np.zeros(2), observation(sequence, at))


def test_entries_carry_the_times_at_which_things_happened(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(VirtualClock(100.0))
    path = tmp_path / "episode.mcap"
    recorder.write(Open(5.0, 3, path, {"robot": "line"}))
    recorder.write(First(5.0, observation(0, 5.0)))
    recorder.write(Ticked(5.01, {"time": 5.01, "sent": [0.0], "plan_age": None}))
    recorder.write(Stepped(5.05, step(1, 5.05)))
    recorder.write(Event(5.06, "trouble", "a packet was lost"))
    recorder.write(Close(5.07, "finished"))
    assert recorder.status.closed == 3
    episode = read_episode(path)
    assert episode.outcome == "finished"
    assert episode.metadata["clock_at_start"] == "5.0"
    assert [seen.sequence for seen in episode.observations] == [0, 1]
    assert [(round(event.time, 6), event.kind) for event in episode.events] == [(5.06, "trouble")]
    assert not episode.truncated


def test_nothing_older_than_the_flush_interval_is_lost(tmp_path: Path) -> None:
    clock = VirtualClock()
    recorder = EpisodeRecorder(clock)
    path = tmp_path / "episode.mcap"
    recorder.write(Open(0.0, 0, path, {}))
    recorder.write(First(0.0, observation(0, 0.0)))
    for number in range(1, 11):
        clock.advance(0.05)
        recorder.write(Stepped(clock.now(), step(number, clock.now())))
        recorder.flush()
    seen = read_episode(path)
    assert seen.outcome == "unfinished"
    assert clock.now() - seen.observations[-1].read_end["bus"] <= FLUSH_SECONDS


def test_a_file_that_cannot_be_written_is_reported_and_stops_nothing_else(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(VirtualClock())
    blocked = tmp_path / "blocked.mcap"
    blocked.write_text("")
    recorder.write(Open(0.0, 0, blocked, {}))
    recorder.write(First(0.0, observation(0, 0.0)))
    assert recorder.status.error is not None
    assert "blocked.mcap" in recorder.status.error


def put_and_die(ring: Ring) -> None:
    for number in range(20):
        ring.put(number)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_wrote_into_a_ring_can_be_read() -> None:
    ring = Ring(SPAWN, 10_000)
    process = SPAWN.Process(target=put_and_die, args=(ring,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [ring.get() for _ in range(21)] == [*range(20), None]


@pytest.mark.parametrize("module", ["control_process", "recording", "supervisor", "make_safe"])
def test_what_runs_beside_the_arm_imports_no_torch(module: str) -> None:
    code = f"import sys, robot_ctrl.realtime.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
