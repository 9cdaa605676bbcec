"""Where control and supervisor get their robot from; free of torch, and picklable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hardware.arms.so101 import so101
from hardware.clock import Clock
from hardware.robot import Array, Observation, Robot
from hardware.safety import SafetyFilter

SafePolicy = Literal["hold", "park", "torque_off"]
Completion = Callable[[Observation, Mapping[str, Array]], Observation]


@dataclass(frozen=True)
class SimulatedArm:
    """The simulated SO-101 in real time: no wire, no servos, but the same loop.

    Attributes:
        control_rate: Hz.
        name: under which faults are latched.
        safe_policy: what is done after a fault.
        measures: values that its observations hold beside joints and command.
    """

    control_rate: float = 100.0
    name: str = "simulated-so101"
    safe_policy: SafePolicy = "hold"
    measures: tuple[str, ...] = ("gripper_tip",)

    def open(self, clock: Clock) -> Robot:
        """The robot, not connected."""
        return so101(control_rate=self.control_rate, clock=_Unwaiting(clock))

    def filter(self, robot: Robot) -> SafetyFilter:
        """The filter with the robot's own limits."""
        return SafetyFilter(robot.spec)

    def completion(self) -> Completion:
        """The constants of the episode, for example where the target is, replace what the simulation says."""
        return _with_constants

    def make_safe(self, clock: Clock, reason: str) -> None:
        """A simulation ends with the process that ran it."""


@dataclass(frozen=True)
class _Unwaiting:
    """A clock that nobody waits on: the control loop paces the simulation, not the other way round."""

    clock: Clock

    def now(self) -> float:
        return self.clock.now()

    def sleep_until(self, deadline: float) -> None:
        pass


def _with_constants(observation: Observation, constants: Mapping[str, Array]) -> Observation:
    return replace(observation, values={**observation.values, **constants})
