"""The servos' end of a scripted line: they answer rightly, so that a test can spoil what they say."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from hardware.wire import dynamixel, feetech
from hardware.wire.dynamixel import Instruction
from hardware.wire.tables import control_table

BYTE_TIME = 1e-5


@cache
def factory_bytes(model: str) -> bytes:
    """What a servo's memory holds when it is new."""
    memory = bytearray(256)
    for register in control_table(model).registers.values():
        memory[register.address : register.address + register.size] = register.encode(register.initial)
    return bytes(memory)


@dataclass
class Memory:
    """The registers of one servo."""

    model: str
    id: int
    error: int = 0
    result: int = 0
    bytes: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.bytes = bytearray(factory_bytes(self.model))
        self.set("id", self.id)

    def set(self, name: str, count: int) -> None:
        register = control_table(self.model)[name]
        self.bytes[register.address : register.address + register.size] = register.encode(count)

    def get(self, name: str) -> int:
        register = control_table(self.model)[name]
        return register.decode(bytes(self.bytes[register.address : register.address + register.size]))


def in_turn(frames: list[bytes], request: bytes) -> list[tuple[float, bytes]]:
    """When each frame has come, one after the other at 1 Mbps."""
    time, answers = len(request) * BYTE_TIME, []
    for frame in frames:
        time += len(frame) * BYTE_TIME
        answers.append((time, frame))
    return answers


def dynamixel_peer(servos: dict[int, Memory], *, fast: bool = True) -> Callable[[bytes], list[bytes]]:
    """Answers instruction packets; ``fast`` says whether it knows fast sync reads."""

    def status(servo: int, data: bytes = b"") -> bytes:
        memory = servos[servo]
        return dynamixel.build_status(servo, memory.error | memory.result, b"" if memory.result else data)

    def answer(request: bytes) -> list[bytes]:
        (packet,) = dynamixel.PacketParser().feed(request)
        words = packet.parameters
        start, length = int.from_bytes(words[:2], "little"), int.from_bytes(words[2:4], "little")
        if packet.instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            asked = [servo for servo in words[4:] if servo in servos]
            blocks = [
                (servo, servos[servo].error, bytes(servos[servo].bytes[start : start + length])) for servo in asked
            ]
            if packet.instruction == Instruction.SYNC_READ:
                return [status(servo, data) for servo, _, data in blocks]
            return [dynamixel.build_fast_status(blocks)] if fast and len(asked) == len(words[4:]) else []
        if packet.instruction == Instruction.SYNC_WRITE:
            for at in range(4, len(words), length + 1):
                if words[at] in servos:
                    servos[words[at]].bytes[start : start + length] = words[at + 1 : at + 1 + length]
            return []
        if packet.id not in servos:
            return []
        memory = servos[packet.id]
        if packet.instruction == Instruction.PING:
            return [dynamixel.build_status(packet.id, memory.error, bytes(memory.bytes[0:2] + memory.bytes[6:7]))]
        if packet.instruction == Instruction.READ:
            return [status(packet.id, bytes(memory.bytes[start : start + length]))]
        if packet.instruction == Instruction.WRITE and not memory.result:
            memory.bytes[start : start + len(words) - 2] = words[2:]
        return [status(packet.id)]

    return answer


def feetech_peer(servos: dict[int, Memory]) -> Callable[[bytes], list[bytes]]:
    """Answers instruction packets."""

    def answer(request: bytes) -> list[bytes]:
        (packet,) = feetech.PacketParser().feed(request)
        words = packet.parameters
        if packet.code == feetech.Instruction.SYNC_READ:
            block = slice(words[0], words[0] + words[1])
            return [
                feetech.build(servo, servos[servo].error, bytes(servos[servo].bytes[block]))
                for servo in words[2:]
                if servo in servos
            ]
        if packet.code == feetech.Instruction.SYNC_WRITE:
            for at in range(2, len(words), words[1] + 1):
                if words[at] in servos:
                    servos[words[at]].bytes[words[0] : words[0] + words[1]] = words[at + 1 : at + 1 + words[1]]
            return []
        if packet.id not in servos:
            return []
        memory = servos[packet.id]
        if packet.code == feetech.Instruction.READ:
            return [feetech.build(packet.id, memory.error, bytes(memory.bytes[words[0] : words[0] + words[1]]))]
        if packet.code == feetech.Instruction.WRITE:
            memory.bytes[words[0] : words[0] + len(words) - 1] = words[1:]
        return [feetech.build(packet.id, memory.error)]

    return answer
