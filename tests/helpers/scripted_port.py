"""A serial line in virtual time, on which a test says who answers what, and when."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hardware.clock import VirtualClock
from hardware.errors import ConnectionLostError

Answers = Iterable[tuple[float, bytes]]
"""(seconds after the request, bytes) of everything that comes."""


@dataclass
class ScriptedPort:
    """Calls ``peer`` with every request and delivers what it returns at its time; bytes keep their order."""

    clock: VirtualClock
    peer: Callable[[bytes], Answers]
    name: str = "scripted"
    baudrate: int = 1_000_000
    latency: float = 0.001
    requests: list[bytes] = field(default_factory=list)
    closed: bool = False
    gone: bool = False
    _coming: list[tuple[float, bytes]] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self._require_line()
        self.requests.append(data)
        for delay, answer in self.peer(data):
            if answer:
                before = self._coming[-1][0] if self._coming else 0.0
                self._coming.append((max(self.clock.now() + delay, before), answer))

    def read(self, deadline: float) -> bytes:
        self._require_line()
        if not self._coming or self._coming[0][0] > max(deadline, self.clock.now()):
            self.clock.sleep_until(deadline)
            return b""
        self.clock.sleep_until(self._coming[0][0])
        data = b""
        while self._coming and self._coming[0][0] <= self.clock.now():
            data += self._coming.pop(0)[1]
        return data

    def close(self) -> None:
        self.closed = True

    def _require_line(self) -> None:
        if self.gone:
            raise ConnectionLostError("port scripted is gone")
        assert not self.closed, "used after it was closed"
