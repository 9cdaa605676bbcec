"""An emulated Dynamixel of the X series, and the bus-wide rules of Protocol 2.0.

Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0" and the pages of XL330-M288-T, XL430-W250-T and XM430-W350-T/R.
Where the manual is silent, this is what is assumed: a goal set while torque is off is replaced by the present position
when torque comes on; an overload is full output for 1 s; the position loop runs at 1 kHz; a servo that misses in a
sync read leaves a gap of 2 ms; a broadcast ping is answered in slots of 3 ms by identifier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Self

from hardware.emulator.memory import ControlMemory
from hardware.emulator.motor import Mode
from hardware.emulator.reply import Reply
from hardware.emulator.servo import COUNT, ZERO, EmulatedServo
from hardware.wire import dynamixel
from hardware.wire.dynamixel import BROADCAST, Instruction, Packet, PacketParser
from hardware.wire.registers import Register

RESULT_FAIL, BAD_INSTRUCTION, RANGE, LENGTH, LIMIT, ACCESS = 1, 2, 4, 5, 6, 7

VOLTAGE, OVERHEATING, ENCODER, SHOCK, OVERLOAD = 0x01, 0x04, 0x08, 0x10, 0x20

REVERSE = 0x01
"""The bit of the drive mode that turns a servo's direction round."""

_GOALS = ("goal_pwm", "goal_current", "goal_velocity", "goal_position")
_LIMITS = {"goal_pwm": "pwm_limit", "goal_current": "current_limit", "goal_velocity": "velocity_limit"}
_TURNS = 1_048_575
_HOMING_IN_ONE_TURN = 1024
_CURRENT, _VELOCITY, _POSITION, _EXTENDED, _CURRENT_POSITION, _PWM = 0, 1, 3, 4, 5, 16
_TORQUE_BY_GOAL = 0x08
_OVERLOAD_TIME = 1.0
_LOOP_TIME = 0.001
_PING_SLOT = 0.003
_GAP = 0.002
_CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"


@dataclass(frozen=True)
class _Limits:
    """What a servo protects itself by."""

    voltage: tuple[float, float]
    temperature: float
    watchdog: float

    @classmethod
    def of(cls, memory: ControlMemory) -> Self:
        return cls(
            (memory.value("min_voltage_limit"), memory.value("max_voltage_limit")),
            memory.value("temperature_limit"),
            max(memory.value("bus_watchdog"), 0.0),
        )


