"""The supervisor: starts the processes, watches their pulses, and makes the arm safe when one of them is gone.

control dies or hangs     kill it, open the port, and apply the robot's safe policy: for a bus without a watchdog
                          of its own this is the only dead-man
planner dies              control brakes and latches a fault; its own rules for late plans do the same
recorder dies or fails    control brakes: what the arm does is not recorded any more
learner dies              the arm goes on with the model that it has
supervisor dies           control brakes and latches a fault, see ``control_process``
SIGTERM, Ctrl-C anywhere  control brakes; the episode is closed as interrupted; parks if asked
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from typing import Any

from hardware.clock import Clock, MonotonicClock
from hardware.errors import RobotError
from hardware.fault_latch import FaultLatch
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring, StopRequest
from robot_ctrl.realtime.control_process import (
    ControlChannels,
    ControlSettings,
    ControlStatus,
    GoTo,
    Order,
    Quit,
    RunEpisode,
    Stop,
    control,
)
from robot_ctrl.realtime.make_safe import make_safe
from robot_ctrl.realtime.recording import RecorderChannels, RecorderStatus, record

logger = logging.getLogger(__name__)
WATCH_SECONDS = 0.02
READY_SECONDS = 120.0
STOP_SECONDS = 10.0
SLOT_BYTES = 256 * 1024
RING_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class PulseLimits:
    """How long each process may be silent, s; the learner may fit for as long as it takes."""

    control: float = 0.5
    planner: float = 5.0
    recorder: float = 5.0


class StoppedByFault(Exception):
    """The arm was stopped and the fault is latched."""


class StoppedOnRequest(Exception):
    """A signal asked for an orderly end.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Statuses:
    """The newest status of every process; None before the first."""

    control: ControlStatus = field(default_factory=ControlStatus)
    recorder: RecorderStatus = field(default_factory=RecorderStatus)
    planner: Any = None
    learner: Any = None


