"""An emulated Dynamixel of the X series.

Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0" and the pages of XL330-M288-T, XL430-W250-T and XM430-W350-T/R.
Where the manual is silent, this is what is assumed: a goal set while torque is off is replaced by the present position
when torque comes on; an overload is full output for 1 s; the position loop runs at 1 kHz. A goal outside a limit that
is set in the servo is a data limit error (6), everything else outside its range a data range error (4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Self

from hardware.emulator.memory import ControlMemory
from hardware.emulator.motor import Mode
from hardware.emulator.servo import COUNT, ZERO, EmulatedServo
from hardware.wire.registers import Register

RESULT_FAIL, BAD_INSTRUCTION, RANGE, LENGTH, LIMIT, ACCESS = 1, 2, 4, 5, 6, 7
"""Error codes of status packets."""

VOLTAGE, OVERHEATING, ENCODER, OVERLOAD = 0x01, 0x04, 0x08, 0x20
"""Bits of the hardware error mask."""

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
