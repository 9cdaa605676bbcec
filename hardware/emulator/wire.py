"""The line between host and servos: wire time at the baud rate, turn-taking, the adapter's latency, faults.

Everything is computed on times that are passed in; nothing waits.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from hardware.emulator.options import WireOptions
from hardware.emulator.reply import Reply
from hardware.wire import dynamixel, feetech

BITS_PER_BYTE = 10
"""On the wire: a start bit, eight of data, a stop bit."""

_PACKET_SIZE = 62
_SHORTEST_BATCH = 125e-6
_SILENCE = 0.050
_LATE = 0.100
_GARBAGE = 7


class Line(Protocol):
    """The servos of one bus, and how they take turns."""

    servos: Any
    parser: Any

    def hear(self, packet: Any, baudrate: int, time: float) -> list[list[Reply]]:
        """Obey a packet; the replies in turn, those in one list colliding."""
        ...


class Wire:
    """One half-duplex bus with its adapter.

    Attributes:
        baudrate: bits per second that the host talks at.
        latency: the adapter's latency timer, s.
        echo: whether the host hears itself.
        requests: instruction packets that servos heard.
        replies: status packets that servos sent.
        collisions: times at which two talked at once.

    Args:
        line: the servos.
        options: the adapter.
        rng: draws garbage.
    """

    def __init__(self, line: Line, options: WireOptions, rng: np.random.Generator) -> None:
        self.line = line
        self.baudrate = 1_000_000
        self.latency = options.latency
        self.echo = options.echo
        self.requests = self.replies = self.collisions = 0
        self._rng = rng
        self._requests: deque[tuple[float, int, Any]] = deque()
        self._arrivals: list[tuple[float, int, int]] = []
        self._order = 0
        self._host_until = -math.inf
        self._servos_until = -math.inf
        self._heard_at = -math.inf
        self._spoiling: dict[str, float | None] = {}

    def spoil(self, fault: str, until: float | None) -> None:
        """Spoil transactions up to a time, or the next one only if there is none."""
        self._spoiling[fault] = until

    def leave(self, fault: str) -> None:
        """End a fault of transactions."""
        self._spoiling.pop(fault, None)

    def spoiling(self, now: float) -> list[str]:
        """The faults of transactions that are waiting or in force."""
        return [name for name, until in self._spoiling.items() if until is None or now < until]

    def drop(self) -> None:
        """Forget all bytes under way: the line is cut."""
        self._requests.clear()
        self._arrivals.clear()
        self.line.parser.clear()

    def write(self, data: bytes, now: float) -> None:
        """The host sends bytes; they take their time on the wire."""
        if not data:
            return
        byte_time = BITS_PER_BYTE / self.baudrate
        start = max(now, self._host_until)
        self._host_until = start + len(data) * byte_time
        if start - self._heard_at > _SILENCE:
            self.line.parser.clear()
        self._heard_at = self._host_until
        if self.echo:
            for index, byte in enumerate(data):
                self._arrive(start + (index + 1) * byte_time, byte)
        if start < self._servos_until:
            self._collide(start)
            return
        if self._takes("lost-request", now):
            return
        for index in range(len(data)):
            for packet in self.line.parser.feed(data[index : index + 1]):
                self._requests.append((start + (index + 1) * byte_time, self.baudrate, packet))

    def next_request(self) -> float:
        """When the next instruction packet is complete at the servos; infinite if none is under way."""
        return self._requests[0][0] if self._requests else math.inf

    def answer(self) -> None:
        """Let the servos obey the next instruction packet."""
        time, baudrate, packet = self._requests.popleft()
        self.requests += 1
        groups = self.line.hear(packet, baudrate, time)
        if not groups:
            return
        groups, late = self._spoiled(groups, time)
        byte_time = BITS_PER_BYTE / baudrate
        end = time
        for group in groups:
            start = max((time if group[0].after_request else end) + group[0].delay, end)
            data = _together([reply.data for reply in group])
            self.collisions += len(group) > 1
            self.replies += len(group) if data else 0
            end = start + len(data) * byte_time
            for index, byte in enumerate(data):
                self._arrive(start + (index + 1) * byte_time + late, byte)
        self._servos_until = end

    def next_delivery(self) -> float:
        """When the adapter hands the next bytes to the host; infinite if there are none."""
        if not self._arrivals:
            return math.inf
        waits = max(self.latency, _SHORTEST_BATCH)
        first = self._arrivals[0][0]
        if len(self._arrivals) >= _PACKET_SIZE:
            full = heapq.nsmallest(_PACKET_SIZE, self._arrivals)[-1][0]
            return min(first + waits, full)
        return first + waits

    def deliver(self, now: float) -> bytes:
        """The bytes that the host has received by a time and has not been given yet."""
        data = bytearray()
        while (due := self.next_delivery()) <= now:
            while self._arrivals and self._arrivals[0][0] <= due:
                data.append(heapq.heappop(self._arrivals)[2])
        return bytes(data)

    def _arrive(self, time: float, byte: int) -> None:
        self._order += 1
        heapq.heappush(self._arrivals, (time, self._order, byte))

    def _collide(self, start: float) -> None:
        """The host talks into a reply: neither is understood."""
        self.collisions += 1
        self.line.parser.clear()
        noise = self._rng.integers(0, 256, len(self._arrivals))
        self._arrivals = [
            (time, order, byte if time < start else byte ^ int(noise[index]))
            for index, (time, order, byte) in enumerate(self._arrivals)
        ]

    def _takes(self, fault: str, now: float) -> bool:
        """Whether a fault spoils this transaction."""
        if fault not in self._spoiling:
            return False
        until = self._spoiling[fault]
        if until is None or now >= until:
            del self._spoiling[fault]
        return until is None or now < until

    def _spoiled(self, groups: list[list[Reply]], now: float) -> tuple[list[list[Reply]], float]:
        """The replies with the faults in force, and by how much they are late, s."""
        if not self._spoiling:
            return groups, 0.0
        if self._takes("reordered-replies", now):
            groups = groups[::-1]
        head, rest = groups[0], groups[1:]
        first = head[0]
        data = first.data
        if self._takes("wrong-id", now):
            data = _readdressed(data, self.line.servos)
        if self._takes("crc-flip", now) and data:
            data = data[:-1] + bytes([data[-1] ^ 0x10])
        if self._takes("partial-frame", now):
            data = data[: len(data) // 2]
        if self._takes("garbage", now):
            data = bytes(self._rng.integers(0, 256, _GARBAGE, dtype=np.uint8)) + data
        if self._takes("lost-reply", now):
            data = b""
        late = _LATE if self._takes("late-reply", now) else 0.0
        return [[replace(first, data=data), *head[1:]], *rest], late


def _together(replies: Sequence[bytes]) -> bytes:
    """What is on an open-collector line when several talk at once: a bit is 0 if anyone pulls it down."""
    if len(replies) == 1:
        return replies[0]
    mixed = bytearray(b"\xff" * max(map(len, replies)))
    for data in replies:
        for index, byte in enumerate(data):
            mixed[index] &= byte
    return bytes(mixed)


def _readdressed(data: bytes, servos: Sequence[Any]) -> bytes:
    """A reply as if another servo had sent it, with a check that fits."""
    at = 4 if data.startswith(b"\xff\xff\xfd\x00") else 2
    if len(data) <= at:
        return data
    others = [servo.id for servo in servos if servo.id != data[at]] or [(data[at] + 1) % 253]
    changed = data[:at] + bytes([others[0]]) + data[at + 1 :]
    if at == 4:
        return changed[:-2] + dynamixel.crc(changed[:-2]).to_bytes(2, "little")
    return changed[:-1] + bytes([feetech.checksum(changed[2:-1])])
