"""Packets of DYNAMIXEL Protocol 2.0, built and parsed; no input or output.

A packet is ``FF FF FD 00 | ID | LENGTH | INSTRUCTION | parameters | CRC``, words little-endian. Inside instruction
and parameters every ``FF FF FD`` is sent as ``FF FF FD FD`` (byte stuffing); length and CRC are taken after stuffing.
Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from hardware.wire.framing import StreamParser

BROADCAST = 0xFE
"""The identifier that every servo obeys."""

MAX_ID = 252
"""The largest identifier of a servo."""

MAX_LENGTH = 1024
"""The largest length field that is believed; anything longer is noise."""

ALERT = 0x80
"""The bit of a status packet's error byte that says: read the hardware error status."""

RESULT_ERRORS: Mapping[int, str] = {
    1: "it could not process the instruction",
    2: "it does not know the instruction",
    3: "the packet's CRC was wrong",
    4: "the value is outside the register's range",
    5: "the data are shorter than the register",
    6: "the value is outside a limit set in the servo",
    7: "the register is read-only, or in EEPROM and locked while torque is on",
}
"""What the low seven bits of a status packet's error byte mean."""

_HEADER = b"\xff\xff\xfd\x00"
_STUFFED = b"\xff\xff\xfd\xfd"
_UNSTUFFED = b"\xff\xff\xfd"
_OVERHEAD = 7
_CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"


class Instruction(IntEnum):
    """The instruction byte; ``STATUS`` marks a servo's reply."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A
    BULK_READ = 0x92
    BULK_WRITE = 0x93
    FAST_BULK_READ = 0x9A


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, without stuffing.

    Attributes:
        id: the servo that is addressed, or that replies.
        instruction: the instruction byte; ``Instruction.STATUS`` in a reply.
        parameters: what follows the instruction, or the error byte of a reply.
        error: the error byte of a reply; 0 in an instruction.
    """

    id: int
    instruction: int
    parameters: bytes = b""
    error: int = 0


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x8005 if value & 0x8000 else value << 1
        table.append(value & 0xFFFF)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc(data: bytes, start: int = 0) -> int:
    """CRC-16 with polynomial 0x8005, not reflected, going on from ``start``."""
    table, value = _CRC_TABLE, start
    for byte in data:
        value = ((value << 8) & 0xFFFF) ^ table[(value >> 8) ^ byte]
    return value


def stuff(body: bytes) -> bytes:
    """The body with FD put after every ``FF FF FD``, so that a header cannot occur in it."""
    return body.replace(_UNSTUFFED, _STUFFED) if _UNSTUFFED in body else body


def unstuff(body: bytes) -> bytes:
    """The body that was stuffed."""
    return body.replace(_STUFFED, _UNSTUFFED) if _STUFFED in body else body


def build(servo: int, instruction: int, parameters: bytes = b"") -> bytes:
    """The bytes of an instruction packet.

    Raises:
        ValueError: if there is no such identifier, or the packet is too long.
    """
    return _frame(servo, stuff(bytes([instruction]) + parameters))


def build_status(servo: int, error: int = 0, parameters: bytes = b"") -> bytes:
    """The bytes of a servo's reply.

    Raises:
        ValueError: if there is no such identifier, or the packet is too long.
    """
    return _frame(servo, stuff(bytes([Instruction.STATUS, error]) + parameters))


def _frame(servo: int, body: bytes) -> bytes:
    if not 0 <= servo <= BROADCAST or servo == 0xFD:
        raise ValueError(f"{servo} is not an identifier; take 0 to {MAX_ID}, or {BROADCAST} for all")
    length = len(body) + 2
    if length > MAX_LENGTH:
        raise ValueError(f"a packet of length {length} is too long; at most {MAX_LENGTH}: address fewer servos at once")
    packet = _HEADER + bytes([servo]) + length.to_bytes(2, "little") + body
    return packet + crc(packet).to_bytes(2, "little")


def ping(servo: int) -> bytes:
    """Ask for model number (2 bytes) and firmware version (1 byte); every servo in turn if broadcast."""
    return build(servo, Instruction.PING)


def read(servo: int, address: int, length: int) -> bytes:
    """Ask one servo for ``length`` bytes."""
    return build(servo, Instruction.READ, _words(address, length))


def write(servo: int, address: int, data: bytes) -> bytes:
    """Write to one servo."""
    return build(servo, Instruction.WRITE, _words(address) + data)


def register_write(servo: int, address: int, data: bytes) -> bytes:
    """Write when ``action`` comes."""
    return build(servo, Instruction.REG_WRITE, _words(address) + data)


def action(servo: int = BROADCAST) -> bytes:
    """Carry out what ``register_write`` announced."""
    return build(servo, Instruction.ACTION)


def reboot(servo: int) -> bytes:
    """Restart a servo: the only way out of a shutdown."""
    return build(servo, Instruction.REBOOT)