class DynamixelServo(EmulatedServo):
    """One X-series servo."""

    _limits: _Limits
    _turn: float
    _homing: int
    _errors = 0
    _turns = 0
    _fed = 0.0

    @property
    def errors(self) -> int:
        """Its hardware error mask."""
        return self._errors

    def trip(self, error: int) -> None:
        """Report a hardware error, and shut down if its register ``shutdown`` says so."""
        self._errors |= error
        if error & self.memory["shutdown"]:
            self.memory["torque_enable"] = 0
            self.motor.switch(False, 0.0)

    def count(self) -> int:
        """Where its shaft is, in counts as it reports them."""
        return round(ZERO + self._turn * (self._raw_count() - ZERO)) + self._homing - 4096 * self._turns

    def feed(self, time: float) -> None:
        """An instruction packet went by: what the bus watchdog waits for."""
        self._fed = time

    def clear_turns(self) -> int:
        """Count from within one turn again; the error code."""
        if self._is_moving():
            return RESULT_FAIL
        self._turns += self.count() // 4096
        self.motor.hold((self.count() - ZERO) * COUNT)
        return 0

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """The error code, and the bytes if it is 0."""
        if length == 0:
            return LENGTH, b""
        if address + length > self.memory.size:
            return ACCESS, b""
        self._refresh(address, length)
        return 0, self.memory.read(address, length)

    def write(self, address: int, data: bytes, time: float, *, eeprom: bool = True) -> int:
        """Write whole registers, all or none; the error code.

        Args:
            address: of the first register.
            data: its bytes, and those of registers right behind it.
            time: now, s.
            eeprom: whether the address on the packet allows writing to EEPROM.
        """
        if not data:
            return LENGTH
        found: list[tuple[Register, int]] = []
        at = 0
        while at < len(data):
            register = self.memory.register_at(address + at)
            if register is None or register.address != address + at or register.read_only:
                return ACCESS
            if register.eeprom and (self.torque_on or self.eeprom_stuck or not eeprom):
                return ACCESS
            if len(data) - at < register.size:
                return LENGTH
            count = register.decode(data[at : at + register.size])
            if error := self._refusal(register, count):
                return error
            found.append((register, count))
            at += register.size
        self.memory.write(address, data, store=True)
        for register, count in found:
            self._written(register.name, count, time)
        self.configure()
        return 0

    def register_write(self, address: int, data: bytes) -> int:
        """Keep a write for ``action``; the error code."""
        if not data:
            return LENGTH
        self._registered = address, data
        self.memory["registered_instruction"] = 1
        return 0

    def action(self, time: float) -> int:
        """Carry out the write that was kept; the error code."""
        if self._registered is None:
            return BAD_INSTRUCTION
        address, data = self._registered
        self._registered = None
        self.memory["registered_instruction"] = 0
        return self.write(address, data, time)

    def _refusal(self, register: Register, count: int) -> int:
        """The error code for a count that a register does not take, 0 if it does."""
        name, memory = register.name, self.memory
        if name in _GOALS and memory["bus_watchdog"] < 0:
            return RANGE
        if name == "goal_position":
            if memory["operating_mode"] == _POSITION:
                low, high = memory["min_position_limit"], memory["max_position_limit"]
                return 0 if low <= count <= high else LIMIT
            return 0 if abs(count) <= _TURNS else RANGE
        if name in _LIMITS:
            return 0 if abs(count) <= memory[_LIMITS[name]] else LIMIT
        if name == "bus_watchdog":
            return 0 if count == 0 or (count > 0 and memory[name] >= 0) else RANGE
        if name == "operating_mode":
            modes = {_VELOCITY, _POSITION, _EXTENDED, _PWM}
            return (
                0
                if count in (modes | {_CURRENT, _CURRENT_POSITION} if "goal_current" in memory.table else modes)
                else RANGE
            )
        if name == "torque_enable" and count == 1 and self._errors & memory["shutdown"]:
            return ACCESS
        return 0 if register.low <= count <= register.high else RANGE

    def _written(self, name: str, count: int, time: float) -> None:
        if name == "torque_enable":
            self._switch(count == 1)
        elif name == "goal_position":
            if not self.torque_on and self.memory["drive_mode"] & _TORQUE_BY_GOAL:
                self._switch(True)
            self.memory["goal_position"] = count
            if self.torque_on:
                self.motor.follow((count - ZERO) * COUNT, time + self.mount.delay)
        elif name == "bus_watchdog":
            self._fed = time

    def _switch(self, on: bool) -> None:
        position = (self.count() - ZERO) * COUNT
        if on and not self.torque_on:
            self.motor.hold(position)
            self.memory["goal_position"] = self.count()
            self._fed = self._time
        self.memory["torque_enable"] = int(on)
        self.motor.switch(on, position)

    def _started(self) -> None:
        self._errors = 0
        self._turns = 0
        self._turns = self.count() // 4096
        self.memory["goal_position"] = self.count()

    def _direction(self) -> float:
        return self._turn

    def _is_moving(self) -> bool:
        threshold = self.memory.value("moving_threshold")
        return abs(self._velocity) > threshold

    def configure(self) -> None:
        """Do as the registers say from now on."""
        memory, drive = self.memory, self.motor.drive
        mode = memory["operating_mode"]
        self._limits = _Limits.of(memory)
        self._turn = -1.0 if memory["drive_mode"] & REVERSE else 1.0
        self._homing = memory["homing_offset"]
        if mode == _POSITION and abs(self._homing) > _HOMING_IN_ONE_TURN:
            self._homing = 0
        stiffness, damping = self._factory_gains()
        factory = memory.table["position_p_gain"].initial / 128
        unit = stiffness / factory
        drive.stiffness = unit * memory["position_p_gain"] / 128
        drive.integral = unit * memory["position_i_gain"] / 65536 / _LOOP_TIME
        drive.damping = damping + unit * memory["position_d_gain"] / 16 * _LOOP_TIME
        speed, acceleration = memory.value("profile_velocity"), memory.value("profile_acceleration")
        drive.velocity = speed if speed > 0 else inf
        drive.acceleration = acceleration if acceleration > 0 else inf
        drive.limit = min(abs(memory["goal_pwm"]), memory["pwm_limit"]) / 885
        if mode == _CURRENT_POSITION:
            drive.limit = min(drive.limit, abs(memory.value("goal_current")) / self.motor.model.stall_current)
        drive.mode = {_VELOCITY: Mode.VELOCITY, _PWM: Mode.OUTPUT, _CURRENT: Mode.OUTPUT}.get(mode, Mode.POSITION)
        drive.goal_velocity = memory.value("goal_velocity")
        if mode == _CURRENT:
            drive.goal_output = memory.value("goal_current") / self.motor.model.stall_current
            drive.limit = 1.0
        elif mode == _PWM:
            drive.goal_output = memory.value("goal_pwm")
            drive.limit = 1.0
        self.motor.strain_level = 0.98

    def _protect(self, duration: float) -> None:
        limits = self._limits
        if self.motor.temperature > limits.temperature:
            self.trip(OVERHEATING)
        if not limits.voltage[0] <= self.voltage <= limits.voltage[1]:
            self.trip(VOLTAGE)
        if self.motor.strained > _OVERLOAD_TIME:
            self.trip(OVERLOAD)
        if limits.watchdog and self.torque_on and self._time - self._fed > limits.watchdog:
            self.expire_watchdog()

    def expire_watchdog(self) -> None:
        """Stop where it is and refuse goals until the watchdog is cleared."""
        self.memory["bus_watchdog"] = -1
        self.memory["goal_velocity"] = 0
        self.configure()
        if self.memory["operating_mode"] in (_CURRENT, _PWM):
            self.motor.drive.goal_output = 0.0
        self.motor.hold((self.count() - ZERO) * COUNT)

    def _make_telemetry(self) -> dict[str, Callable[[], float]]:
        motor, table = self.motor, self.memory.table
        shows: dict[str, Callable[[], float]] = {
            "hardware_error_status": lambda: self._errors,
            "realtime_tick": lambda: self._time / 0.001 % 32_768,
            "moving": lambda: int(self._is_moving()),
            "present_pwm": lambda: motor.output * 885,
            "present_velocity": lambda: self._direction() * self._velocity / table["present_velocity"].scale,
            "present_position": self.count,
            "velocity_trajectory": lambda: motor.reference_velocity / table["velocity_trajectory"].scale,
            "position_trajectory": lambda: ZERO + motor.reference / COUNT,
            "present_input_voltage": lambda: self.voltage / 0.1,
            "present_temperature": lambda: motor.temperature,
        }
        if "present_current" in table:
            shows["present_current"] = lambda: motor.current / table["present_current"].scale
        if "present_load" in table:
            shows["present_load"] = lambda: motor.output * 1000
        return shows


