"""The part of a servo bus that does not depend on the protocol: exchanges that cannot mistake one reply for another.

A reply carries no number that ties it to its request. What ties them here: identifier and length must match; a
request goes out only on a quiet line; and after anything went wrong, a servo is believed again only when it has
answered a question that nobody had asked it before. Bytes on one line keep their order, so whatever was late has
arrived by then.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hardware.clock import Clock
from hardware.errors import BusError, ServoFaultError
from hardware.serial_port import Port
from hardware.servo_bus import Counters, Identity, ReadPlan, Reply
from hardware.wire.registers import ControlTable, Register

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a request is sent before a servo counts as not answering."""

PATIENCE = 0.005
"""Seconds that the host's scheduler and the adapter's USB stack may add to an exchange."""

LONGEST_RETURN_DELAY = 254 * 2e-6
"""The longest time that a servo can be set to wait before it answers, s."""

_BITS_PER_BYTE = 10
_QUIET_BYTES = 32
_NEVER_QUIET = 0.5
_SILENT_ENOUGH = 2
_SHORTEST_CONFIRMATION, _CONFIRMATIONS = 12, 16


class SerialBus(ABC):
    """Servos on one serial line.

    Args:
        port: the line; the bus closes it.
        tables: the control table of each servo.
        clock: what deadlines are on; the port's.
        names: what people call the servos, by identifier.
        patience: seconds that host and adapter may add to every exchange.

    Attributes:
        tables: the control table of each servo.
        errors: the hardware error mask that each servo last reported; 0 while all is well.
        counters: what happened on the line.
    """

    _overhead: int
    """Bytes that a reply has around its data, stuffing included."""

    def __init__(
        self,
        port: Port,
        tables: Mapping[int, ControlTable],
        clock: Clock,
        *,
        names: Mapping[int, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.tables = dict(tables)
        self.errors = dict.fromkeys(self.tables, 0)
        self.counters = Counters()
        self._port, self._clock, self._patience = port, clock, patience
        self._names = dict(names or {})
        self._doubted: set[int] = set()
        self._confirmations = 0

    @property
    def port(self) -> Port:
        """The line."""
        return self._port

    def scan(self, servos: Iterable[int]) -> dict[int, Identity]:
        """Which of these answer at once, asked one by one."""
        found = {}
        for servo in servos:
            try:
                found[servo] = self._identify(servo, attempts=1)
            except BusError:
                continue
        return found

    def ping(self, servo: int) -> Identity:
        """What a servo says that it is."""
        return self._identify(servo, attempts=ATTEMPTS)

    def read_count(self, servo: int, register: str) -> int:
        """A register's number."""
        field = self.tables[servo][register]
        reply = self._exchange(self._read_request(servo, field.address, field.size), {servo: field.size})[servo]
        self._note_error(reply, f"reading {register}")
        return field.decode(reply.data)

    def read(self, servo: int, register: str) -> float:
        """A register's value in its SI unit."""
        return self.tables[servo][register].value(self.read_count(servo, register))

    def write_count(self, servo: int, register: str, count: int) -> None:
        """Write a register's number; the servo confirms."""
        field = self.tables[servo][register]
        request = self._write_request(servo, field.address, field.encode(count))
        reply = self._exchange(request, {servo: 0})[servo]
        self._note_error(reply, f"writing {field.value(count):.6g} {field.unit}".rstrip() + f" to {register}")

    def write(self, servo: int, register: str, value: float) -> None:
        """Write a register's value in its SI unit; the servo confirms."""
        self.write_count(servo, register, self.tables[servo][register].count(value))

    def ensure(self, servo: int, register: str, count: int) -> bool:
        """Write a register unless it holds this number, unlocking EEPROM where needed, and read it back.

        Returns:
            Whether it had to be written.

        Raises:
            ServoFaultError: if it holds another number afterwards.
        """
        if self.read_count(servo, register) == count:
            return False
        field = self.tables[servo][register]
        with self._unlocked(servo, field):
            self.write_count(servo, register, count)
        held = self.read_count(servo, register)
        if held != count:
            raise ServoFaultError(
                f"{self.describe(servo)}: {register} holds {held} after {count} was written; is its EEPROM locked, or "
                f"are there two servos with this identifier?"
            )
        logger.info("%s: %s set to %s", self.describe(servo), register, count)
        return True

    def plan_read(self, registers: Mapping[int, Sequence[str]]) -> ReadPlan:
        """Work out a sync read of these registers of each servo."""
        return ReadPlan.of({servo: [self.tables[servo][name] for name in names] for servo, names in registers.items()})

    def sync_read(self, plan: ReadPlan) -> list[list[float]]:
        """The values that a plan asks for, in SI units: one list per servo, all or none."""
        replies = self._sync_read(plan)
        values = []
        for servo, fields in zip(plan.servos, plan.fields, strict=True):
            reply = replies[servo]
            self._note_error(reply, f"reading {fields[0][0].name}")
            data = reply.data
            values.append([field.value(field.decode(data[start:end])) for field, start, end in fields])
        return values

    def sync_write(self, register: str, values: Mapping[int, float]) -> None:
        """Write one register of several servos at once, in SI units; nobody confirms."""
        fields = {servo: self.tables[servo][register] for servo in values}
        data = {servo: fields[servo].encode(fields[servo].count(value)) for servo, value in values.items()}
        self.counters.exchanges += 1
        self._port.write(self._sync_write_request(next(iter(fields.values())).address, data))

    @abstractmethod
    def recover(self, servo: int) -> None:
        """Have a servo forget a hardware error whose cause has gone; its torque is off afterwards."""

    @contextmanager
    def at_baud_rate(self, rate: int) -> Iterator[None]:
        """Talk at another baud rate for a while."""
        usual = self._port.baudrate
        self._port.baudrate = rate
        try:
            yield
        finally:
            self._port.baudrate = usual

    def set_baud_rate(self, servo: int, code: int) -> None:
        """Set a servo to another baud rate, at which it may answer already."""
        field = self.tables[servo]["baud_rate"]
        self._port.write(self._write_request(servo, field.address, field.encode(code)))
        self._doubted.add(servo)

    def close(self) -> None:
        """Give the line back; harmless when closed."""
        self._port.close()

    def describe(self, servo: int) -> str:
        """What people call a servo."""
        name = self._names.get(servo)
        return f"servo {servo}" if name is None else f"{name} (servo {servo})"

    @abstractmethod
    def _read_request(self, servo: int, address: int, length: int) -> bytes:
        """The bytes that ask one servo for a block."""

    @abstractmethod
    def _write_request(self, servo: int, address: int, data: bytes) -> bytes:
        """The bytes that write a block of one servo."""

    @abstractmethod
    def _sync_read_request(self, plan: ReadPlan) -> bytes:
        """The bytes that ask several servos for the same block."""

    @abstractmethod
    def _sync_write_request(self, address: int, data: Mapping[int, bytes]) -> bytes:
        """The bytes that write the same block of several servos."""

    @abstractmethod
    def _identity_request(self, servo: int) -> tuple[bytes, int]:
        """The bytes that ask a servo what it is, and how many it answers with."""

    @abstractmethod
    def _identity(self, reply: Reply) -> Identity | None:
        """What a servo says that it is; None if that is no answer to the question."""

    @abstractmethod
    def _received(self, data: bytes, request: bytes) -> list[Reply]:
        """The replies that bytes complete; echoes and other instructions are left out."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget the bytes of an unfinished packet."""

    @abstractmethod
    def _note_error(self, reply: Reply, doing: str) -> None:
        """Keep the hardware error that a reply reports.

        Raises:
            ServoFaultError: if the servo says that it did not obey.
        """

    @abstractmethod
    def _should_repeat(self, reply: Reply) -> bool:
        """Whether a servo says that the request reached it garbled."""

    @abstractmethod
    def _is_answer(self, reply: Reply, length: int) -> bool:
        """Whether a reply is of the kind that a request for so many bytes gets."""

    @contextmanager
    def _unlocked(self, servo: int, register: Register) -> Iterator[None]:
        """Allow writing to a register for a while, where a servo needs to be asked."""
        yield

    def _sync_read(self, plan: ReadPlan) -> dict[int, Reply]:
        return self._exchange(self._sync_read_request(plan), dict.fromkeys(plan.servos, plan.length))

    def _identify(self, servo: int, attempts: int) -> Identity:
        request, length = self._identity_request(servo)
        identity = self._identity(self._exchange(request, {servo: length}, attempts)[servo])
        if identity is None:
            raise BusError(f"{self.describe(servo)} gives an impossible answer to who it is; is its identifier unique?")
        return identity

    def _exchange(self, request: bytes, expected: Mapping[int, int], attempts: int = ATTEMPTS) -> dict[int, Reply]:
        """Send a request until every servo has answered with the expected number of bytes.

        Raises:
            BusError: if one does not, naming it.
        """
        silent: list[int] = []
        for attempt in range(attempts):
            self.counters.retries += attempt > 0
            silent = self._still_doubted(expected)
            if silent:
                continue
            replies = self._ask(request, expected)
            silent = [servo for servo in expected if servo not in replies or self._should_repeat(replies[servo])]
            if not silent:
                return replies
        raise self._silence(silent, attempts)

    def _ask(self, request: bytes, expected: Mapping[int, int]) -> dict[int, Reply]:
        """Send a request once, and return the replies that came in time."""
        self._doubted.update(expected)
        deadline = self._send(request, expected.values())
        replies: dict[int, Reply] = {}
        for reply in self._replies_until(deadline, request):
            length = expected.get(reply.servo)
            if length is None or reply.servo in replies or not self._is_answer(reply, length):
                self.counters.strays += 1
                continue
            replies[reply.servo] = reply
            self._doubted.discard(reply.servo)
            if len(replies) == len(expected):
                break
        return replies

    def _replies_until(self, deadline: float, request: bytes) -> Iterator[Reply]:
        """The replies as they come, until the deadline; what has come by then is read even if the host was late."""
        while data := self._port.read(deadline):
            yield from self._received(data, request)
            if self._clock.now() > deadline:
                return

    def _send(self, request: bytes, replies: Collection[int]) -> float:
        """Send a request, and return when replies of these lengths, and an echo of the request, must have come."""
        self.counters.exchanges += 1
        self._forget()
        bytes_on_line = 2 * len(request) + sum(replies) + self._overhead * len(replies)
        on_line = bytes_on_line * _BITS_PER_BYTE / self._port.baudrate
        duration = on_line + LONGEST_RETURN_DELAY * len(replies) + self._port.latency + self._patience
        deadline = self._clock.now() + duration
        self._port.write(request)
        return deadline

    def _still_doubted(self, expected: Iterable[int]) -> list[int]:
        """Make sure that no late reply of these servos can be on its way; those of whom that is not sure."""
        unexpected = self._port.read(self._clock.now())
        if unexpected:
            self.counters.discarded += len(unexpected)
            self._doubted.update(expected)
        doubted = sorted(self._doubted.intersection(expected))
        if doubted:
            self._make_quiet()
        silent = 0
        for servo in doubted:
            silent += not self._confirm(servo)
            if silent == _SILENT_ENOUGH:
                break
        return sorted(self._doubted.intersection(expected))

    def _confirm(self, servo: int) -> bool:
        """Ask a servo for a block of a length that nobody asked for lately: what it sent before has arrived by then."""
        self._confirmations += 1
        length = _SHORTEST_CONFIRMATION + self._confirmations % _CONFIRMATIONS
        request = self._read_request(servo, 0, length)
        deadline = self._send(request, [length])
        for reply in self._replies_until(deadline, request):
            if reply.servo == servo and len(reply.data) == length and self._is_itself(reply):
                self._doubted.discard(servo)
                return True
            self.counters.strays += 1
        return False

    def _is_itself(self, reply: Reply) -> bool:
        """Whether the start of a servo's memory holds the right model and identifier."""
        table = self.tables.get(reply.servo)
        if table is None:
            return True
        fields = table["model_number"], table["id"]
        held = [field.decode(reply.data[field.address : field.address + field.size]) for field in fields]
        return held == [table.model_number, reply.servo]

    def _make_quiet(self) -> None:
        """Throw away what comes until nothing comes any more."""
        quiet = self._port.latency + LONGEST_RETURN_DELAY + _QUIET_BYTES * _BITS_PER_BYTE / self._port.baudrate
        started = self._clock.now()
        while data := self._port.read(self._clock.now() + quiet):
            self.counters.discarded += len(data)
            if self._clock.now() - started > _NEVER_QUIET:
                raise BusError(
                    f"port {self._port.name}: bytes nobody asked for have been coming for {_NEVER_QUIET:g} s; unplug "
                    f"the servos one by one to find the one that babbles, and check that nothing else writes to the bus"
                )
        self._forget()

    def _silence(self, silent: Sequence[int], attempts: int) -> BusError:
        names = ", ".join(map(self.describe, silent))
        return BusError(
            f"port {self._port.name} at {self._port.baudrate} baud: {names} did not answer {attempts} times "
            f"({self.counters.strays} stray packets and {self.counters.discarded} stray bytes so far). Check cable, "
            f"power and identifier; a garbled line is often two servos with the same identifier, or another baud "
            f"rate. 'robot-ctrl doctor' shows who answers."
        )