def factory_reset(servo: int, keep: int) -> bytes:
    """Reset to factory values: all (0xFF), all but the identifier (0x01), or but identifier and baud rate (0x02)."""
    return build(servo, Instruction.FACTORY_RESET, bytes([keep]))


def clear_turns(servo: int) -> bytes:
    """Set the present position back to within one turn."""
    return build(servo, Instruction.CLEAR, _CLEAR_TURNS)


def sync_read(address: int, length: int, servos: Iterable[int], *, fast: bool = False) -> bytes:
    """Ask several servos for the same registers; if ``fast``, they answer in one common packet."""
    instruction = Instruction.FAST_SYNC_READ if fast else Instruction.SYNC_READ
    return build(BROADCAST, instruction, _words(address, length) + bytes(servos))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Write the same registers of several servos, ``data`` by identifier; nobody answers.

    Raises:
        ValueError: if the data are not equally long.
    """
    lengths = {len(part) for part in data.values()}
    if len(lengths) != 1:
        raise ValueError(f"a sync write takes the same number of bytes for every servo, not {sorted(lengths)}")
    parameters = b"".join(bytes([servo]) + part for servo, part in data.items())
    return build(BROADCAST, Instruction.SYNC_WRITE, _words(address, lengths.pop()) + parameters)


def bulk_read(parts: Mapping[int, tuple[int, int]], *, fast: bool = False) -> bytes:
    """Ask several servos for registers of their own: (address, length) by identifier."""
    instruction = Instruction.FAST_BULK_READ if fast else Instruction.BULK_READ
    return build(BROADCAST, instruction, b"".join(bytes([servo]) + _words(*part) for servo, part in parts.items()))


def bulk_write(parts: Mapping[int, tuple[int, bytes]]) -> bytes:
    """Write registers of several servos' own: (address, data) by identifier; nobody answers."""
    return build(
        BROADCAST,
        Instruction.BULK_WRITE,
        b"".join(bytes([servo]) + _words(address, len(data)) + data for servo, (address, data) in parts.items()),
    )


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def build_fast_status(parts: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The common reply to a fast read, from (identifier, error, data) in the order of the request.

    Every servo adds error, identifier, data and the CRC of everything so far; nothing is stuffed.
    """
    blocks = list(parts)
    length = 1 + sum(4 + len(data) for _, _, data in blocks)
    packet = _HEADER + bytes([BROADCAST]) + length.to_bytes(2, "little") + bytes([Instruction.STATUS])
    for servo, error, data in blocks:
        packet += bytes([error, servo]) + data
        packet += crc(packet).to_bytes(2, "little")
    return packet


def split_fast_status(packet: Packet, lengths: Iterable[int]) -> list[Packet]:
    """The single replies within the common reply to a fast read.

    Args:
        packet: the common reply, as a PacketParser yields it: its CRC is checked, and covers every block.
        lengths: how many bytes were asked of each servo, in the order of the request.

    Raises:
        ValueError: if the reply has another length.
    """
    body = bytes([packet.error]) + packet.parameters
    expected = list(lengths)
    if len(body) != sum(expected) + 4 * len(expected) - 2:
        raise ValueError(f"{len(body)} bytes came for {expected} asked of {len(expected)} servos")
    replies, at = [], 0
    for length in expected:
        data = body[at + 2 : at + 2 + length]
        replies.append(Packet(body[at + 1], Instruction.STATUS, data, body[at]))
        at += 4 + length
    return replies


class PacketParser(StreamParser[Packet]):
    """Finds packets in a stream of bytes; ``corrupted`` counts those whose CRC was wrong."""

    header = _HEADER

    def _size(self, data: bytearray) -> int | None:
        if len(data) < _OVERHEAD + 1:
            return None
        length = int.from_bytes(data[5:7], "little")
        least = 4 if data[7] == Instruction.STATUS else 3
        size = length + _OVERHEAD
        possible = least <= length <= MAX_LENGTH and data[4] <= BROADCAST and not _has_header_inside(data, size)
        return size if possible else 0

    def _is_intact(self, frame: bytes) -> bool:
        return crc(frame[:-2]) == int.from_bytes(frame[-2:], "little")

    def _packet(self, frame: bytes) -> Packet:
        servo, instruction, body = frame[4], frame[7], frame[8:-2]
        if instruction != Instruction.STATUS:
            return Packet(servo, instruction, unstuff(body))
        if servo != BROADCAST:
            body = unstuff(body)
        return Packet(servo, instruction, body[1:], body[0])


def _has_header_inside(data: bytearray, size: int) -> bool:
    """Stuffing keeps headers out of packets: where one shows, the packet around it was cut short."""
    if data[4] == BROADCAST and data[7] == Instruction.STATUS:
        return False
    at = data.find(_HEADER, 1)
    return 0 < at < size - len(_HEADER)
