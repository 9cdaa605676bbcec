"""Dynamixels on one bus: who answers what, in which order. Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0".

Where the manual is silent, this is what is assumed: a servo that misses in a sync read leaves a gap of 2 ms; a
broadcast ping is answered in slots of 3 ms by identifier; a packet whose CRC is wrong is not answered.
"""

from collections.abc import Sequence

from hardware.emulator.dynamixel_servo import BAD_INSTRUCTION, LENGTH, RANGE, DynamixelServo
from hardware.emulator.reply import Reply
from hardware.wire import dynamixel
from hardware.wire.dynamixel import BROADCAST, Instruction, Packet, PacketParser

_PING_SLOT = 0.003
_GAP = 0.002
_CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"
_ANSWERED_FROM: dict[int, int] = {Instruction.PING: 0, Instruction.READ: 1}
_ANSWERED_FROM_OTHERWISE = 2


class DynamixelLine:
    """All servos on one bus, and how they take turns.

    Args:
        servos: in any order; their identifiers may clash.
    """

    def __init__(self, servos: Sequence[DynamixelServo]) -> None:
        self.servos = list(servos)
        self.parser = PacketParser()

    def hear(self, packet: Packet, baudrate: int, time: float) -> list[list[Reply]]:
        """Obey an instruction packet that ended at a time.

        Returns:
            The replies one after the other; those within one list start at the same time and collide.
        """
        awake = [servo for servo in self.servos if servo.hears(baudrate, time)]
        if packet.instruction == Instruction.STATUS:
            return []
        for servo in awake:
            servo.feed(time)
        if packet.instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            return self._sync_read(packet, awake)
        if packet.instruction in (Instruction.BULK_READ, Instruction.FAST_BULK_READ):
            return self._bulk_read(packet, awake)
        if packet.instruction == Instruction.SYNC_WRITE:
            self._sync_write(packet.parameters, awake, time)
            return []
        if packet.instruction == Instruction.BULK_WRITE:
            self._bulk_write(packet.parameters, awake, time)
            return []
        if packet.id == BROADCAST:
            return self._broadcast(packet, awake, time)
        return self._single(packet, awake, time)

    def _single(self, packet: Packet, awake: Sequence[DynamixelServo], time: float) -> list[list[Reply]]:
        replies = []
        for servo in awake:
            if servo.id == packet.id:
                delay, level = _delay(servo), servo.memory["status_return_level"]
                error, parameters = _obey(servo, packet, time)
                needed = _ANSWERED_FROM.get(packet.instruction, _ANSWERED_FROM_OTHERWISE)
                if level >= needed:
                    replies.append(Reply(packet.id, _status(servo, error, parameters, packet.id), delay))
            elif servo.memory["secondary_id"] == packet.id and packet.instruction in (
                Instruction.WRITE,
                Instruction.REG_WRITE,
                Instruction.ACTION,
            ):
                _obey(servo, packet, time, eeprom=False)
        return [replies] if replies else []

    def _broadcast(self, packet: Packet, awake: Sequence[DynamixelServo], time: float) -> list[list[Reply]]:
        if packet.instruction == Instruction.PING:
            return [
                [
                    Reply(
                        i,
                        _status(servo, *_obey(servo, packet, time)),
                        _delay(servo) + _PING_SLOT * i,
                        after_request=True,
                    )
                ]
                for i, servo in sorted(((servo.id, servo) for servo in awake), key=lambda pair: pair[0])
            ]
        if packet.instruction == Instruction.READ:
            return []
        if packet.instruction == Instruction.FACTORY_RESET and packet.parameters[:1] == b"\xff":
            return []
        for servo in awake:
            _obey(servo, packet, time)
        return []

    def _sync_read(self, packet: Packet, awake: Sequence[DynamixelServo]) -> list[list[Reply]]:
        parameters = packet.parameters
        if len(parameters) < 5:
            return []
        address, length = _word(parameters, 0), _word(parameters, 2)
        asked = [(servo, address, length) for servo in parameters[4:]]
        return _read_in_turn(asked, awake, fast=packet.instruction == Instruction.FAST_SYNC_READ)

    def _bulk_read(self, packet: Packet, awake: Sequence[DynamixelServo]) -> list[list[Reply]]:
        parameters = packet.parameters
        asked = [
            (parameters[at], _word(parameters, at + 1), _word(parameters, at + 3))
            for at in range(0, len(parameters) - 4, 5)
        ]
        return _read_in_turn(asked, awake, fast=packet.instruction == Instruction.FAST_BULK_READ)

    def _sync_write(self, parameters: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
        if len(parameters) < 5:
            return
        address, length = _word(parameters, 0), _word(parameters, 2)
        for at in range(4, len(parameters) - length, length + 1):
            _write_silently(parameters[at], address, parameters[at + 1 : at + 1 + length], awake, time)

    def _bulk_write(self, parameters: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
        at = 0
        while at + 5 <= len(parameters):
            address, length = _word(parameters, at + 1), _word(parameters, at + 3)
            data = parameters[at + 5 : at + 5 + length]
            if len(data) < length:
                return
            _write_silently(parameters[at], address, data, awake, time)
            at += 5 + length


def _obey(servo: DynamixelServo, packet: Packet, time: float, *, eeprom: bool = True) -> tuple[int, bytes]:
    """Error code and parameters of the answer to an instruction for one servo."""
    parameters = packet.parameters
    if packet.instruction == Instruction.PING:
        return 0, servo.memory.read(0, 2) + servo.memory.read(6, 1)
    if packet.instruction == Instruction.READ:
        return servo.read(_word(parameters, 0), _word(parameters, 2)) if len(parameters) == 4 else (LENGTH, b"")
    if packet.instruction in (Instruction.WRITE, Instruction.REG_WRITE):
        if len(parameters) < 2:
            return LENGTH, b""
        if packet.instruction == Instruction.REG_WRITE:
            return servo.register_write(_word(parameters, 0), parameters[2:]), b""
        return servo.write(_word(parameters, 0), parameters[2:], time, eeprom=eeprom), b""
    if packet.instruction == Instruction.ACTION:
        return servo.action(time), b""
    if packet.instruction == Instruction.REBOOT:
        servo.restart(time)
        return 0, b""
    if packet.instruction == Instruction.FACTORY_RESET:
        keep = {b"\xff": (), b"\x01": ("id",), b"\x02": ("id", "baud_rate")}.get(parameters)
        if keep is None:
            return RANGE, b""
        servo.factory_reset(keep, time)
        return 0, b""
    if packet.instruction == Instruction.CLEAR:
        return (servo.clear_turns() if parameters == _CLEAR_TURNS else RANGE), b""
    return BAD_INSTRUCTION, b""


def _read_in_turn(
    asked: Sequence[tuple[int, int, int]], awake: Sequence[DynamixelServo], *, fast: bool
) -> list[list[Reply]]:
    groups: list[list[Reply]] = []
    parts: list[tuple[int, int, bytes]] = []
    missing = len(asked)
    first_delay = 0.0
    for turn, (identifier, address, length) in enumerate(asked):
        servos = [s for s in awake if s.id == identifier and s.memory["status_return_level"] >= 1]
        replies = []
        for servo in servos:
            error, data = servo.read(address, length)
            alert = dynamixel.ALERT if servo.errors else 0
            parts.append((identifier, error | alert, data.ljust(length, b"\0")))
            first_delay = first_delay or _delay(servo)
            replies.append(Reply(identifier, _status(servo, error, data), _delay(servo)))
        if not servos:
            missing = min(missing, turn)
            parts.append((identifier, 0, bytes(length)))
        groups.append(replies or [Reply(identifier, b"", _GAP)])
    if not fast:
        return groups
    if sum(4 + length for _, _, length in asked) >= dynamixel.MAX_LENGTH:
        return []
    whole = dynamixel.build_fast_status(parts[: len(asked)])
    if missing < len(asked):
        whole = whole[: (8 + sum(4 + length for _, _, length in asked[:missing])) if missing else 0]
    return [[Reply(BROADCAST, whole, first_delay)]] if whole else []


def _write_silently(identifier: int, address: int, data: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
    for servo in awake:
        if servo.id == identifier:
            servo.write(address, data, time)
        elif servo.memory["secondary_id"] == identifier:
            servo.write(address, data, time, eeprom=False)


def _status(servo: DynamixelServo, error: int, parameters: bytes, identifier: int | None = None) -> bytes:
    alert = dynamixel.ALERT if servo.errors else 0
    return dynamixel.build_status(servo.id if identifier is None else identifier, error | alert, parameters)


def _delay(servo: DynamixelServo) -> float:
    return servo.memory.value("return_delay_time")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
