"""Which servos an arm has, and where they sit."""

from dataclasses import dataclass

from hardware.emulator.dynamixel_servo import DynamixelServo
from hardware.emulator.feetech_servo import FeetechServo

AnyServo = DynamixelServo | FeetechServo
"""A servo of either maker."""


@dataclass(frozen=True)
class ServoPlace:
    """One servo of an arm.

    Attributes:
        joint: the joint that it moves.
        id: its address on the bus.
        model: its control table.
        sign: 1 if it turns the same way as the joint, -1 otherwise.
        gear: its turns per turn of the joint.
        reverse: whether its drive mode is set to turn its direction round (Dynamixel).
        shadows: the identifier of the servo that it follows; None for the joint's own servo.
    """

    joint: str
    id: int
    model: str
    sign: float = 1.0
    gear: float = 1.0
    reverse: bool = False
    shadows: int | None = None