class DynamixelLine:
    """All servos on one bus, and how they take turns.

    Args:
        servos: in any order; their identifiers may clash.
    """

    def __init__(self, servos: Sequence[DynamixelServo]) -> None:
        self.servos = list(servos)
        self.parser = PacketParser()

    def hear(self, packet: Packet, baudrate: int, time: float) -> list[list[Reply]]:
        """Obey an instruction packet that ended at a time.

        Returns:
            The replies one after the other; those within one list start at the same time and collide.
        """
        awake = [servo for servo in self.servos if servo.hears(baudrate, time)]
        if packet.instruction == Instruction.STATUS:
            return []
        for servo in awake:
            servo.feed(time)
        if packet.instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            return self._sync_read(packet, awake)
        if packet.instruction in (Instruction.BULK_READ, Instruction.FAST_BULK_READ):
            return self._bulk_read(packet, awake)
        if packet.instruction == Instruction.SYNC_WRITE:
            self._sync_write(packet.parameters, awake, time)
            return []
        if packet.instruction == Instruction.BULK_WRITE:
            self._bulk_write(packet.parameters, awake, time)
            return []
        if packet.id == BROADCAST:
            return self._broadcast(packet, awake, time)
        return self._single(packet, awake, time)

    def _single(self, packet: Packet, awake: Sequence[DynamixelServo], time: float) -> list[list[Reply]]:
        replies = []
        for servo in awake:
            if servo.id == packet.id:
                delay, level = _delay(servo), servo.memory["status_return_level"]
                error, parameters = _obey(servo, packet, time)
                needed = (
                    {Instruction.PING: 0, Instruction.READ: 1}.get(Instruction(packet.instruction), 2)
                    if _known(packet)
                    else 2
                )
                if level >= needed:
                    replies.append(Reply(packet.id, _status(servo, error, parameters, packet.id), delay))
            elif servo.memory["secondary_id"] == packet.id and packet.instruction in (
                Instruction.WRITE,
                Instruction.REG_WRITE,
                Instruction.ACTION,
            ):
                _obey(servo, packet, time, eeprom=False)
        return [replies] if replies else []

    def _broadcast(self, packet: Packet, awake: Sequence[DynamixelServo], time: float) -> list[list[Reply]]:
        if packet.instruction == Instruction.PING:
            return [
                [
                    Reply(
                        i,
                        _status(servo, *_obey(servo, packet, time)),
                        _delay(servo) + _PING_SLOT * i,
                        after_request=True,
                    )
                ]
                for i, servo in sorted(((servo.id, servo) for servo in awake), key=lambda pair: pair[0])
            ]
        if packet.instruction == Instruction.READ:
            return []
        if packet.instruction == Instruction.FACTORY_RESET and packet.parameters[:1] == b"\xff":
            return []
        for servo in awake:
            _obey(servo, packet, time)
        return []

    def _sync_read(self, packet: Packet, awake: Sequence[DynamixelServo]) -> list[list[Reply]]:
        parameters = packet.parameters
        if len(parameters) < 5:
            return []
        address, length = _word(parameters, 0), _word(parameters, 2)
        asked = [(servo, address, length) for servo in parameters[4:]]
        return _read_in_turn(asked, awake, fast=packet.instruction == Instruction.FAST_SYNC_READ)

    def _bulk_read(self, packet: Packet, awake: Sequence[DynamixelServo]) -> list[list[Reply]]:
        parameters = packet.parameters
        asked = [
            (parameters[at], _word(parameters, at + 1), _word(parameters, at + 3))
            for at in range(0, len(parameters) - 4, 5)
        ]
        return _read_in_turn(asked, awake, fast=packet.instruction == Instruction.FAST_BULK_READ)

    def _sync_write(self, parameters: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
        if len(parameters) < 5:
            return
        address, length = _word(parameters, 0), _word(parameters, 2)
        for at in range(4, len(parameters) - length, length + 1):
            _write_silently(parameters[at], address, parameters[at + 1 : at + 1 + length], awake, time)

    def _bulk_write(self, parameters: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
        at = 0
        while at + 5 <= len(parameters):
            address, length = _word(parameters, at + 1), _word(parameters, at + 3)
            data = parameters[at + 5 : at + 5 + length]
            if len(data) < length:
                return
            _write_silently(parameters[at], address, data, awake, time)
            at += 5 + length


def _obey(servo: DynamixelServo, packet: Packet, time: float, *, eeprom: bool = True) -> tuple[int, bytes]:
    """Error code and parameters of the answer to an instruction for one servo."""
    parameters = packet.parameters
    if packet.instruction == Instruction.PING:
        return 0, servo.memory.read(0, 2) + servo.memory.read(6, 1)
    if packet.instruction == Instruction.READ:
        return servo.read(_word(parameters, 0), _word(parameters, 2)) if len(parameters) == 4 else (LENGTH, b"")
    if packet.instruction in (Instruction.WRITE, Instruction.REG_WRITE):
        if len(parameters) < 2:
            return LENGTH, b""
        if packet.instruction == Instruction.REG_WRITE:
            return servo.register_write(_word(parameters, 0), parameters[2:]), b""
        return servo.write(_word(parameters, 0), parameters[2:], time, eeprom=eeprom), b""
    if packet.instruction == Instruction.ACTION:
        return servo.action(time), b""
    if packet.instruction == Instruction.REBOOT:
        servo.restart(time)
        return 0, b""
    if packet.instruction == Instruction.FACTORY_RESET:
        keep = {b"\xff": (), b"\x01": ("id",), b"\x02": ("id", "baud_rate")}.get(parameters)
        if keep is None:
            return RANGE, b""
        servo.factory_reset(keep, time)
        return 0, b""
    if packet.instruction == Instruction.CLEAR:
        return (servo.clear_turns() if parameters == _CLEAR_TURNS else RANGE), b""
    return BAD_INSTRUCTION, b""


def _read_in_turn(
    asked: Sequence[tuple[int, int, int]], awake: Sequence[DynamixelServo], *, fast: bool
) -> list[list[Reply]]:
    groups: list[list[Reply]] = []
    parts: list[tuple[int, int, bytes]] = []
    missing = len(asked)
    first_delay = 0.0
    for turn, (identifier, address, length) in enumerate(asked):
        servos = [s for s in awake if s.id == identifier and s.memory["status_return_level"] >= 1]
        replies = []
        for servo in servos:
            error, data = servo.read(address, length)
            alert = dynamixel.ALERT if servo.errors else 0
            parts.append((identifier, error | alert, data.ljust(length, b"\0")))
            first_delay = first_delay or _delay(servo)
            replies.append(Reply(identifier, _status(servo, error, data), _delay(servo)))
        if not servos:
            missing = min(missing, turn)
            parts.append((identifier, 0, bytes(length)))
        groups.append(replies or [Reply(identifier, b"", _GAP)])
    if not fast:
        return groups
    if sum(4 + length for _, _, length in asked) >= dynamixel.MAX_LENGTH:
        return []
    whole = dynamixel.build_fast_status(parts[: len(asked)])
    if missing < len(asked):
        whole = whole[: (8 + sum(4 + length for _, _, length in asked[:missing])) if missing else 0]
    return [[Reply(BROADCAST, whole, first_delay)]] if whole else []


def _write_silently(identifier: int, address: int, data: bytes, awake: Sequence[DynamixelServo], time: float) -> None:
    for servo in awake:
        if servo.id == identifier:
            servo.write(address, data, time)
        elif servo.memory["secondary_id"] == identifier:
            servo.write(address, data, time, eeprom=False)


def _status(servo: DynamixelServo, error: int, parameters: bytes, identifier: int | None = None) -> bytes:
    alert = dynamixel.ALERT if servo.errors else 0
    return dynamixel.build_status(servo.id if identifier is None else identifier, error | alert, parameters)


def _delay(servo: DynamixelServo) -> float:
    return servo.memory.value("return_delay_time")


def _known(packet: Packet) -> bool:
    return packet.instruction in Instruction.__members__.values()


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
