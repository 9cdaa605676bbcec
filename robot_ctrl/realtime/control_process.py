"""The control process: it owns the robot, ticks at the robot's rate, and imports no torch.

It takes orders from the supervisor and plans from the planner, and shows both of them what it read. When the
supervisor's pulse stops, it brakes, latches a fault, leaves the robot as its safe policy says, and ends.
"""

import gc
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hardware.clock import Clock, MonotonicClock
from hardware.errors import RobotError
from hardware.fault_latch import FaultLatch
from hardware.robot import Array, Observation, Robot
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.channels import Mailbox, Pulse, Ring, StopRequest
from robot_ctrl.realtime.control import AT_REST, ControlTick, Tick
from robot_ctrl.realtime.planning_messages import EpisodePlan, Seen
from robot_ctrl.realtime.recording import Close, Event, First, Open, Stepped, Ticked
from robot_ctrl.realtime.rules import LatePlanRules, Standing
from robot_ctrl.realtime.sampling import StepSampler
from robot_ctrl.realtime.schedule import PlanFrom
from robot_ctrl.realtime.sources import Bounds, CameraSource, RobotSource, seeing
from robot_ctrl.recorder import about_robot

logger = logging.getLogger(__name__)
LATENESS_WINDOW = 4096
STATUS_TICKS = 5
REALTIME_PRIORITY = 20


@dataclass(frozen=True)
class Hold:
    """Stand."""

    number: int


@dataclass(frozen=True)
class GoTo:
    """Go to a pose at a speed, and stand there."""

    number: int
    pose: Array
    speed: float


@dataclass(frozen=True)
class RunEpisode:
    """Follow plans for a number of steps of the model, and record it.

    Attributes:
        constants: values of this episode that the robot cannot measure, for example where the target is.
    """

    number: int
    episode: int
    steps: int
    constants: Mapping[str, Array]
    path: Path
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Stop:
    """Brake and stand; the episode ends as interrupted, or with a fault that is latched."""

    number: int
    reason: str
    fault: bool


@dataclass(frozen=True)
class Quit:
    """Release the robot and end the process."""

    number: int


Order = Hold | GoTo | RunEpisode | Stop | Quit


@dataclass(frozen=True)
class EpisodeTiming:
    """How well an episode kept real time.

    Attributes:
        lateness: p50, p99 and p99.9 of how late ticks began, s.
        plan_age: p95 of the age of the plan in force, s.
        state_age: p95 of the age of the observation when its command went out, s.
        held_ticks: ticks past the end of every plan.
        late_ticks: ticks that were left out because the one before took too long.
    """

    lateness: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    plan_age: float = math.nan
    state_age: float = math.nan
    held_ticks: int = 0
    late_ticks: int = 0


@dataclass(frozen=True)
class ControlStatus:
    """How control stands.

    Attributes:
        order: the last order taken.
        done: whether it is carried out and the robot stands.
        fault: why the robot was stopped for good; None while all is well.
        trouble: the last thing that failed without stopping the robot.
        ticks: control ticks so far.
        late_ticks: ticks that were left out because the one before took too long.
        lateness: p50, p99 and p99.9 of how late ticks began, s, over the last few thousand.
        step: steps of the episode so far.
        state_age: of what was read in the last tick, s.
        plan_age: of the plan that is followed, s; None where none is.
        timing: of the last episode.
        speed: of the command, rad/s.
        command: (nu,) sent last.
        dropped: records that did not fit into the ring.
    """

    order: int = -1
    done: bool = False
    fault: str | None = None
    trouble: str | None = None
    ticks: int = 0
    late_ticks: int = 0
    lateness: tuple[float, float, float] = (0.0, 0.0, 0.0)
    step: int = 0
    state_age: float = 0.0
    plan_age: float | None = None
    timing: EpisodeTiming = field(default_factory=EpisodeTiming)
    speed: float = 0.0
    command: tuple[float, ...] = ()
    dropped: int = 0