class Supervisor:
    """Starts, orders about and watches the processes of a deployment. Use it in a ``with`` block.

    Args:
        settings: of control.
        limits: how long each process may be silent.
        clock: for pulses; all processes share the system's monotonic clock.

    Attributes:
        statuses: the newest of every process.
        steps: what control shows the planner, every period of the model.
        watched: called at every look, for a display.
    """

    def __init__(
        self, settings: ControlSettings, limits: PulseLimits | None = None, clock: Clock | None = None
    ) -> None:
        self._settings, self._limits = settings, limits or PulseLimits()
        self._clock = clock or MonotonicClock()
        self.context = multiprocessing.get_context("spawn")
        self.statuses = Statuses()
        self.watched: Callable[[Statuses], None] = lambda statuses: None
        self.pulse = Pulse(self.context)
        self.stop = StopRequest(self.context)
        self.rings = {name: Ring(self.context, RING_BYTES) for name in ("control", "planner")}
        self.steps = Ring(self.context, RING_BYTES)
        self.mailboxes: dict[str, Mailbox] = {}
        self.pulses: dict[str, Pulse] = {}
        self.processes: dict[str, SpawnProcess] = {}
        self._number = 0
        self._misses_learner = False

    def __enter__(self) -> "Supervisor":
        """Take over SIGINT and SIGTERM."""
        self._before = {each: signal.signal(each, self.stop.make) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """End every process that is left, control last, and give the signals back."""
        self._end()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def has_latched(self) -> bool:
        """Whether a fault is latched for the robot, which must be reset before it moves again."""
        return FaultLatch(self._settings.source.name, self._settings.latch).read() is not None

    def mailbox(self, name: str) -> Mailbox:
        """The slot of that name, made when it is first asked for."""
        return self.mailboxes.setdefault(name, Mailbox(self.context, SLOT_BYTES))

    def pulse_of(self, name: str) -> Pulse:
        """The pulse of a process, made when it is first asked for."""
        return self.pulses.setdefault(name, Pulse(self.context))

    def start(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        """Start a process; they all end with this one."""
        process = self.context.Process(target=target, args=arguments, name=f"robot-ctrl {name}", daemon=True)
        process.start()
        self.processes[name] = process

    def start_recorder(self) -> None:
        """Start the recorder."""
        channels = RecorderChannels(
            rings=list(self.rings.values()),
            status=self.mailbox("recorder status"),
            pulse=self.pulse_of("recorder"),
            supervisor=self.pulse,
            quit=self.mailbox("recorder quit"),
            stop=self.stop,
        )
        self.start("recorder", record, channels)

    def start_control(self) -> None:
        """Start control, which connects the robot."""
        channels = ControlChannels(
            orders=self.mailbox("orders"),
            status=self.mailbox("control status"),
            seen=self.mailbox("seen"),
            plans=self.mailbox("plans"),
            records=self.rings["control"],
            pulse=self.pulse_of("control"),
            supervisor=self.pulse,
            stop=self.stop,
            steps=self.steps,
        )
        self.pulse.beat(self._clock.now())
        self.start("control", control, self._settings, channels)

    def wait_for(self, done: Callable[[Statuses], bool], seconds: float, what: str) -> None:
        """Watch until something is so.

        Raises:
            StoppedByFault: if the arm had to be stopped meanwhile.
            StoppedOnRequest: if a signal arrived.
            TimeoutError: if it took too long.
        """
        until = self._clock.now() + seconds
        while True:
            self.watch()
            if done(self.statuses):
                return
            if self.stop.number:
                raise StoppedOnRequest(self.stop.number)
            if self._clock.now() > until:
                raise TimeoutError(f"{what} took longer than {seconds:g} s")
            self._clock.sleep_until(self._clock.now() + WATCH_SECONDS)

    def carry_out(self, order: Callable[[int], Order], seconds: float, what: str) -> None:
        """Give control an order, and watch until it is carried out.

        Raises:
            StoppedByFault: if the arm had to be stopped meanwhile.
            StoppedOnRequest: if a signal arrived.
            TimeoutError: if it took too long.
        """
        number = self.give(order)
        self.wait_for(lambda now: now.control.order == number and now.control.done, seconds, what)

    def give(self, order: Callable[[int], Order]) -> int:
        """Give control an order, made from its number; returns the number."""
        self._number += 1
        self.mailbox("orders").put(order(self._number))
        return self._number

    def come_to_rest(self, reason: str) -> None:
        """Brake without latching a fault; signals that arrived count as heeded.

        Raises:
            StoppedByFault: if the arm had to be stopped for good.
            TimeoutError: if it does not come to rest.
        """
        self.stop.make(0)
        self.carry_out(lambda number: Stop(number, reason, fault=False), STOP_SECONDS, "braking")

    def watch(self) -> None:
        """Show a pulse, take statuses, and look after everybody once.

        Raises:
            StoppedByFault: if the arm had to be stopped.
        """
        self.pulse.beat(self._clock.now())
        statuses = self.statuses
        for name in ("control", "recorder", "planner", "learner"):
            if f"{name} status" in self.mailboxes and (status := self.mailboxes[f"{name} status"].get()) is not None:
                setattr(statuses, name, status)
        self.watched(statuses)
        if statuses.control.fault is not None:
            raise StoppedByFault(statuses.control.fault)
        if (trouble := self._trouble("control", self._limits.control)) is not None:
            raise StoppedByFault(self._make_safe(trouble))
        if statuses.recorder.error is not None:
            self._stop_all(f"{statuses.recorder.error}", fault=False)
        for name, limit in (("recorder", self._limits.recorder), ("planner", self._limits.planner)):
            if (trouble := self._trouble(name, limit)) is not None:
                self._stop_all(trouble, fault=True)
        if not self._misses_learner and (trouble := self._trouble("learner", float("inf"))) is not None:
            self._misses_learner = True
            logger.warning("%s. The arm goes on with the model that it has; deploy again to learn", trouble)

    def _trouble(self, name: str, limit: float) -> str | None:
        process = self.processes.get(name)
        if process is None:
            return None
        if not process.is_alive():
            return f"the {name} process ended unexpectedly (exit status {process.exitcode})"
        age = self.pulses[name].age(self._clock.now())
        if limit < age < float("inf"):
            return f"the {name} process has shown no sign of life for {age:.2f} s, and {limit} s is the limit"
        return None

    def _stop_all(self, reason: str, *, fault: bool) -> None:
        """Brake because of another process than control."""
        number = self.give(lambda number: Stop(number, reason, fault=fault))
        until = self._clock.now() + STOP_SECONDS
        while self._clock.now() < until:
            self.pulse.beat(self._clock.now())
            status = self.mailboxes["control status"].get() if "control status" in self.mailboxes else None
            self.statuses.control = status or self.statuses.control
            if self.statuses.control.fault is not None or (
                self.statuses.control.order == number and self.statuses.control.done
            ):
                break
            if "control" not in self.processes:
                break
            if (trouble := self._trouble("control", self._limits.control)) is not None:
                raise StoppedByFault(self._make_safe(trouble))
            self._clock.sleep_until(self._clock.now() + WATCH_SECONDS)
        raise StoppedByFault(reason)

    def _make_safe(self, reason: str) -> str:
        """Win the port, and do with the robot what its safe policy says; returns what happened."""
        self._kill("control")
        source = self._settings.source
        with suppress(OSError):
            FaultLatch(source.name, self._settings.latch).latch(reason)
        try:
            make_safe(source, self._clock, reason, self._settings.park_speed)
        except (RobotError, OSError) as error:
            return (
                f"{reason}. The supervisor could not take over the arm: {error}. Cut its power if it moves, then look "
                f"at the cable"
            )
        return f"{reason}. The supervisor took over the port and applied the safe policy {source.safe_policy!r}"

    def _kill(self, name: str) -> None:
        process = self.processes.pop(name)
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join(STOP_SECONDS)

    def _end(self) -> None:
        if "control" in self.processes:
            self.give(Quit)
            self._join("control")
        for name in ("planner", "learner", "recorder"):
            if name in self.processes:
                self.mailbox(f"{name} quit").put(True)
        for name in ("recorder", "planner", "learner"):
            if name in self.processes:
                self._join(name)

    def _join(self, name: str) -> None:
        process = self.processes[name]
        until = self._clock.now() + STOP_SECONDS
        while process.is_alive() and self._clock.now() < until:
            self.pulse.beat(self._clock.now())
            process.join(WATCH_SECONDS)
        if process.is_alive():
            logger.warning("the %s process did not end and is killed", name)
        self._kill(name)


__all__ = ["GoTo", "PulseLimits", "RunEpisode", "StoppedByFault", "StoppedOnRequest", "Supervisor"]
