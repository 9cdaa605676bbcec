"""Packets of the Feetech STS and SMS servos, built and parsed; no input or output.

A packet is ``FF FF | ID | LENGTH | INSTRUCTION | parameters | SUM``, where a reply has an error mask in the place of
the instruction. Words are little-endian; signed ones are sign and magnitude. SUM is the complement of the low byte of
the sum of all after the header. Source: Feetech, "Communication protocol user manual" and the STS memory table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from hardware.wire.framing import StreamParser

BROADCAST = 0xFE
"""The identifier that every servo obeys."""

MAX_ID = 253
"""The largest identifier of a servo."""

STATUS_BITS: Mapping[int, str] = {
    0x01: "input voltage",
    0x02: "position sensor",
    0x04: "overheating",
    0x08: "over-current",
    0x10: "angle",
    0x20: "overload",
}
"""What the bits of a reply's error mask, and of the status register, mean."""

_HEADER = b"\xff\xff"


class Instruction(IntEnum):
    """The instruction byte."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet.

    Attributes:
        id: the servo that is addressed, or that replies.
        code: the instruction, or the error mask of a reply: the bytes do not tell which.
        parameters: what follows.
    """

    id: int
    code: int
    parameters: bytes = b""


def checksum(body: bytes) -> int:
    """The check byte of everything between header and check byte."""
    return ~sum(body) & 0xFF


def build(servo: int, code: int, parameters: bytes = b"") -> bytes:
    """The bytes of an instruction, or of a reply with an error mask as its code.

    Raises:
        ValueError: if there is no such identifier, or the packet is too long.
    """
    if not 0 <= servo <= BROADCAST:
        raise ValueError(f"{servo} is not an identifier; take 0 to {MAX_ID}, or {BROADCAST} for all")
    length = len(parameters) + 2
    if length > 0xFF:
        raise ValueError(f"a packet of length {length} is too long; at most 255: address fewer servos at once")
    body = bytes([servo, length, code]) + parameters
    return _HEADER + body + bytes([checksum(body)])


def ping(servo: int) -> bytes:
    """Ask whether a servo is there."""
    return build(servo, Instruction.PING)


def read(servo: int, address: int, length: int) -> bytes:
    """Ask one servo for ``length`` bytes."""
    return build(servo, Instruction.READ, bytes([address, length]))


def write(servo: int, address: int, data: bytes) -> bytes:
    """Write to one servo."""
    return build(servo, Instruction.WRITE, bytes([address]) + data)


def register_write(servo: int, address: int, data: bytes) -> bytes:
    """Write when ``action`` comes."""
    return build(servo, Instruction.REG_WRITE, bytes([address]) + data)


def action(servo: int = BROADCAST) -> bytes:
    """Carry out what ``register_write`` announced."""
    return build(servo, Instruction.ACTION)


def sync_read(address: int, length: int, servos: Iterable[int]) -> bytes:
    """Ask several servos for the same registers; they answer one after the other in this order."""
    return build(BROADCAST, Instruction.SYNC_READ, bytes([address, length, *servos]))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Write the same registers of several servos, ``data`` by identifier; nobody answers.

    Raises:
        ValueError: if the data are not equally long.
    """
    lengths = {len(part) for part in data.values()}
    if len(lengths) != 1:
        raise ValueError(f"a sync write takes the same number of bytes for every servo, not {sorted(lengths)}")
    parameters = b"".join(bytes([servo]) + part for servo, part in data.items())
    return build(BROADCAST, Instruction.SYNC_WRITE, bytes([address, lengths.pop()]) + parameters)


def to_sign_magnitude(value: int, sign_bit: int) -> int:
    """A signed number with its sign in one bit and its magnitude in the bits below.

    Raises:
        ValueError: if the magnitude does not fit.
    """
    limit = (1 << sign_bit) - 1
    if abs(value) > limit:
        raise ValueError(f"{value} does not fit into sign and {sign_bit} bits; at most ±{limit}")
    return value if value >= 0 else -value | 1 << sign_bit


def from_sign_magnitude(word: int, sign_bit: int) -> int:
    """The signed number whose sign is one bit and whose magnitude is the bits below."""
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word >> sign_bit & 1 else magnitude


class PacketParser(StreamParser[Packet]):
    """Finds packets in a stream of bytes; ``corrupted`` counts those whose check byte was wrong."""

    header = _HEADER

    def _size(self, data: bytearray) -> int | None:
        if len(data) < 4:
            return None
        servo, length = data[2], data[3]
        return length + 4 if servo != 0xFF and length >= 2 else 0

    def _is_intact(self, frame: bytes) -> bool:
        return checksum(frame[2:-1]) == frame[-1]

    def _packet(self, frame: bytes) -> Packet:
        return Packet(frame[2], frame[4], frame[5:-1])
