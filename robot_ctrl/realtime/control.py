"""The control tick: read, evaluate, filter, send. It never waits for a plan and imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hardware.clock import Clock
from hardware.errors import CommandRefusedError, RobotError, StoppedError
from hardware.robot import Array, Observation, Robot, SentAction
from hardware.safety import SafetyFilter
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.lag import Lag
from robot_ctrl.realtime.motions import Brake, Follow, Hold, Motion, MoveTo
from robot_ctrl.realtime.rules import LatePlanRules, Standing
from robot_ctrl.realtime.schedule import PlanFrom, PlanSchedule

BLIND_TICKS = 3
"""Ticks in a row whose reading or sending may fail before the arm is stopped: one bad packet is no fault."""


Exchange = Callable[[Observation | None], PlanFrom | None]
"""Hands out an observation, None where reading failed, and takes in a new plan."""


AT_REST = 1e-6
"""rad/s; a command that moves no faster rests."""


@dataclass(frozen=True)
class Tick:
    """What one control tick did.

    Attributes:
        time: when it began, seconds on the clock.
        observation: what was read; None where reading failed.
        sent: what was sent; None where nothing was.
        standing: how the plan in force stands, where plans are followed.
        plan_age: seconds since the newest plan was computed; None where no plan is followed.
        speed: of the command, the fastest joint's, rad/s.
        trouble: what failed in this tick without stopping the arm.
    """

    time: float
    observation: Observation | None
    sent: SentAction | None
    standing: Standing | None
    plan_age: float | None
    speed: float
    trouble: str | None = None


class ControlTick:
    """One robot, driven one tick at a time on the clock that it is given.

    Args:
        robot: connected.
        safety: the filter that every command goes through.
        clock: monotonic, or virtual.
        scale: the task's action scale, for one period of the model.
        rules: what happens when plans are late.
        complete: adds to an observation what the task's state needs and the robot does not measure.
        park_speed: rad/s, of parking after a fault that is not the robot's own; None stays where it is.

    Attributes:
        fault: why the arm was stopped for good; None while all is well.
        schedule: the plans in force.
        period: seconds between ticks.
    """

    def __init__(
        self,
        robot: Robot,
        safety: SafetyFilter,
        clock: Clock,
        *,
        scale: ActionScale,
        rules: LatePlanRules,
        complete: Callable[[Observation], Observation] = lambda observation: observation,
        park_speed: float | None = None,
    ) -> None:
        self._robot, self._safety, self._clock = robot, safety, clock
        self._scale, self._rules = scale, rules
        self._complete = complete
        self._park_speed = park_speed
        self.period = 1.0 / robot.spec.control_rate
        self.schedule = PlanSchedule()
        self.fault: str | None = None
        self._motion: Motion = Hold()
        self._following_since: float | None = None
        self._stopping: str | None = None
        self._lag = Lag(self.period)
        self._failures = 0
        self._trouble: str | None = None
        observation = robot.get_observation()
        safety.reset(observation)
        self._sent = np.array(observation.values["command"], dtype=np.float64)
        self._velocity = np.zeros_like(self._sent)

    @property
    def done(self) -> bool:
        """Whether the motion that was asked for is over."""
        return self._motion.done

    @property
    def stopping(self) -> str | None:
        """Why the arm is braking; None while it is not."""
        return self._stopping

    @property
    def sent(self) -> Array:
        """The command (nu,) that was sent last."""
        return self._sent

    @property
    def lag(self) -> float:
        """Seconds that commands are sent after they were asked for, because limits hold them back."""
        return self._lag.seconds

    @property
    def following(self) -> bool:
        """Whether plans are followed."""
        return self._following_since is not None

    def hold(self) -> None:
        """Stand where the last command is."""
        self._begin(Hold())

    def move_to(self, pose: ArrayLike, speed: float) -> None:
        """Go to a pose in a straight line in joint space."""
        self._begin(MoveTo(self._sent, np.asarray(pose, dtype=np.float64), speed, self.period))

    def follow(self) -> None:
        """Follow plans from now on; until the first one arrives, stand."""
        self.schedule.clear()
        self._begin(Follow(self.schedule, self._scale, self.period))
        self._following_since = self._clock.now()

    def brake(self, reason: str, *, fault: bool) -> None:
        """Come to rest; then, if it is a fault, stop the robot for good."""
        if self.fault is None and self._stopping is None:
            self._begin(Brake(self._robot.spec, self._sent, self._velocity, self.period))
            self._stopping = reason if fault else None

    def tick(self, exchange: Exchange) -> Tick:
        """One tick. Errors of the robot and of the filter end in a stop, not in an exception.

        Args:
            exchange: is shown what was read, and returns a new plan if there is one; it must not wait.
        """
        now = self._clock.now()
        if self.fault is not None:
            return Tick(now, None, None, None, None, 0.0)
        try:
            observation: Observation | None = self._complete(self._robot.get_observation())
        except RobotError as error:
            observation = None
            if self._failed(error):
                return Tick(now, None, None, None, None, 0.0)
        plan = exchange(observation)
        if plan is not None:
            self._take(plan, now)
        standing, plan_age = self._judge(now)
        requested = self._motion.command(now, self._sent)
        try:
            sent = self._safety.send(self._robot, requested, observation, now)
        except RobotError as error:
            self._failed(error)
            return Tick(now, observation, None, standing, plan_age, self._speed, str(error))
        trouble = self._trouble if observation is None else None
        if observation is not None:
            self._failures = 0
        if self._safety.fault is None:
            self._lag.add(requested, sent.sent)
        self._velocity = (sent.sent - self._sent) / self.period
        self._sent = sent.sent
        if self._safety.fault is not None:
            self._stopping = self._safety.fault
            if not self._safety.stopping:
                self.fault = self._safety.fault
        elif self._stopping is not None and self._motion.done and self._speed < AT_REST:
            self._at_rest(self._stopping)
        return Tick(now, observation, sent, standing, plan_age, self._speed, trouble)

    def stop_for_good(self, reason: str) -> None:
        """Stop the robot at once and latch; for when braking through commands is not possible."""
        if self.fault is None:
            self._stop_for_good(reason)

    @property
    def _speed(self) -> float:
        return float(np.abs(self._velocity).max(initial=0.0))

    def _begin(self, motion: Motion) -> None:
        if self.fault is None and self._stopping is None:
            self._motion = motion
            self._following_since = None

    def _take(self, new: PlanFrom, now: float) -> None:
        """Put a plan into force; one that is over, or older than what is followed, would be carried out at once."""
        newest = self.schedule.newest
        over = now >= new.plan.end_time
        if over or (newest is not None and new.plan.start_time <= newest.start_time):
            self._trouble = f"left out a plan that started {now - new.plan.start_time:.2f} s ago; look for an old queue"
        else:
            self.schedule.add(new)

    def _judge(self, now: float) -> tuple[Standing | None, float | None]:
        if self._following_since is None:
            return None, None
        newest = self.schedule.newest
        standing = self._rules.judge(now, newest, self._following_since)
        age = now - (self._following_since if newest is None else newest.computed_at)
        if standing is Standing.STOP:
            self.brake(
                f"{self._robot.spec.name}: no new plan for {age:.2f} s, and {self._rules.stop_after} s is the limit. "
                f"Look for a planner that died or a computer that is overloaded, then reset the fault",
                fault=True,
            )
        return standing, age

    def _at_rest(self, reason: str) -> None:
        """After braking for a fault: park if that is the policy, then stop for good."""
        pose = self._robot.spec.park_pose
        if self._park_speed is not None and pose is not None and isinstance(self._motion, Brake):
            self._motion = MoveTo(self._sent, np.array(pose), self._park_speed, self.period)
        else:
            self._stop_for_good(reason)

    def _failed(self, error: RobotError) -> bool:
        """Count a failure; whether the arm is stopped because of it."""
        self._failures += 1
        self._trouble = str(error)
        if isinstance(error, StoppedError | CommandRefusedError) or self._failures >= BLIND_TICKS:
            self._stop_for_good(str(error))
        return self.fault is not None

    def _stop_for_good(self, reason: str) -> None:
        self.fault = reason
        self._velocity = np.zeros_like(self._velocity)
        try:
            self._robot.stop(reason)
        except RobotError as error:
            self.fault = f"{reason}. Stopping it failed too: {error}"
