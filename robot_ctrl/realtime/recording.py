"""The recorder: a process of its own that writes what the others hand it, and that nobody waits for.

What it is handed lies in rings of shared memory: a control process that is killed leaves in them what it saw last.
Files are flushed at least every ``FLUSH_SECONDS`` and at every event, and an episode's end is on disk before
it is reported as closed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardware.clock import Clock, MonotonicClock
from hardware.robot import Observation
from planners.plan import Plan
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring, StopRequest
from robot_ctrl.realtime.sampling import Step
from robot_ctrl.recorder import EpisodeWriter, Outcome, RecordingError

FLUSH_SECONDS = 0.4
IDLE_SECONDS = 0.01


@dataclass(frozen=True)
class Open:
    """Begin an episode's file."""

    time: float
    episode: int
    path: Path
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class First:
    """The observation that an episode begins with."""

    time: float
    observation: Observation


@dataclass(frozen=True)
class Stepped:
    """One step of the model's."""

    time: float
    step: Step


@dataclass(frozen=True)
class Ticked:
    """One control tick."""

    time: float
    tick: Mapping[str, Any]


@dataclass(frozen=True)
class PlanMade:
    """A plan of an episode."""

    time: float
    episode: int
    plan: Plan
    plan_ms: float


@dataclass(frozen=True)
class Event:
    """Something out of the ordinary."""

    time: float
    kind: str
    text: str


@dataclass(frozen=True)
class Close:
    """End the episode's file."""

    time: float
    outcome: Outcome


Entry = Open | First | Stepped | Ticked | PlanMade | Event | Close


@dataclass(frozen=True)
class RecorderStatus:
    """How the recorder stands.

    Attributes:
        closed: the last episode whose file is complete; −1 before the first.
        error: why nothing is written any more; None while all is well.
    """

    closed: int = -1
    error: str | None = None


class StampClock:
    """Shows the time of the entry that is being written: files carry the times at which things happened."""

    def __init__(self) -> None:
        self._now = 0.0

    def show(self, time: float) -> None:
        """Show this time."""
        self._now = time

    def now(self) -> float:
        """The time of the entry that is being written."""
        return self._now

    def sleep_until(self, deadline: float) -> None:
        """Nothing waits on this clock."""


class EpisodeRecorder:
    """Writes entries into episode files, one file at a time.

    Args:
        clock: when to flush.

    Attributes:
        status: how far it is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stamp = StampClock()
        self._writer: EpisodeWriter | None = None
        self._episode = -1
        self._flushed = clock.now()
        self.status = RecorderStatus()

    def write(self, entry: Entry) -> None:
        """Write one entry; what belongs to no open episode is left out."""
        self._stamp.show(entry.time)
        try:
            self._write(entry)
        except (RecordingError, FileExistsError) as error:
            self.status = RecorderStatus(self.status.closed, str(error.strerror or error))
            self._writer = None

    def flush(self) -> None:
        """Flush, if it is time to."""
        now = self._clock.now()
        if self._writer is None or now - self._flushed < FLUSH_SECONDS:
            return
        self._flushed = now
        try:
            self._writer.flush()
        except RecordingError as error:
            self.status = RecorderStatus(self.status.closed, str(error.strerror or error))
            self._writer = None

    def close(self, outcome: Outcome) -> None:
        """End the open file, if there is one."""
        if self._writer is not None:
            self.write(Close(self._stamp.now(), outcome))

    def _write(self, entry: Entry) -> None:
        if isinstance(entry, Open):
            self._writer = EpisodeWriter(entry.path, metadata=entry.metadata, clock=self._stamp)
            self._episode = entry.episode
            return
        writer = self._writer
        if writer is None:
            return
        if isinstance(entry, First):
            writer.write_observation(entry.observation)
        elif isinstance(entry, Stepped):
            writer.write_action(entry.step.sent, entry.step.action)
            writer.write_observation(entry.step.observation)
        elif isinstance(entry, Ticked):
            writer.write_tick(entry.tick)
        elif isinstance(entry, PlanMade) and entry.episode == self._episode:
            writer.write_plan(entry.plan, plan_ms=entry.plan_ms)
        elif isinstance(entry, Event):
            writer.write_event(entry.kind, entry.text)
        elif isinstance(entry, Close):
            self._writer = None
            writer.close(entry.outcome)
            self.status = RecorderStatus(self._episode, self.status.error)


@dataclass
class RecorderChannels:
    """What the recorder shares with the others: rings to read, a status to report, pulses."""

    rings: Sequence[Ring]
    status: Mailbox
    pulse: Pulse
    supervisor: Pulse
    quit: Mailbox
    stop: StopRequest
    supervisor_limit: float = field(default=2.0)


def record(channels: RecorderChannels) -> None:
    """The recorder process: write until told to quit, or until the supervisor is gone and nothing comes any more."""
    channels.stop.heed()
    clock = MonotonicClock()
    recorder = EpisodeRecorder(clock)
    channels.status.put(recorder.status)
    reported = recorder.status
    leaving = False
    while True:
        channels.pulse.beat(clock.now())
        busy = False
        for ring in channels.rings:
            while (entry := ring.get()) is not None:
                busy = True
                recorder.write(entry)
        recorder.flush()
        if recorder.status != reported:
            reported = recorder.status
            channels.status.put(reported)
        leaving = leaving or channels.quit.get() is not None
        abandoned = channels.supervisor.age(clock.now()) > channels.supervisor_limit
        if (leaving or abandoned) and not busy:
            recorder.close("interrupted")
            channels.status.put(recorder.status)
            return
        time.sleep(IDLE_SECONDS)