@dataclass
class ControlChannels:
    """What control shares with the others.

    Attributes:
        seen: the newest observation, at every tick, without pictures.
        steps: the observation at the end of every period of the model, with pictures; none may be missed.
    """

    orders: Mailbox
    status: Mailbox
    seen: Mailbox
    plans: Mailbox
    records: Ring
    pulse: Pulse
    supervisor: Pulse
    stop: StopRequest
    steps: Ring | None = None


@dataclass(frozen=True)
class ControlSettings:
    """What control needs to know.

    Attributes:
        source: makes the robot.
        scale: the task's action scale, for one period of the model.
        model_period: seconds between the actions of a plan.
        rules: what happens when plans are late.
        supervisor_limit: seconds without the supervisor's pulse until the arm stops.
        park_speed: rad/s.
        latch: where faults are kept; None takes the user's state folder.
        bounds: where and how fast the arm moves while its model is unsure; None for the joints' own limits.
        cameras: whose pictures join the observations; one that fails stops the arm.
        equip: puts more around the robot, such as what follows a pixel in its pictures; None leaves it as it is.
    """

    source: RobotSource
    scale: ActionScale
    model_period: float
    rules: LatePlanRules = field(default_factory=LatePlanRules)
    supervisor_limit: float = 0.5
    park_speed: float = 0.5
    latch: Path | None = None
    bounds: Bounds | None = None
    cameras: tuple[CameraSource, ...] = ()
    equip: Callable[[Robot], Robot] | None = None


