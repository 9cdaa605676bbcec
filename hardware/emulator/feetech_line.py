"""Feetech STS servos on one bus: who answers what, in which order.

Source: Feetech, "Communication protocol user manual". Where it is silent, this is what is assumed: a servo that misses
in a sync read leaves a gap of 1 ms; a broadcast ping is answered in slots of 1 ms by identifier.
"""

from collections.abc import Sequence

from hardware.emulator.feetech_servo import FeetechServo
from hardware.emulator.reply import Reply
from hardware.wire import feetech
from hardware.wire.feetech import BROADCAST, Instruction, Packet, PacketParser

FACTORY_RESET, REBOOT = 0x06, 0x08
"""Instructions that the newer firmware knows."""

_GAP = 0.001
_PING_SLOT = 0.001
_LONGEST_READ = 253


class FeetechLine:
    """All servos on one bus, and how they take turns.

    Args:
        servos: in any order; their identifiers may clash.
    """

    def __init__(self, servos: Sequence[FeetechServo]) -> None:
        self.servos = list(servos)
        self.parser = PacketParser()

    def hear(self, packet: Packet, baudrate: int, time: float) -> list[list[Reply]]:
        """Obey an instruction packet that ended at a time.

        Returns:
            The replies one after the other; those within one list start at the same time and collide.
        """
        awake = [servo for servo in self.servos if servo.hears(baudrate, time)]
        if packet.code == Instruction.SYNC_READ:
            return self._sync_read(packet.parameters, awake)
        if packet.code == Instruction.SYNC_WRITE:
            self._sync_write(packet.parameters, awake, time)
            return []
        if packet.id == BROADCAST:
            if packet.code == Instruction.PING:
                return [
                    [Reply(servo.id, feetech.build(servo.id, servo.errors), _PING_SLOT * servo.id, after_request=True)]
                    for servo in sorted(awake, key=lambda servo: servo.id)
                ]
            if packet.code != Instruction.READ:
                for servo in awake:
                    _obey(servo, packet, time)
            return []
        replies = []
        for servo in awake:
            if servo.id != packet.id:
                continue
            delay, level = _delay(servo), servo.memory["status_return_level"]
            data = _obey(servo, packet, time)
            if data is not None and (level or packet.code in (Instruction.PING, Instruction.READ)):
                replies.append(_answer(servo, packet.id, data, delay))
        return [replies] if replies else []

    def _sync_read(self, parameters: bytes, awake: Sequence[FeetechServo]) -> list[list[Reply]]:
        if len(parameters) < 3 or parameters[1] > _LONGEST_READ:
            return []
        groups = []
        for identifier in parameters[2:]:
            replies = [
                _answer(servo, identifier, servo.read(parameters[0], parameters[1]), _delay(servo))
                for servo in awake
                if servo.id == identifier
            ]
            groups.append(replies or [Reply(identifier, b"", _GAP)])
        return groups

    def _sync_write(self, parameters: bytes, awake: Sequence[FeetechServo], time: float) -> None:
        if len(parameters) < 2:
            return
        address, length = parameters[0], parameters[1]
        for at in range(2, len(parameters) - length, length + 1):
            for servo in awake:
                if servo.id == parameters[at]:
                    servo.write(address, parameters[at + 1 : at + 1 + length], time)


def _obey(servo: FeetechServo, packet: Packet, time: float) -> bytes | None:
    """The data of the answer to an instruction for one servo; None if it has none."""
    parameters = packet.parameters
    if packet.code == Instruction.PING:
        return b""
    if packet.code == Instruction.READ:
        return (
            servo.read(parameters[0], parameters[1])
            if len(parameters) == 2 and parameters[1] <= _LONGEST_READ
            else None
        )
    if packet.code in (Instruction.WRITE, Instruction.REG_WRITE):
        if len(parameters) < 2:
            return None
        if packet.code == Instruction.WRITE:
            servo.write(parameters[0], parameters[1:], time)
        else:
            servo.register_write(parameters[0], parameters[1:])
        return b""
    if packet.code == Instruction.ACTION:
        servo.action(time)
        return b""
    if packet.code == REBOOT:
        servo.restart(time)
        return b""
    if packet.code == FACTORY_RESET:
        servo.factory_reset(("id", "baud_rate"), time)
        return b""
    return None


def _answer(servo: FeetechServo, identifier: int, data: bytes, delay: float) -> Reply:
    return Reply(identifier, feetech.build(identifier, servo.errors, data), delay)


def _delay(servo: FeetechServo) -> float:
    return servo.memory.value("return_delay_time")
