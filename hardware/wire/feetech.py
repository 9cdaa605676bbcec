"""Packets of the Feetech STS and SMS servos, built and parsed; no input or output.

A packet is ``FF FF | ID | LENGTH | INSTRUCTION | parameters | SUM``, where a reply has an error mask in the place of
the instruction. Words are little-endian; signed ones are sign and magnitude. SUM is the complement of the low byte of
the sum of all after the header. Source: Feetech, "Communication protocol user manual" and the STS memory table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

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


class PacketParser:
    """Finds packets in a stream of bytes, and its way back after anything else.

    Attributes:
        garbage: bytes that belonged to no packet so far.
        corrupted: packets whose check byte was wrong so far.
    """

    def __init__(self) -> None:
        self.garbage = 0
        self.corrupted = 0
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their packet."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget the bytes of an unfinished packet."""
        self.garbage += len(self._buffer)
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes in, in pieces of any size, and return the packets that they complete."""
        self._buffer += data
        packets: list[Packet] = []
        while self._find_header():
            if len(self._buffer) < 4:
                break
            servo, length = self._buffer[2], self._buffer[3]
            if servo == 0xFF or length < 2:
                self._drop(1)
                continue
            size = length + 4
            if len(self._buffer) < size:
                break
            body = bytes(self._buffer[2 : size - 1])
            if checksum(body) != self._buffer[size - 1]:
                self.corrupted += 1
                self._drop(1)
                continue
            packets.append(Packet(servo, body[2], body[3:]))
            del self._buffer[:size]
        return packets

    def _find_header(self) -> bool:
        """Drop what stands in front of the next header; false if there is none yet."""
        at = self._buffer.find(_HEADER)
        if at < 0:
            self._drop(len(self._buffer) - self._buffer.endswith(_HEADER[:1]))
            return False
        self._drop(at)
        return True

    def _drop(self, count: int) -> None:
        self.garbage += count
        del self._buffer[:count]