class ControlServer:
    """Carries out orders, tick by tick; everything but the pacing.

    Args:
        settings: what it needs to know.
        channels: what it shares.
        robot: is connected here, last of all: from then on servos expect to hear from it.
        clock: the loop's clock.

    Raises:
        ValueError: if the robot's rate is no whole multiple of the model's.
        RobotError: if the robot cannot be connected or read.
    """

    def __init__(self, settings: ControlSettings, channels: ControlChannels, robot: Robot, clock: Clock) -> None:
        self._settings, self._channels, self._robot, self._clock = settings, channels, robot, clock
        self.latch = FaultLatch(settings.source.name, settings.latch)
        self._constants: Mapping[str, Array] = {}
        self._trusted = 0.0
        check_rate(robot, settings.model_period)
        safety = settings.source.filter(robot, clock, settings.bounds, self._trust)
        robot.connect()
        self.control = ControlTick(
            robot,
            safety,
            clock,
            scale=settings.scale,
            rules=settings.rules,
            complete=self._complete,
            park_speed=settings.park_speed if settings.source.safe_policy == "park" else None,
        )
        self._episode: RunEpisode | None = None
        self._sampler: StepSampler | None = None
        self._begun = False
        self._lateness = np.zeros(LATENESS_WINDOW)
        self._told = False
        self.status = ControlStatus()
        self.quitting = False

    def serve(self, lateness: float, left_out: int) -> None:
        """One tick, with the orders that came since the last.

        Args:
            lateness: seconds after it was due.
            left_out: ticks that were left out before it.
        """
        order = self._channels.orders.get()
        if order is not None:
            self._take(order)
        if self._channels.supervisor.age(self._clock.now()) > self._settings.supervisor_limit:
            self.control.brake(
                f"{self._settings.source.name}: the supervisor has shown no sign of life for more than "
                f"{self._settings.supervisor_limit} s. Look for what killed or blocked it, then reset the fault",
                fault=True,
            )
        tick = self.control.tick(self._exchange)
        self._record(tick, lateness, left_out)
        self._heed_fault()
        self._report(tick, lateness, left_out)

    def _complete(self, observation: Observation) -> Observation:
        """Add what the task's state needs and the robot does not measure, such as where the target is."""
        return replace(observation, values={**observation.values, **self._constants})

    def _take(self, order: Order) -> None:
        if not isinstance(order, RunEpisode | Stop):
            self._end_episode("interrupted")
        if isinstance(order, GoTo):
            self.control.move_to(order.pose, order.speed)
        elif isinstance(order, RunEpisode):
            self._constants = order.constants
            self._episode, self._sampler = (
                order,
                StepSampler(self._settings.scale, self._settings.model_period, self.control.period),
            )
            self._begun = False
            self._timings: list[tuple[float, float, float]] = []
            self._held = self._left_out = 0
            metadata = about_robot(self._robot.spec) | dict(order.metadata)
            self._put(Open(self._clock.now(), order.episode, order.path, metadata))
            self.control.follow()
        elif isinstance(order, Stop):
            self._event("stop", order.reason)
            self.control.brake(order.reason, fault=order.fault)
        elif isinstance(order, Quit):
            self.quitting = True
        else:
            self.control.hold()
        self.status = replace(self.status, order=order.number, step=0, done=False)

    def _exchange(self, observation: Observation | None) -> PlanFrom | None:
        episode = None if self._episode is None else self._episode.episode
        if observation is not None:
            self._channels.seen.put(Seen(episode, replace(observation, images={}), self.control.lag))
        made: EpisodePlan | None = self._channels.plans.get()
        if made is None or made.episode != episode:
            return None
        self._trusted = made.trust
        return made.plan

    def _trust(self) -> float:
        """How far the model is trusted; what it does not decide is trusted wholly."""
        return self._trusted if self.control.following else 1.0

    def _record(self, tick: Tick, lateness: float, left_out: int) -> None:
        sampler, episode = self._sampler, self._episode
        if sampler is None or episode is None:
            return
        step = sampler.add(tick)
        if sampler.first is not None and not self._begun:
            self._begun = True
            self._put(First(tick.time, sampler.first))
            self._show(sampler.first)
        if step is not None:
            self._put(Stepped(tick.time, step))
            self._show(step.observation)
            self.status = replace(self.status, step=self.status.step + 1)
        self._put(Ticked(tick.time, _summary(tick, lateness)))
        self._timings.append((lateness, tick.plan_age or 0.0, _state_age(tick)))
        self._held += tick.standing is Standing.HOLD
        self._left_out += left_out
        if tick.trouble is not None:
            self._event("trouble", tick.trouble)
        if self.status.step >= episode.steps:
            self._end_episode("finished")
            self.control.brake("the episode is over", fault=False)

    def _show(self, observation: Observation) -> None:
        """Hand the planner an observation that it must not miss."""
        if self._channels.steps is not None and self._episode is not None:
            self._channels.steps.put(Seen(self._episode.episode, observation, self.control.lag))

    def _end_episode(self, outcome: Literal["finished", "interrupted", "fault"]) -> None:
        if self._episode is not None:
            self._put(Close(self._clock.now(), outcome))
            self._episode = self._sampler = None
            self.status = replace(self.status, timing=self._timing())

    def _timing(self) -> EpisodeTiming:
        if not self._timings:
            return EpisodeTiming()
        late, plan_age, state_age = np.array(self._timings).T
        p50, p99, p999 = np.percentile(late, (50, 99, 99.9)).tolist()
        return EpisodeTiming(
            (p50, p99, p999),
            float(np.percentile(plan_age, 95)),
            float(np.nanpercentile(state_age, 95)),
            self._held,
            self._left_out,
        )

    def _heed_fault(self) -> None:
        reason = self.control.fault or self.control.stopping
        if reason is not None and not self._told:
            self._told = True
            self._event("fault", reason)
        if self.control.fault is not None:
            self._end_episode("fault")
            self.latch.latch(self.control.fault)
        elif reason is None and self._episode is not None and not self.control.following and self.control.done:
            self._end_episode("interrupted")

    def _event(self, kind: str, text: str) -> None:
        self._put(Event(self._clock.now(), kind, text))

    def _put(self, entry: object) -> None:
        self._channels.records.put(entry)

    def _report(self, tick: Tick, lateness: float, left_out: int) -> None:
        ticks = self.status.ticks
        self._lateness[ticks % LATENESS_WINDOW] = lateness
        fault = self.control.fault
        ready = fault is not None or (self._episode is None and self.control.done and tick.speed < AT_REST)
        self.status = replace(
            self.status,
            done=ready,
            fault=fault,
            trouble=tick.trouble or self.status.trouble,
            ticks=ticks + 1,
            late_ticks=self.status.late_ticks + left_out,
            state_age=_state_age(tick),
            plan_age=tick.plan_age,
            speed=tick.speed,
            dropped=self._channels.records.dropped,
        )
        if ticks % STATUS_TICKS == 0 or ready:
            late = np.percentile(self._lateness[: ticks + 1], (50, 99, 99.9))
            command = () if tick.sent is None else tuple(tick.sent.sent.tolist())
            self.status = replace(self.status, lateness=tuple(late.tolist()), command=command)
            self._channels.status.put(self.status)


