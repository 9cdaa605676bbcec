"""What a register of a servo is: where it lies, what its number means, and both directions of that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hardware.wire.feetech import from_sign_magnitude, to_sign_magnitude

Kind = Literal["unsigned", "signed", "sign_bit_10", "sign_bit_11", "sign_bit_15"]
"""How a number is written: plain, in two's complement, or as sign and magnitude with the sign in that bit."""

Protocol = Literal["dynamixel", "feetech"]


@dataclass(frozen=True, slots=True)
class Register:
    """One register of a control table.

    Attributes:
        name: the manual's name in snake case; the same name means the same thing in every table.
        address: of the lowest byte.
        size: bytes, low byte first.
        kind: how signed numbers are written.
        unit: of ``value``: rad, rad/s, rad/s², A, V, °C, s or "" for a plain number; load and PWM are fractions.
        scale: unit per count.
        zero: the count that means 0.
        eeprom: whether it survives a loss of power; such a register is locked while torque is on.
        read_only: whether it cannot be written.
        initial: the factory's count, or what it shows at power-on.
        low: the smallest count that the servo accepts.
        high: the largest count that the servo accepts.
    """

    name: str
    address: int
    size: int
    kind: Kind = "unsigned"
    unit: str = ""
    scale: float = 1.0
    zero: int = 0
    eeprom: bool = False
    read_only: bool = False
    initial: int = 0
    low: int = 0
    high: int = 0

    def value(self, count: int) -> float:
        """What a count means, in ``unit``."""
        return (count - self.zero) * self.scale

    def count(self, value: float) -> int:
        """The count nearest to a value in ``unit``.

        Raises:
            ValueError: if the value is not finite or has no count.
        """
        if not math.isfinite(value):
            raise ValueError(f"{self.name} cannot be {value}; it takes a finite number")
        count = round(value / self.scale) + self.zero
        if not self.low <= count <= self.high:
            raise ValueError(
                f"{self.name} cannot be {value:.6g} {self.unit}: it takes {self.value(self.low):.6g} to "
                f"{self.value(self.high):.6g} {self.unit}"
            )
        return count

    def encode(self, count: int) -> bytes:
        """The bytes of a count.

        Raises:
            ValueError: if they cannot hold it.
        """
        try:
            if self.kind == "signed":
                return count.to_bytes(self.size, "little", signed=True)
            if self.kind != "unsigned":
                count = to_sign_magnitude(count, _SIGN_BITS[self.kind])
            return count.to_bytes(self.size, "little")
        except OverflowError as error:
            raise ValueError(f"{self.name} has {self.size} bytes, which cannot hold {count}") from error

    def decode(self, data: bytes) -> int:
        """The count that bytes hold, ``data`` being exactly this register's."""
        if self.kind == "signed":
            return int.from_bytes(data, "little", signed=True)
        word = int.from_bytes(data, "little")
        return word if self.kind == "unsigned" else from_sign_magnitude(word, _SIGN_BITS[self.kind])


_SIGN_BITS: Mapping[str, int] = {"sign_bit_10": 10, "sign_bit_11": 11, "sign_bit_15": 15}


@dataclass(frozen=True)
class ControlTable:
    """All registers of one model of servo.

    Attributes:
        name: the model, in lower case.
        model_number: what the servo answers when asked.
        protocol: how it is spoken to.
        resolution: counts per turn.
        baud_rates: bits per second by the code in ``baud_rate``.
        errors: what the bits of its hardware error mask mean.
        registers: by name.
    """

    name: str
    model_number: int
    protocol: Protocol
    resolution: int
    baud_rates: Mapping[int, int]
    errors: Mapping[int, str]
    registers: Mapping[str, Register] = field(repr=False)

    def __getitem__(self, name: str) -> Register:
        try:
            return self.registers[name]
        except KeyError:
            raise KeyError(f"{self.name} has no register {name!r}; it has {', '.join(self.registers)}") from None

    def __contains__(self, name: str) -> bool:
        return name in self.registers

    def error_text(self, mask: int) -> str:
        """The names of the bits in a hardware error mask, for people."""
        named = [text for bit, text in self.errors.items() if mask & bit]
        unknown = mask & ~sum(self.errors)
        return ", ".join([*named, f"unknown bits 0x{unknown:02X}"] if unknown else named)
