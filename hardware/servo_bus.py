"""What every servo bus can do, whatever its protocol: SI units, addressed by servo and register name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hardware.wire.registers import ControlTable, Register


@dataclass(frozen=True)
class Identity:
    """What a servo says that it is."""

    model_number: int
    firmware: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A servo's answer.

    Attributes:
        servo: who answers.
        error: its error byte, as it came.
        data: what it was asked for.
    """

    servo: int
    error: int
    data: bytes


@dataclass
class Counters:
    """What happened on the line since it was opened.

    Attributes:
        exchanges: requests that were sent.
        retries: exchanges that were sent again.
        strays: packets that nobody had asked for, or not any more.
        discarded: bytes that were thrown away to make the line quiet.
    """

    exchanges: int = 0
    retries: int = 0
    strays: int = 0
    discarded: int = 0


@dataclass(frozen=True)
class ReadPlan:
    """One sync read, worked out once: the same block of registers of several servos.

    Attributes:
        servos: who is asked, in the order of answers.
        address: of the block.
        length: of the block, bytes.
        fields: for each servo, its registers and where in the block each starts and ends.
    """

    servos: tuple[int, ...]
    address: int
    length: int
    fields: tuple[tuple[tuple[Register, int, int], ...], ...]

    @classmethod
    def of(cls, registers: Mapping[int, Sequence[Register]]) -> "ReadPlan":
        """The block that covers these registers of each servo.

        Raises:
            ValueError: if the servos' blocks differ.
        """
        blocks = {
            (min(r.address for r in asked), max(r.address + r.size for r in asked)) for asked in registers.values()
        }
        if len(blocks) != 1:
            raise ValueError(f"one sync read covers one block of registers, not {sorted(blocks)}")
        start, end = blocks.pop()
        fields = tuple(
            tuple((register, register.address - start, register.address - start + register.size) for register in asked)
            for asked in registers.values()
        )
        return cls(tuple(registers), start, end - start, fields)


class ServoBus(Protocol):
    """Servos on one line.

    Every method raises BusError if a servo does not answer, ServoFaultError if it refuses, and
    ConnectionLostError if the line is gone.

    Attributes:
        tables: the control table of each servo.
        errors: the hardware error mask that each servo last reported; 0 while all is well.
        counters: what happened on the line.
    """

    tables: dict[int, ControlTable]
    errors: dict[int, int]
    counters: Counters

    def ping(self, servo: int) -> Identity:
        """What a servo says that it is."""
        ...

    def scan(self, servos: Iterable[int]) -> dict[int, Identity]:
        """Which of these answer at once, asked one by one."""
        ...

    def read_count(self, servo: int, register: str) -> int:
        """A register's number."""
        ...

    def read(self, servo: int, register: str) -> float:
        """A register's value in its SI unit."""
        ...

    def write_count(self, servo: int, register: str, count: int) -> None:
        """Write a register's number; the servo confirms."""
        ...

    def write(self, servo: int, register: str, value: float) -> None:
        """Write a register's value in its SI unit; the servo confirms."""
        ...

    def ensure(self, servo: int, register: str, count: int) -> bool:
        """Write a register unless it holds this number, unlocking EEPROM where needed, and read it back.

        Returns:
            Whether it had to be written.
        """
        ...

    def plan_read(self, registers: Mapping[int, Sequence[str]]) -> ReadPlan:
        """Work out a sync read of these registers of each servo."""
        ...

    def sync_read(self, plan: ReadPlan) -> list[list[float]]:
        """The values that a plan asks for, in SI units: one list per servo, all or none."""
        ...

    def sync_write(self, register: str, values: Mapping[int, float]) -> None:
        """Write one register of several servos at once, in SI units; nobody confirms."""
        ...

    def recover(self, servo: int) -> None:
        """Have a servo forget a hardware error whose cause has gone; its torque is off afterwards.

        A Dynamixel restarts, so its RAM is at power-on values.
        """
        ...

    def describe(self, servo: int) -> str:
        """What people call a servo."""
        ...

    def close(self) -> None:
        """Give the line back; harmless when closed."""
        ...
