"""Dynamixel X-series servos on one line, by DYNAMIXEL Protocol 2.0."""

import logging
from collections.abc import Mapping

from hardware.clock import Clock
from hardware.errors import BusError, ServoFaultError
from hardware.serial_bus import PATIENCE, SerialBus
from hardware.serial_port import Port
from hardware.servo_bus import Identity, ReadPlan, Reply
from hardware.wire import dynamixel
from hardware.wire.dynamixel import ALERT, BROADCAST, RESULT_ERRORS, Instruction
from hardware.wire.registers import ControlTable

logger = logging.getLogger(__name__)

FAST_FAILURES = 3
"""How many fast sync reads in a row may fail before plain ones are used for good."""

REBOOT_TIME = 3.0
"""Seconds within which a restarted servo must answer."""

_REBOOT_POLL = 0.05
_CRC_ERROR = 3
_RESULT = 0x7F
_HARDWARE_ERROR_STATUS = 70


class DynamixelBus(SerialBus):
    """Servos that speak Protocol 2.0.

    Sync reads are fast ones, where all servos answer in one packet, until that has failed FAST_FAILURES times in a
    row: old firmware does not know them. A fast read that fails is repeated as a plain one, which shows who is silent.

    Args:
        port: the line; the bus closes it.
        tables: the control table of each servo.
        clock: what deadlines are on; the port's.
        names: what people call the servos, by identifier.
        patience: seconds that host and adapter may add to every exchange.
    """

    _overhead = 16

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
        self._parser = dynamixel.PacketParser()
        self._common_lengths: list[int] = []
        self._fast_failures = 0

    def recover(self, servo: int) -> None:
        """Restart a servo, the only way out of a shutdown, and wait until it answers.

        Raises:
            BusError: if it does not answer within REBOOT_TIME.
        """
        self._exchange(dynamixel.reboot(servo), {servo: 0})
        deadline = self._clock.now() + REBOOT_TIME
        while self._clock.now() < deadline:
            self._clock.sleep_until(self._clock.now() + _REBOOT_POLL)
            if self.scan([servo]):
                self.errors[servo] = self.read_count(servo, "hardware_error_status")
                return
        raise BusError(
            f"{self.describe(servo)} was restarted and has not answered for {REBOOT_TIME:g} s; switch its power off "
            f"and on"
        )

    def _read_request(self, servo: int, address: int, length: int) -> bytes:
        return dynamixel.read(servo, address, length)

    def _write_request(self, servo: int, address: int, data: bytes) -> bytes:
        return dynamixel.write(servo, address, data)

    def _sync_read_request(self, plan: ReadPlan) -> bytes:
        return dynamixel.sync_read(plan.address, plan.length, plan.servos)

    def _sync_write_request(self, address: int, data: Mapping[int, bytes]) -> bytes:
        return dynamixel.sync_write(address, data)

    def _identity_request(self, servo: int) -> tuple[bytes, int]:
        return dynamixel.ping(servo), 3

    def _identity(self, reply: Reply) -> Identity | None:
        return Identity(int.from_bytes(reply.data[:2], "little"), str(reply.data[2]))

    def _sync_read(self, plan: ReadPlan) -> dict[int, Reply]:
        expected = dict.fromkeys(plan.servos, plan.length)
        if self._fast_failures < FAST_FAILURES and not self._still_doubted(expected):
            self._common_lengths = list(expected.values())
            try:
                replies = self._ask(dynamixel.sync_read(plan.address, plan.length, plan.servos, fast=True), expected)
            finally:
                self._common_lengths = []
            if len(replies) == len(expected):
                self._fast_failures = 0
                return replies
            self._fast_failures += 1
            self.counters.retries += 1
            if self._fast_failures == FAST_FAILURES:
                logger.info("port %s: fast sync read does not work; plain ones from now on", self._port.name)
        return super()._sync_read(plan)

    def _received(self, data: bytes, request: bytes) -> list[Reply]:
        replies = []
        for packet in self._parser.feed(data):
            if packet.instruction != Instruction.STATUS:
                continue
            if packet.id != BROADCAST:
                replies.append(Reply(packet.id, packet.error, packet.parameters))
                continue
            try:
                parts = dynamixel.split_fast_status(packet, self._common_lengths)
            except ValueError:
                self.counters.strays += 1
                continue
            replies.extend(Reply(part.id, part.error, part.parameters) for part in parts)
        return replies

    def _forget(self) -> None:
        self._parser.clear()

    def _is_answer(self, reply: Reply, length: int) -> bool:
        return len(reply.data) == length or (reply.error & _RESULT != 0 and not reply.data)

    def _should_repeat(self, reply: Reply) -> bool:
        return reply.error & _RESULT == _CRC_ERROR

    def _note_error(self, reply: Reply, doing: str) -> None:
        if not reply.error & ALERT:
            self.errors[reply.servo] = 0
        elif not self.errors.get(reply.servo):
            self.errors[reply.servo] = self._hardware_error(reply.servo)
        code = reply.error & _RESULT
        if code:
            raise ServoFaultError(
                f"{self.describe(reply.servo)} refused {doing}: {RESULT_ERRORS.get(code, f'error code {code}')}"
            )

    def _hardware_error(self, servo: int) -> int:
        """The mask behind an alert; the alert itself where the servo does not say."""
        reply = self._exchange(dynamixel.read(servo, _HARDWARE_ERROR_STATUS, 1), {servo: 1})[servo]
        return (reply.data[0] if reply.data else 0) or ALERT
