"""Lines that spoil what servos say, and the rule that holds on all of them: the right value, or an error."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from scripted_port import ScriptedPort
from servo_peers import Memory, dynamixel_peer, feetech_peer, in_turn

from hardware.clock import VirtualClock
from hardware.dynamixel_bus import DynamixelBus
from hardware.errors import BusError, ServoFaultError
from hardware.feetech_bus import FeetechBus
from hardware.serial_bus import SerialBus
from hardware.wire import dynamixel, feetech
from hardware.wire.tables import control_table

SPOILS = ("whole", "lost", "flipped", "cut", "garbage", "late", "twice", "echo", "reordered", "stranger", "noise")
"""What can happen to the answers to one request."""


@dataclass
class SpoiledLine:
    """Servos whose positions change with every request, behind a line that spoils answers as ``what`` says.

    Attributes:
        drawn: chooses bits, places and bytes.
        what: what happens to the answers to each request, in turn; nothing once it is used up.
    """

    protocol: str
    what: list[str]
    drawn: random.Random
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        model = "xl430-w250" if self.protocol == "dynamixel" else "sts3215"
        self.servos = {servo: Memory(model, servo) for servo in (1, 2, 3)}
        self._peer: Callable[[bytes], list[bytes]] = (
            dynamixel_peer(self.servos) if self.protocol == "dynamixel" else feetech_peer(self.servos)
        )
        self._requests = 0
        self.port = ScriptedPort(self.clock, self._answer)
        kind = DynamixelBus if self.protocol == "dynamixel" else FeetechBus
        self.bus: SerialBus = kind(self.port, dict.fromkeys(self.servos, control_table(model)), self.clock)

    def positions(self) -> list[int]:
        return [memory.get("present_position") for memory in self.servos.values()]

    def _answer(self, request: bytes) -> list[tuple[float, bytes]]:
        self._requests += 1
        for servo, memory in self.servos.items():
            memory.set("present_position", 1000 * servo + self._requests % 997)
        frames = self._peer(request)
        spoil = self.what.pop(0) if self.what else "whole"
        return self._spoiled(spoil, frames, request) if frames else []

    def _spoiled(self, spoil: str, frames: list[bytes], request: bytes) -> list[tuple[float, bytes]]:
        victim = self.drawn.randrange(len(frames))
        frame = frames[victim]
        if spoil == "flipped":
            changed = bytearray(frame)
            changed[self.drawn.randrange(len(frame))] ^= 1 << self.drawn.randrange(8)
            frames[victim] = bytes(changed)
        elif spoil == "cut":
            frames[victim] = frame[: self.drawn.randrange(len(frame))]
        elif spoil == "garbage":
            frames[victim] = self._harmless_noise(frame) + frame
        elif spoil == "twice":
            frames[victim] = frame + frame
        elif spoil == "lost":
            frames[victim] = b""
        elif spoil == "reordered":
            self.drawn.shuffle(frames)
        elif spoil == "echo":
            frames.insert(0, request)
        elif spoil == "stranger":
            frames.insert(victim, self._stranger())
        elif spoil == "noise":
            frames = [self._harmless_noise(b"")]
        answers = in_turn(frames, request)
        if spoil == "late":
            time, late = answers[victim]
            answers[victim] = (time + self.drawn.choice((0.004, 0.03, 0.1)), late)
        return answers

    def _harmless_noise(self, frame: bytes) -> bytes:
        """Noise that does not make up a packet of its own together with what follows: no receiver could tell it."""
        while True:
            noise = bytes(self.drawn.choice((0xFF, 0xFD, 0x00, 1, 4, self.drawn.randrange(256))) for _ in range(12))
            parser = dynamixel.PacketParser() if self.protocol == "dynamixel" else feetech.PacketParser()
            alone = dynamixel.PacketParser() if self.protocol == "dynamixel" else feetech.PacketParser()
            genuine = alone.feed(frame)
            if all(packet in genuine for packet in parser.feed(noise + frame)):
                return noise

    def _stranger(self) -> bytes:
        data = bytes(self.drawn.randrange(256) for _ in range(4))
        return dynamixel.build_status(9, 0, data) if self.protocol == "dynamixel" else feetech.build(9, 0, data)


def check_spoiled(protocol: str, what: list[str], seed: int) -> tuple[int, int]:
    """Read and write over a spoiled line.

    Returns:
        How many requests got a value, and how many an error.

    Raises:
        AssertionError: if a value was wrong, or a request took longer than it may.
    """
    line = SpoiledLine(protocol, list(what), random.Random(seed))
    bus, plan = line.bus, line.bus.plan_read(dict.fromkeys(line.servos, ("present_position",)))
    values = errors = 0
    for step in range(len(what) + 3):
        started = line.clock.now()
        try:
            if step % 3 == 2:
                bus.write_count(2, "profile_acceleration", step)
                assert line.servos[2].get("profile_acceleration") == step
            elif step % 3 == 1:
                assert bus.read_count(1, "present_position") == line.positions()[0]
            else:
                register = bus.tables[1]["present_position"]
                read = [register.count(row[0]) for row in bus.sync_read(plan)]
                assert read == line.positions(), f"{read} for {line.positions()}"
            values += 1
        except (BusError, ServoFaultError):
            errors += 1
        assert line.clock.now() - started < 0.7
    return values, errors
