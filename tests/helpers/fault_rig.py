"""A deployment's control, recorder and a stand-in planner in front of an emulated SO-101, on an injected clock."""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hardware.clock import Clock, VirtualClock
from hardware.emulator import PlantOptions, emulate_in_memory
from hardware.emulator.faults import Fault
from hardware.robot_file import RobotDescription, load_description
from planners.plan import Plan
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.episodes import Episode, read_episode
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring, StopRequest
from robot_ctrl.realtime.control_process import (
    ControlChannels,
    ControlServer,
    ControlSettings,
    GoTo,
    RunEpisode,
    Stop,
)
from robot_ctrl.realtime.planning_messages import EpisodePlan, Seen
from robot_ctrl.realtime.recording import EpisodeRecorder
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.schedule import PlanFrom
from robot_ctrl.realtime.sources import DescribedArm

SPAWN = multiprocessing.get_context("spawn")
RATE, MODEL_PERIOD, SPEED = 40.0, 0.05, 1.0
READY = np.array([0.0, -0.65, 0.75, 0.5, 0.0, 0.2])
STOP_AFTER = 0.5


@dataclass
class Outcome:
    """What became of a fault.

    Attributes:
        stopped: whether the arm was stopped for good.
        seconds: from the fault to a commanded velocity of zero; None where the arm rode it through.
        message: why, or the last trouble.
        torque_on: by joint, when it was over.
        moved: rad that any command moved after it had come to zero.
        episode: what was recorded.
        unrecorded: s between the last recorded tick and the stop.
        latched: the fault that the next deployment is refused with.
    """

    stopped: bool
    seconds: float | None
    message: str
    torque_on: tuple[bool, ...]
    moved: float
    episode: Episode
    unrecorded: float
    latched: str | None


