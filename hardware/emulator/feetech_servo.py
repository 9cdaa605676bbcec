"""An emulated Feetech STS servo.

Source: Feetech, "Communication protocol user manual" and the memory table of the STS3215. Where they are silent, this
is what is assumed: goals beyond the position limits are cut to them; counts outside a register's range and writes to
read-only registers are ignored; torque comes on with the goal of the register, even if the arm was moved by hand
meanwhile; an overload stays until torque is switched off; gains act in proportion to their factory counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Self

from hardware.emulator.memory import ControlMemory
from hardware.emulator.motor import Mode
from hardware.emulator.servo import COUNT, ZERO, EmulatedServo

VOLTAGE, SENSOR, OVERHEATING, OVER_CURRENT, OVERLOAD = 0x01, 0x02, 0x04, 0x08, 0x20
"""Bits of the status mask."""

_POSITION, _VELOCITY, _PWM, _STEP = 0, 1, 2, 3
_MAX_SPEED_AT_ZERO = 0x08
_CALIBRATE = 128
_LOOP_TIME = 0.001


@dataclass(frozen=True)
class _Limits:
    """What a servo protects itself by."""

    voltage: tuple[float, float]
    temperature: float
    current: float
    current_time: float
    overload_time: float
    shutdown: int

    @classmethod
    def of(cls, memory: ControlMemory) -> Self:
        return cls(
            (memory.value("min_voltage_limit"), memory.value("max_voltage_limit")),
            memory.value("temperature_limit"),
            memory.value("protection_current"),
            memory.value("over_current_protection_time"),
            memory.value("protection_time"),
            memory["shutdown"],
        )


class FeetechServo(EmulatedServo):
    """One STS3215."""

    _limits: _Limits
    _homing: int
    _latched = 0
    _over_current = 0.0

    @property
    def errors(self) -> int:
        """Its status mask: voltage and heat as they are now, overload and the others until torque is switched off."""
        limits = self._limits
        mask = self._latched
        if not limits.voltage[0] <= self.voltage <= limits.voltage[1]:
            mask |= VOLTAGE
        if self.motor.temperature > limits.temperature:
            mask |= OVERHEATING
        return mask

    def trip(self, error: int) -> None:
        """Report a hardware error, and give up torque where its register ``shutdown`` says so."""
        self._latched |= error
        self._protect(0.0)
        self.configure()

    def count(self) -> int:
        """Where its shaft is, in counts as it reports them: within one turn, unless the encoder slipped."""
        within = round(self._raw_count() - self.encoder_shift - self._homing) % 4096
        return within + self.encoder_shift

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes; what is not in the table reads as 0."""
        self._refresh(address, length)
        return self.memory.read(address, length)

    def write(self, address: int, data: bytes, time: float) -> None:
        """Write bytes, as far as the registers take them."""
        memory, written = self.memory, []
        for register in memory.registers_in(address, len(data)):
            if register.read_only or (register.eeprom and self.eeprom_stuck):
                continue
            if register.name == "lock" and self.eeprom_stuck:
                continue
            before = memory.read(register.address, register.size)
            merged = bytearray(before)
            for at in range(register.size):
                if 0 <= register.address + at - address < len(data):
                    merged[at] = data[register.address + at - address]
            if not register.low <= register.decode(bytes(merged)) <= register.high:
                continue
            memory.write(register.address, bytes(merged), store=not memory["lock"])
            written.append(register.name)
        self.configure()
        for name in written:
            self._written(name, time)

    def register_write(self, address: int, data: bytes) -> None:
        """Keep a write for ``action``."""
        self._registered = address, data
        self.memory["registered_instruction"] = 1

    def action(self, time: float) -> None:
        """Carry out the write that was kept, if any."""
        if self._registered is None:
            return
        address, data = self._registered
        self._registered = None
        self.memory["registered_instruction"] = 0
        self.write(address, data, time)

    def _written(self, name: str, time: float) -> None:
        memory = self.memory
        if name == "torque_enable":
            self._switch(memory[name])
        elif name == "goal_position":
            goal = memory[name]
            if memory["operating_mode"] == _STEP:
                goal += ZERO + round(self.motor.goal / COUNT)
            else:
                goal = self._within_limits(goal)
            memory[name] = min(max(goal, -32_766), 32_766)
            if self.torque_on:
                self.motor.follow((goal - ZERO) * COUNT, time + self.mount.delay)

    def _within_limits(self, goal: int) -> int:
        low, high = self.memory["min_position_limit"], self.memory["max_position_limit"]
        return goal if low == high == 0 else min(max(goal, low), high)

    def _switch(self, value: int) -> None:
        memory = self.memory
        if value == _CALIBRATE:
            offset = round(self._raw_count()) - ZERO
            memory["homing_offset"] = max(min(offset, 2047), -2047)
            memory.store("homing_offset")
            memory["torque_enable"] = int(self.torque_on)
            self.configure()
            return
        position = (self.count() - ZERO) * COUNT
        if value == 1:
            if not self.torque_on:
                self.motor.hold((memory["goal_position"] - ZERO) * COUNT)
            self.motor.switch(True, position)
        else:
            self._latched = 0
            self.motor.switch(False, position)
        self.configure()

    def _started(self) -> None:
        self._latched = 0
        self._over_current = 0.0
        self.memory["torque_limit"] = self.memory["max_torque"]
        self.memory["goal_position"] = self.count()

    def configure(self) -> None:
        """Do as the registers say from now on."""
        memory, drive, table = self.memory, self.motor.drive, self.memory.table
        self._limits = _Limits.of(memory)
        self._homing = memory["homing_offset"]
        stiffness, damping = self._factory_gains()
        unit = stiffness / table["position_p_gain"].initial
        drive.stiffness = unit * memory["position_p_gain"]
        drive.integral = unit * memory["position_i_gain"] / 256 / _LOOP_TIME
        drive.damping = damping * memory["position_d_gain"] / table["position_d_gain"].initial
        speed, acceleration = abs(memory.value("profile_velocity")), memory.value("profile_acceleration")
        fastest = inf if acceleration == 0 else self.motor.model.no_load_speed
        drive.velocity = speed if speed > 0 else (fastest if memory["phase"] & _MAX_SPEED_AT_ZERO else 0.0)
        drive.acceleration = acceleration if acceleration > 0 else inf
        drive.limit = memory.value("torque_limit")
        if self._latched & OVERLOAD and memory["shutdown"] & OVERLOAD:
            drive.limit = min(drive.limit, memory.value("protective_torque"))
        mode = memory["operating_mode"]
        drive.mode = {_VELOCITY: Mode.VELOCITY, _PWM: Mode.OUTPUT}.get(mode, Mode.POSITION)
        drive.goal_velocity = memory.value("profile_velocity")
        if mode == _PWM:
            word = memory["goal_time"]
            drive.goal_output = min(word & 0x3FF, 1000) / 1000 * (-1 if word & 0x400 else 1)
        self.motor.strain_level = memory.value("overload_torque")

    def _protect(self, duration: float) -> None:
        limits, motor = self._limits, self.motor
        if motor.strained > limits.overload_time and not self._latched & OVERLOAD:
            self._latched |= OVERLOAD
            self.configure()
        self._over_current = self._over_current + duration if abs(motor.current) > limits.current else 0.0
        if self._over_current > limits.current_time:
            self._latched |= OVER_CURRENT
        if self.torque_on and self.errors & limits.shutdown & ~OVERLOAD:
            self.memory["torque_enable"] = 0
            motor.switch(False, 0.0)

    def _make_telemetry(self) -> dict[str, Callable[[], float]]:
        motor, table = self.motor, self.memory.table
        return {
            "present_position": self.count,
            "present_velocity": lambda: self._velocity / table["present_velocity"].scale,
            "present_load": lambda: motor.output * 1000,
            "present_input_voltage": lambda: self.voltage / 0.1,
            "present_temperature": lambda: motor.temperature,
            "hardware_error_status": lambda: self.errors,
            "moving": lambda: int(abs(self._velocity) > 0.05),
            "present_current": lambda: abs(motor.current) / table["present_current"].scale,
        }
