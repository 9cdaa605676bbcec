"""How the emulated arm differs from the simulated one, and how its bus is connected."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class PlantOptions:
    """The physics of the emulated arm: with the defaults those of its MJCF model.

    Attributes:
        payload: kg that the gripper holds.
        friction: factor on the dry friction of all joints.
        damping: factor on the viscous friction of all joints.
        delay: s between a goal's arrival at a servo and its effect.
        noise: standard deviation of the encoders' error, rad.
        backlash: factor on the play of the gears.
        supply: voltage of the power supply, V; None for what each servo is made for.
        resistance: of supply and cables, ohm; current through it makes the voltage sag.
        mounting: angle of the servo where the joint's is 0, by joint, rad: what calibration has to find.
        start: where the joints are at the start, by joint, rad; the park pose where it is silent.
    """

    payload: float = 0.0
    friction: float = 1.0
    damping: float = 1.0
    delay: float = 0.0
    noise: float = 0.0
    backlash: float = 1.0
    supply: float | None = None
    resistance: float = 0.08
    mounting: Mapping[str, float] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no arm has."""
        for name in (item.name for item in fields(self)):
            value = getattr(self, name)
            if isinstance(value, float | int) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"emulator: {name} is {value}; it must be finite and 0 or more")


@dataclass(frozen=True)
class WireOptions:
    """The adapter between host and servos.

    Attributes:
        latency: s that the adapter keeps bytes back to send them together (its latency timer); 0 for an adapter
            without one.
        echo: whether the host hears its own bytes.
    """

    latency: float = 0.001
    echo: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible times."""
        if not (math.isfinite(self.latency) and 0 <= self.latency <= 1):
            raise ValueError(f"emulator: a latency of {self.latency} s is not possible; take 0 to 1 s")