@dataclass
class Rig:
    """Everything but the processes; ``plan`` makes the plans."""

    folder: Path
    plant: PlantOptions = field(default_factory=PlantOptions)
    description: RobotDescription = field(default_factory=lambda: load_description("so101"))
    policy: str = "hold"
    ring_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        self.clock = self.make_clock()
        description = self.description.model_copy(update={"control_rate": RATE, "safe_policy": self.policy})
        names = [joint.name for joint in description.joints]
        plant = replace(self.plant, start=dict(zip(names, READY.tolist(), strict=True)))
        self.source = self.emulated(description, plant)
        self.robot = self.source.open(self.clock)
        self.channels = ControlChannels(
            *(Mailbox(SPAWN, 65536) for _ in range(4)),
            Ring(SPAWN, 1 << 20),
            Pulse(SPAWN),
            Pulse(SPAWN),
            StopRequest(SPAWN),
        )
        self.recorder = EpisodeRecorder(self.clock)
        self.recording = True
        self.supervised = True
        self.path = self.folder / "episode.mcap"
        self.beat()
        settings = ControlSettings(
            self.source,
            ActionScale.delta(description.spec, SPEED, MODEL_PERIOD),
            MODEL_PERIOD,
            rules=LatePlanRules(STOP_AFTER),
            latch=self.folder,
        )
        self.server = ControlServer(settings, self.channels, self.robot, self.clock)
        self.control = self.server.control
        self.plan: Callable[[Seen], Plan | PlanFrom | None] = self.sway
        self.plan_delay = 0.0
        self._orders = 0
        self._due = self.clock.now()
        self._planned_at = -np.inf
        self._pending: tuple[float, EpisodePlan] | None = None
        self.undo: Callable[[], None] = lambda: None
        self._stopped_at = np.inf
        self.speeds: list[tuple[float, float]] = []
        self.commands: list[tuple[float, np.ndarray]] = []

    def make_clock(self) -> Clock:
        return VirtualClock(100.0)

    def emulated(self, description: RobotDescription, plant: PlantOptions) -> DescribedArm:
        self.port: Any = emulate_in_memory(description, self.clock, plant=plant)
        return DescribedArm(description, self.port)

    def torque_on(self) -> tuple[bool, ...]:
        return tuple(self.port.arm.status(self.clock.now()).torque_on)

    def beat(self) -> None:
        self.channels.supervisor.beat(self.clock.now())

    def order(self, make: Callable[[int], Any]) -> None:
        self._orders += 1
        self.channels.orders.put(make(self._orders))

    def run(self, until: Callable[[], bool], limit: float = 20.0) -> None:
        """Tick until something is so."""
        end = self.clock.now() + limit
        while not until():
            if self.clock.now() > end:
                raise AssertionError(f"nothing of the kind within {limit} s")
            self.tick()

    def run_for(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        self.run(lambda: self.clock.now() >= end - 1e-9, seconds + 5.0)

    def tick(self) -> None:
        if self.supervised:
            self.beat()
        if self.control.fault is None:
            self.server.serve(max(0.0, self.clock.now() - self._due), 0)
            self._plan()
        if self.recording:
            self.drain()
        self.speeds.append((self.clock.now(), self.server.status.speed))
        self.commands.append((self.clock.now(), self.control.sent.copy()))
        self._due = max(self._due + 1 / RATE, self.clock.now())
        self.clock.sleep_until(self._due)

    def drain(self) -> None:
        while (entry := self.channels.records.get()) is not None:
            self.recorder.write(entry)
        self.recorder.flush()

    def start(self) -> None:
        """Go to the pose, begin an episode, and be on the move."""
        self.order(lambda number: GoTo(number, READY, 1.0))
        self.run(lambda: self.server.status.order == 1 and self.server.status.done)
        self.order(lambda number: RunEpisode(number, 0, 1000, {"target": np.zeros(3)}, self.path, {"robot": "so101"}))
        self.run_for(0.4)

    def sway(self, seen: Seen) -> Plan:
        """Swing the shoulder and the elbow, for ever."""
        now = self.clock.now()
        times = now + MODEL_PERIOD * np.arange(8)
        actions = np.zeros((8, 6), np.float32)
        actions[:, 0] = 0.6 * np.cos(3 * times)
        actions[:, 2] = 0.4 * np.sin(3 * times)
        return Plan(now, MODEL_PERIOD, actions, np.zeros(6, np.float32), computed_at=now)

    def outcome(self, since: float, patience: float = 1.5) -> Outcome:
        """Let it run until the arm has stood stopped for a while or has ridden the fault through, and look."""
        end, enough = self.clock.now() + patience, len(self.speeds) + patience * RATE / 2
        self.run(
            lambda: (self.clock.now() >= end and len(self.speeds) >= enough) or self.stood_for(0.2),
            patience + 10,
        )
        self.drain()
        stopped = self.control.fault is not None
        still = None
        if stopped or self.speeds[-1][1] < 1e-6:
            moving = [time for time, speed in self.speeds if speed >= 1e-6]
            still = max(0.0, (moving[-1] if moving else since) + 1 / RATE - since)
        after = [command for time, command in self.commands if still is not None and time > since + still]
        moved = float(np.abs(np.diff(after, axis=0)).max(initial=0.0)) if len(after) > 1 else 0.0
        self.recorder.close("interrupted")
        episode = read_episode(self.path)
        last = max((observation.read_end["motion"] for observation in episode.observations), default=since)
        latched = self.server.latch.read()
        return Outcome(
            stopped=stopped,
            seconds=still,
            message=self.control.fault or self.server.status.trouble or "",
            torque_on=self.torque_on(),
            moved=moved,
            episode=episode,
            unrecorded=max(0.0, since + (still or 0.0) - last),
            latched=None if latched is None else latched.reason,
        )

    def stood_for(self, seconds: float) -> bool:
        """Whether the arm has been stopped for good for so long."""
        if self.control.fault is None:
            self._stopped_at = np.inf
        else:
            self._stopped_at = min(self._stopped_at, self.clock.now())
        return self.clock.now() >= self._stopped_at + seconds

    def inject(self, fault: str) -> None:
        self.port.arm.inject(Fault.parse(fault), self.clock.now())

    def _plan(self) -> None:
        now = self.clock.now()
        seen: Seen | None = self.channels.seen.get()
        if self._pending is not None and now >= self._pending[0]:
            self.channels.plans.put(self._pending[1])
            self._pending = None
        if seen is None or seen.episode is None or self._pending is not None or now < self._planned_at + MODEL_PERIOD:
            return
        self._planned_at = now
        made = self.plan(seen)
        if isinstance(made, Plan):
            made = PlanFrom(made, self.control.sent.copy())
        if made is not None:
            timed = replace(made, plan=replace(made.plan, computed_at=now + self.plan_delay))
            self._pending = now + self.plan_delay, EpisodePlan(seen.episode, timed, 1.0)


def stop(reason: str, *, fault: bool) -> Callable[[int], Stop]:
    """The order."""
    return lambda number: Stop(number, reason, fault)
