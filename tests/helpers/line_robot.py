"""Two joints that are wherever they are told to be, on an injected clock, with faults to order."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hardware.clock import Clock
from hardware.errors import BusError, StoppedError
from hardware.robot import JointSpec, Observation, RobotSpec, SentAction
from planners.plan import Plan
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.schedule import PlanFrom
from robot_ctrl.task import Array

RATE = 100.0
MODEL_PERIOD = 0.05
SPEED = 1.0

SPEC = RobotSpec(
    "line",
    tuple(JointSpec(name, (-2.0, 2.0), velocity=2.0, acceleration=20.0) for name in ("left", "right")),
    "position",
    RATE,
    park_pose=(0.5, -0.5),
)
UNHURRIED = replace(SPEC, joints=tuple(replace(joint, acceleration=None) for joint in SPEC.joints))
"""The same without a limit on its acceleration."""

SCALE = ActionScale.delta(SPEC, SPEED, MODEL_PERIOD)


class LineRobot:
    """The robot; ``failing_reads`` and ``failing_sends`` count down."""

    spec = SPEC
    is_connected = True

    def __init__(self, clock: Clock, spec: RobotSpec = SPEC) -> None:
        self.clock, self.spec = clock, spec
        self.position = np.zeros(spec.action_size)
        self.stops: list[str] = []
        self.failing_reads = self.failing_sends = 0
        self.while_reading: Callable[[], None] = lambda: None
        self._sequence = 0

    def connect(self) -> None:
        pass

    def disconnect(self) -> None:
        self.is_connected = False

    def get_observation(self) -> Observation:
        self.while_reading()
        if self.failing_reads:
            self.failing_reads -= 1
            raise BusError("line: left does not answer; look at its cable")
        self._sequence += 1
        now = self.clock.now()
        values = {name: self.position.copy() for name in ("joint_position", "command")}
        values["joint_velocity"] = np.zeros_like(self.position)
        return Observation(self._sequence, values, {}, {"bus": now}, {"bus": now})

    def send_action(self, action: Array) -> SentAction:
        if self.stops:
            raise StoppedError(f"line was stopped: {self.stops[0]}")
        if self.failing_sends:
            self.failing_sends -= 1
            raise BusError("line: right does not answer; look at its cable")
        self.position = action.copy()
        return SentAction(action.copy(), action.copy(), (), self.clock.now())

    def stop(self, reason: str) -> None:
        self.stops.append(reason)

    def clear_fault(self) -> None:
        self.stops.clear()


def plan_of(
    start: float,
    *actions: tuple[float, float],
    command: tuple[float, float] = (0.0, 0.0),
    computed_at: float | None = None,
    interpolation: str = "hold",
) -> PlanFrom:
    """A plan whose actions each last one period of the model."""
    plan = Plan(
        start_time=start,
        dt=MODEL_PERIOD,
        actions=np.array(actions, np.float32),
        hold_action=np.zeros(2, np.float32),
        interpolation=interpolation,  # type: ignore[arg-type]
        computed_at=start if computed_at is None else computed_at,
    )
    return PlanFrom(plan, np.array(command))
