"""Maps a planner's actions in [-1, 1] to a robot's commands and back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardware.robot import RobotSpec

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ActionScale:
    """Absolute commands span the command limits; delta targets move the previous command by a bounded step.

    Attributes:
        mode: "absolute" or "delta".
        low: (nu,) lower command limits.
        high: (nu,) upper command limits.
        step: (nu,) what a delta action of 1 adds per control period; unused by absolute commands.
        holds_at_zero: whether an absolute command of 0 keeps the robot where it is (torques, velocities).
    """

    mode: Literal["absolute", "delta"]
    low: Array
    high: Array
    step: Array
    holds_at_zero: bool = True

    @classmethod
    def absolute(cls, spec: RobotSpec) -> "ActionScale":
        """Actions span the robot's command limits.

        Raises:
            ValueError: if a joint has no finite command limits.
        """
        low, high = spec.command_limits
        for joint, lower, upper in zip(spec.joints, low, high, strict=True):
            if not (np.isfinite(lower) and np.isfinite(upper)):
                raise ValueError(
                    f"{spec.name}: joint {joint.name!r} has command limits ({lower}, {upper}); an absolute action "
                    f"scale needs finite ones. Give the actuator a ctrlrange, or use delta targets."
                )
        return cls("absolute", low, high, high - low, holds_at_zero=spec.command_mode != "position")

    @classmethod
    def delta(cls, spec: RobotSpec, speed: float, period: float) -> "ActionScale":
        """Actions move position targets at up to ``speed`` (rad/s or m/s), bounded by the joints' own speed limits."""
        low, high = spec.command_limits
        speeds = [min(speed, joint.velocity or np.inf) for joint in spec.joints]
        return cls("delta", low, high, np.array(speeds) * period)

    def to_command(self, action: Array, previous_command: Array) -> Array:
        """The command for an action (nu,) in [-1, 1]."""
        if self.mode == "delta":
            return np.clip(previous_command + action * self.step, self.low, self.high)
        return self.low + (action + 1) * 0.5 * (self.high - self.low)

    def to_action(self, command: Array, previous_command: Array) -> Array:
        """The action that explains a command that was sent; the inverse of ``to_command`` within the limits."""
        if self.mode == "delta":
            return (command - previous_command) / self.step
        return 2 * (command - self.low) / (self.high - self.low) - 1

    def hold_action(self, previous_command: Array) -> Array:
        """The action that keeps the robot where it is."""
        if self.mode == "delta":
            return np.zeros_like(self.low)
        keep = np.zeros_like(self.low) if self.holds_at_zero else previous_command
        return np.clip(self.to_action(keep, previous_command), -1, 1)
