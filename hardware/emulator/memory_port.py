"""The port of an emulated arm in the same process: time passes while the host waits for bytes."""

from hardware.clock import Clock
from hardware.emulator.arm import EmulatedArm
from hardware.errors import ConnectionLostError


class MemoryPort:
    """What a servo bus needs of a line, in front of an emulated arm on the same clock.

    Waiting makes a virtual clock jump to the next event on the bus, so exchanges take their wire time on it and
    nothing waits in real time.

    Attributes:
        name: how errors call it.
        arm: what is behind it.

    Args:
        arm: the arm.
        clock: its clock and the host's.
        name: how errors call it.
    """

    def __init__(self, arm: EmulatedArm, clock: Clock, name: str = "memory") -> None:
        self.arm = arm
        self.name = name
        self._clock = clock
        self._open = True

    @property
    def baudrate(self) -> int:
        """Bits per second that the host talks at."""
        return self.arm.wire.baudrate

    @baudrate.setter
    def baudrate(self, baudrate: int) -> None:
        self.arm.wire.baudrate = baudrate

    @property
    def latency(self) -> float:
        """How long the adapter may hold received bytes back, s."""
        return self.arm.wire.latency

    @latency.setter
    def latency(self, latency: float) -> None:
        self.arm.wire.latency = latency

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionLostError: if the cable is pulled or the port was closed.
        """
        self._require_line()
        self.arm.write(data, self._clock.now())

    def read(self, deadline: float) -> bytes:
        """What has been received: at least one byte, or none at the deadline.

        Raises:
            ConnectionLostError: if the cable is pulled or the port was closed.
        """
        while True:
            self._require_line()
            now = self._clock.now()
            if data := self.arm.read(now):
                return data
            self._require_line()
            if now >= deadline:
                return b""
            self._clock.sleep_until(min(max(self.arm.next_event(), now), deadline))

    def close(self) -> None:
        """Give the line back; harmless when closed."""
        self._open = False

    def _require_line(self) -> None:
        self.arm.advance(self._clock.now())
        if not self._open:
            raise ConnectionLostError(f"port {self.name} is closed; connect again")
        if self.arm.faults.cut:
            self._open = False
            raise ConnectionLostError(f"port {self.name} is gone: its cable is pulled; plug it in and connect again")
