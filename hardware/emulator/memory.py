"""A servo's control table as bytes: what is kept without power, and what is lost."""

from hardware.wire.registers import ControlTable, Register


class ControlMemory:
    """The registers of one servo.

    Registers in EEPROM have a stored copy, which is what a restart brings back; all others start from their factory
    count.

    Args:
        table: the servo's control table.
    """

    def __init__(self, table: ControlTable) -> None:
        self.table = table
        self.size = max(register.address + register.size for register in table.registers.values())
        self._bytes = bytearray(self.size)
        self._stored = bytearray(self.size)
        self._at: list[Register | None] = [None] * self.size
        for register in table.registers.values():
            self._at[register.address : register.address + register.size] = [register] * register.size
        self.reset_to_factory()

    def __getitem__(self, name: str) -> int:
        """The count in a register."""
        register = self.table[name]
        return register.decode(bytes(self._bytes[register.address : register.address + register.size]))

    def __setitem__(self, name: str, count: int) -> None:
        """Put a count into a register, as the servo's own firmware does: nothing is checked or stored."""
        register = self.table[name]
        self._bytes[register.address : register.address + register.size] = register.encode(count)

    def value(self, name: str) -> float:
        """What a register says, in its unit."""
        return self.table[name].value(self[name])

    def register_at(self, address: int) -> Register | None:
        """The register that a byte belongs to; None in a gap or outside."""
        return self._at[address] if 0 <= address < self.size else None

    def registers_in(self, address: int, length: int) -> list[Register]:
        """The registers with at least one byte in a range, in order."""
        found: list[Register] = []
        for register in self._at[max(address, 0) : address + length]:
            if register is not None and (not found or found[-1] is not register):
                found.append(register)
        return found

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes; gaps and what lies outside read as 0."""
        return bytes(self._bytes[address : address + length]).ljust(length, b"\0")

    def write(self, address: int, data: bytes, *, store: bool) -> None:
        """Put bytes into memory; those in EEPROM are kept without power if ``store``."""
        end = min(address + len(data), self.size)
        data = data[: max(end - address, 0)]
        self._bytes[address:end] = data
        if store:
            for register in self.registers_in(address, len(data)):
                self._store(register)

    def store(self, name: str) -> None:
        """Keep a register's present count without power."""
        self._store(self.table[name])

    def power_up(self) -> None:
        """Bring back what was stored, and the start values of everything else."""
        for register in self.table.registers.values():
            if register.eeprom:
                part = slice(register.address, register.address + register.size)
                self._bytes[part] = self._stored[part]
            else:
                self[register.name] = register.initial

    def reset_to_factory(self, keep: tuple[str, ...] = ()) -> None:
        """Set every register to its factory count and store it, except those to keep."""
        for register in self.table.registers.values():
            if register.name not in keep:
                self[register.name] = register.initial
                self._store(register)

    def stored(self) -> bytes:
        """What would come back after a loss of power: all bytes in EEPROM."""
        return bytes(self._stored)

    def _store(self, register: Register) -> None:
        if register.eeprom:
            part = slice(register.address, register.address + register.size)
            self._stored[part] = self._bytes[part]