def check_rate(robot: Robot, model_period: float) -> None:
    """Refuse a robot that is slower than the model, or does not tick when the model's periods end.

    Raises:
        ValueError: if ticks in one period of the model are no whole number.
    """
    rate = robot.spec.control_rate
    ticks = rate * model_period
    if round(ticks) < 1 or abs(ticks - round(ticks)) > 1e-6:
        raise ValueError(
            f"{robot.spec.name}: its control rate of {rate:g} Hz is no whole multiple of the {1 / model_period:g} Hz "
            f"that the model was trained at. Set control_rate in the robot's file to a multiple of it."
        )


def _summary(tick: Tick, lateness: float) -> dict[str, Any]:
    observation = tick.observation
    values = {} if observation is None else observation.values
    return {
        "time": tick.time,
        "sent": None if tick.sent is None else tick.sent.sent.tolist(),
        "joint_position": _listed(values.get("joint_position")),
        "joint_velocity": _listed(values.get("joint_velocity")),
        "state_age": None if observation is None else _state_age(tick),
        "plan_age": tick.plan_age,
        "late": lateness,
    }


def _state_age(tick: Tick) -> float:
    """The age of what was read when its command went out, s; NaN where reading or sending failed."""
    if tick.observation is None or tick.sent is None:
        return math.nan
    return tick.sent.time - max(tick.observation.read_start.values())


def _listed(values: Array | None) -> list[float] | None:
    return None if values is None else np.asarray(values).tolist()


def control(settings: ControlSettings, channels: ControlChannels) -> None:
    """The control process: connect, serve orders until told to quit or a fault, leave the robot safe."""
    channels.stop.heed()
    clock = MonotonicClock()
    robot = seeing(settings.source.open(clock), settings.cameras, clock)
    robot = robot if settings.equip is None else settings.equip(robot)
    _raise_priority()
    try:
        server = ControlServer(settings, channels, robot, clock)
    except (RobotError, OSError, ValueError) as error:
        robot.disconnect()
        channels.status.put(ControlStatus(done=True, fault=str(error)))
        return
    gc.freeze()
    try:
        _serve(server, channels, clock)
    except Exception as error:
        reason = f"{settings.source.name}: the control loop failed: {error!r}"
        server.control.stop_for_good(reason)
        server.latch.latch(reason)
        channels.records.put(Event(clock.now(), "fault", reason))
        channels.records.put(Close(clock.now(), "fault"))
        channels.status.put(replace(server.status, done=True, fault=reason))
        logger.exception("the control loop failed")
    finally:
        _release(robot)
        gc.unfreeze()


def _raise_priority() -> None:
    """Ask for real-time scheduling, so that control preempts planning and learning; ordinary users may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except (PermissionError, AttributeError):
        logger.info("no permission for real-time scheduling: ticks may be late on a busy computer")


def _serve(server: ControlServer, channels: ControlChannels, clock: Clock) -> None:
    period = server.control.period
    due = clock.now()
    left_out = 0
    while not (server.quitting or server.control.fault is not None):
        now = clock.now()
        channels.pulse.beat(now)
        server.serve(max(0.0, now - due), left_out)
        due += period
        left_out = max(0, int((clock.now() - due) / period))
        due += left_out * period
        clock.sleep_until(due)


def _release(robot: Robot) -> None:
    try:
        robot.disconnect()
    except (RobotError, OSError) as error:
        logger.error("%s: could not be released: %s", robot.spec.name, error)
