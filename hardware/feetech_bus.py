"""Feetech STS servos on one line.

Requests and replies look alike in this protocol: an adapter that echoes what is sent would pass for a servo. So a
packet that equals its request is never taken for an answer, and servos are asked who they are with a read whose
answer is longer than its request.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hardware.clock import Clock
from hardware.serial_bus import PATIENCE, SerialBus
from hardware.serial_port import Port
from hardware.servo_bus import Identity, ReadPlan, Reply
from hardware.wire import feetech
from hardware.wire.registers import ControlTable, Register

_IDENTITY_LENGTH = 6


class FeetechBus(SerialBus):
    """Servos that speak the protocol of the STS series.

    Args:
        port: the line; the bus closes it.
        tables: the control table of each servo.
        clock: what deadlines are on; the port's.
        names: what people call the servos, by identifier.
        patience: seconds that host and adapter may add to every exchange.
    """

    _overhead = 6

    def __init__(
        self,
        port: Port,
        tables: Mapping[int, ControlTable],
        clock: Clock,
        *,
        names: Mapping[int, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(port, tables, clock, names=names, patience=patience)
        self._parser = feetech.PacketParser()

    def recover(self, servo: int) -> None:
        """Switch the torque off, which ends an overload; other errors end when their cause does."""
        self.write_count(servo, "torque_enable", 0)
        self.read_count(servo, "hardware_error_status")

    def _read_request(self, servo: int, address: int, length: int) -> bytes:
        return feetech.read(servo, address, length)

    def _write_request(self, servo: int, address: int, data: bytes) -> bytes:
        return feetech.write(servo, address, data)

    def _sync_read_request(self, plan: ReadPlan) -> bytes:
        return feetech.sync_read(plan.address, plan.length, plan.servos)

    def _sync_write_request(self, address: int, data: Mapping[int, bytes]) -> bytes:
        return feetech.sync_write(address, data)

    def _identity_request(self, servo: int) -> tuple[bytes, int]:
        return feetech.read(servo, 0, _IDENTITY_LENGTH), _IDENTITY_LENGTH

    def _identity(self, reply: Reply) -> Identity | None:
        major, minor, _, low, high, servo = reply.data
        return Identity(low | high << 8, f"{major}.{minor}") if servo == reply.servo else None

    def _received(self, data: bytes, request: bytes) -> list[Reply]:
        return [
            Reply(packet.id, packet.code, packet.parameters)
            for packet in self._parser.feed(data)
            if feetech.build(packet.id, packet.code, packet.parameters) != request
        ]

    def _forget(self) -> None:
        self._parser.clear()

    def _is_answer(self, reply: Reply, length: int) -> bool:
        return len(reply.data) == length

    def _should_repeat(self, reply: Reply) -> bool:
        return False

    def _note_error(self, reply: Reply, doing: str) -> None:
        self.errors[reply.servo] = reply.error

    @contextmanager
    def _unlocked(self, servo: int, register: Register) -> Iterator[None]:
        """Writes to EEPROM last only while it is unlocked."""
        if not register.eeprom:
            yield
            return
        self.write_count(servo, "lock", 0)
        try:
            yield
        finally:
            self.write_count(servo, "lock", 1)
