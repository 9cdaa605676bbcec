"""The control tables of the servos that can be driven, by model.

Sources: ROBOTIS e-manual, pages of XL330-M288-T, XL430-W250-T, XM430-W350-T/R and XM540-W270-T/R; Feetech, memory
table of the STS3215. Factory values are those of the manuals' tables; a servo that was bought or set up otherwise
differs in them, so a driver reads limits from the servo.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from hardware.wire.feetech import STATUS_BITS
from hardware.wire.registers import ControlTable, Register

X_HARDWARE_ERRORS: Mapping[int, str] = {
    0x01: "input voltage",
    0x04: "overheating",
    0x08: "motor encoder",
    0x10: "electrical shock",
    0x20: "overload",
}
"""What the bits of an X-series servo's hardware error status mean."""

_TURN = 2 * math.pi
_RPM = _TURN / 60
_X_BAUD_RATES = dict(enumerate((9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)))
_STS_BAUD_RATES = dict(enumerate((1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)))

_EEPROM: dict[str, Any] = {"eeprom": True}
_FIXED: dict[str, Any] = {"eeprom": True, "read_only": True}
_SHOWN: dict[str, Any] = {"read_only": True}
_WORD: dict[str, Any] = {"low": -(2**15), "high": 2**15 - 1}
_DOUBLE: dict[str, Any] = {"low": -(2**31), "high": 2**31 - 1}
_MAGNITUDE: dict[str, Any] = {"low": -(2**15) + 1, "high": 2**15 - 1}

_PULSES: dict[str, Any] = {"unit": "rad", "scale": _TURN / 4096}
_ANGLE: dict[str, Any] = {**_PULSES, "zero": 2048}
_VOLTS: dict[str, Any] = {"unit": "V", "scale": 0.1}
_DELAY: dict[str, Any] = {"unit": "s", "scale": 2e-6}
_CELSIUS: dict[str, Any] = {"unit": "°C"}
_X_SPEED: dict[str, Any] = {"unit": "rad/s", "scale": 0.229 * _RPM}
_X_ACCELERATION: dict[str, Any] = {"unit": "rad/s²", "scale": 214.577 * _TURN / 3600}
_X_DUTY: dict[str, Any] = {"scale": 1 / 885}
_STS_SPEED: dict[str, Any] = {"unit": "rad/s", "scale": _TURN / 4096}
_STS_ACCELERATION: dict[str, Any] = {"unit": "rad/s²", "scale": 100 * _TURN / 4096}
_STS_CURRENT: dict[str, Any] = {"unit": "A", "scale": 0.0065}
_PER_MILLE: dict[str, Any] = {"scale": 0.001}
_PER_CENT: dict[str, Any] = {"scale": 0.01}
_CENTISECONDS: dict[str, Any] = {"unit": "s", "scale": 0.01}
_MILLISECONDS: dict[str, Any] = {"unit": "s", "scale": 0.001}


def _x_series(
    *,
    model_number: int,
    temperature_limit: int,
    voltage: int,
    voltage_limits: tuple[int, int],
    speed_limit: int,
    top_speed: int,
    velocity_gains: tuple[int, int],
    position_gains: tuple[int, int],
    shutdown: int,
    baud_rates: int,
) -> list[Register]:
    """The registers that the X series shares; gains are (I, P) of the velocity and (D, P) of the position loop."""
    low_volts, high_volts = voltage_limits
    return [
        Register("model_number", 0, 2, initial=model_number, high=0xFFFF, **_FIXED),
        Register("model_information", 2, 4, high=0xFFFFFFFF, **_FIXED),
        Register("firmware_version", 6, 1, initial=48, high=0xFF, **_FIXED),
        Register("id", 7, 1, initial=1, high=252, **_EEPROM),
        Register("baud_rate", 8, 1, initial=1, high=baud_rates - 1, **_EEPROM),
        Register("return_delay_time", 9, 1, initial=250, high=254, **_EEPROM, **_DELAY),
        Register("drive_mode", 10, 1, high=13, **_EEPROM),
        Register("operating_mode", 11, 1, initial=3, high=16, **_EEPROM),
        Register("secondary_id", 12, 1, initial=255, high=255, **_EEPROM),
        Register("protocol_type", 13, 1, initial=2, low=1, high=22, **_EEPROM),
        Register("homing_offset", 20, 4, "signed", low=-1_044_479, high=1_044_479, **_EEPROM, **_PULSES),
        Register("moving_threshold", 24, 4, initial=10, high=1023, **_EEPROM, **_X_SPEED),
        Register("temperature_limit", 31, 1, initial=temperature_limit, high=100, **_EEPROM, **_CELSIUS),
        Register("max_voltage_limit", 32, 2, initial=high_volts, low=low_volts, high=high_volts, **_EEPROM, **_VOLTS),
        Register("min_voltage_limit", 34, 2, initial=low_volts, low=low_volts, high=high_volts, **_EEPROM, **_VOLTS),
        Register("pwm_limit", 36, 2, initial=885, high=885, **_EEPROM, **_X_DUTY),
        Register("velocity_limit", 44, 4, initial=speed_limit, high=top_speed, **_EEPROM, **_X_SPEED),
        Register("max_position_limit", 48, 4, initial=4095, high=4095, **_EEPROM, **_ANGLE),
        Register("min_position_limit", 52, 4, high=4095, **_EEPROM, **_ANGLE),
        Register("startup_configuration", 60, 1, high=3, **_EEPROM),
        Register("shutdown", 63, 1, initial=shutdown, high=0xFF, **_EEPROM),
        Register("torque_enable", 64, 1, high=1),
        Register("led", 65, 1, high=1),
        Register("status_return_level", 68, 1, initial=2, high=2),
        Register("registered_instruction", 69, 1, high=1, **_SHOWN),
        Register("hardware_error_status", 70, 1, high=0xFF, **_SHOWN),
        Register("velocity_i_gain", 76, 2, initial=velocity_gains[0], high=16_383),
        Register("velocity_p_gain", 78, 2, initial=velocity_gains[1], high=16_383),
        Register("position_d_gain", 80, 2, initial=position_gains[0], high=16_383),
        Register("position_i_gain", 82, 2, high=16_383),
        Register("position_p_gain", 84, 2, initial=position_gains[1], high=16_383),
        Register("feedforward_2nd_gain", 88, 2, high=16_383),
        Register("feedforward_1st_gain", 90, 2, high=16_383),
        Register("bus_watchdog", 98, 1, "signed", "s", 0.020, low=-1, high=127),
        Register("goal_pwm", 100, 2, "signed", initial=885, low=-885, high=885, **_X_DUTY),
        Register("goal_velocity", 104, 4, "signed", low=-top_speed, high=top_speed, **_X_SPEED),
        Register("profile_acceleration", 108, 4, high=32_767, **_X_ACCELERATION),
        Register("profile_velocity", 112, 4, high=32_767, **_X_SPEED),
        Register("goal_position", 116, 4, "signed", initial=2048, high=4095, **_ANGLE),
        Register("realtime_tick", 120, 2, high=32_767, **_SHOWN, **_MILLISECONDS),
        Register("moving", 122, 1, high=1, **_SHOWN),
        Register("moving_status", 123, 1, high=0xFF, **_SHOWN),
        Register("present_pwm", 124, 2, "signed", low=-885, high=885, **_SHOWN, **_X_DUTY),
        Register("present_velocity", 128, 4, "signed", **_SHOWN, **_X_SPEED, **_DOUBLE),
        Register("present_position", 132, 4, "signed", initial=2048, **_SHOWN, **_ANGLE, **_DOUBLE),
        Register("velocity_trajectory", 136, 4, "signed", **_SHOWN, **_X_SPEED, **_DOUBLE),
        Register("position_trajectory", 140, 4, "signed", initial=2048, **_SHOWN, **_ANGLE, **_DOUBLE),
        Register("present_input_voltage", 144, 2, initial=voltage, high=0xFFFF, **_SHOWN, **_VOLTS),
        Register("present_temperature", 146, 1, initial=25, high=0xFF, **_SHOWN, **_CELSIUS),
        Register("backup_ready", 147, 1, high=1, **_SHOWN),
    ]


def _current_control(scale: float, limit: int) -> list[Register]:
    """The registers of the models that measure current, ``scale`` in A per count."""
    amperes: dict[str, Any] = {"unit": "A", "scale": scale}
    return [
        Register("current_limit", 38, 2, initial=limit, high=limit, **_EEPROM, **amperes),
        Register("goal_current", 102, 2, "signed", initial=limit, low=-limit, high=limit, **amperes),
        Register("present_current", 126, 2, "signed", **_SHOWN, **amperes, **_WORD),
    ]


_XL330_M288 = [
    *_x_series(
        model_number=1200,
        temperature_limit=70,
        voltage=50,
        voltage_limits=(35, 70),
        speed_limit=445,
        top_speed=2047,
        velocity_gains=(1600, 180),
        position_gains=(0, 400),
        shutdown=53,
        baud_rates=7,
    ),
    *_current_control(0.001, 1750),
    Register("pwm_slope", 62, 1, initial=140, low=1, high=255, **_EEPROM),
]
_XL430_W250 = [
    *_x_series(
        model_number=1060,
        temperature_limit=72,
        voltage=111,
        voltage_limits=(60, 140),
        speed_limit=265,
        top_speed=1023,
        velocity_gains=(1000, 100),
        position_gains=(4000, 640),
        shutdown=52,
        baud_rates=8,
    ),
    Register("present_load", 126, 2, "signed", low=-1000, high=1000, **_SHOWN, **_PER_MILLE),
]
_XM430_W350 = [
    *_x_series(
        model_number=1020,
        temperature_limit=80,
        voltage=120,
        voltage_limits=(95, 160),
        speed_limit=200,
        top_speed=1023,
        velocity_gains=(1920, 100),
        position_gains=(0, 800),
        shutdown=52,
        baud_rates=8,
    ),
    *_current_control(0.00269, 1193),
]
_XM540_W270 = [
    *_x_series(
        model_number=1120,
        temperature_limit=80,
        voltage=120,
        voltage_limits=(95, 160),
        speed_limit=128,
        top_speed=1023,
        velocity_gains=(1920, 100),
        position_gains=(0, 800),
        shutdown=52,
        baud_rates=8,
    ),
    *_current_control(0.00269, 2047),
]
_STS3215 = [
    Register("firmware_major_version", 0, 1, initial=3, high=0xFF, **_FIXED),
    Register("firmware_minor_version", 1, 1, initial=6, high=0xFF, **_FIXED),
    Register("model_number", 3, 2, initial=777, high=0xFFFF, **_FIXED),
    Register("id", 5, 1, initial=1, high=253, **_EEPROM),
    Register("baud_rate", 6, 1, high=7, **_EEPROM),
    Register("return_delay_time", 7, 1, high=254, **_EEPROM, **_DELAY),
    Register("status_return_level", 8, 1, initial=1, high=1, **_EEPROM),
    Register("min_position_limit", 9, 2, high=4094, **_EEPROM, **_ANGLE),
    Register("max_position_limit", 11, 2, initial=4095, high=4095, **_EEPROM, **_ANGLE),
    Register("temperature_limit", 13, 1, initial=70, high=100, **_EEPROM, **_CELSIUS),
    Register("max_voltage_limit", 14, 1, initial=80, high=254, **_EEPROM, **_VOLTS),
    Register("min_voltage_limit", 15, 1, initial=40, high=254, **_EEPROM, **_VOLTS),
    Register("max_torque", 16, 2, initial=1000, high=1000, **_EEPROM, **_PER_MILLE),
    Register("phase", 18, 1, initial=12, high=254, **_EEPROM),
    Register("shutdown", 19, 1, initial=44, high=254, **_EEPROM),
    Register("led_alarm", 20, 1, initial=47, high=254, **_EEPROM),
    Register("position_p_gain", 21, 1, initial=32, high=254, **_EEPROM),
    Register("position_d_gain", 22, 1, initial=32, high=254, **_EEPROM),
    Register("position_i_gain", 23, 1, high=254, **_EEPROM),
    Register("minimum_startup_force", 24, 2, initial=16, high=1000, **_EEPROM, **_PER_MILLE),
    Register("clockwise_dead_zone", 26, 1, initial=1, high=32, **_EEPROM, **_PULSES),
    Register("counterclockwise_dead_zone", 27, 1, initial=1, high=32, **_EEPROM, **_PULSES),
    Register("protection_current", 28, 2, initial=500, high=511, **_EEPROM, **_STS_CURRENT),
    Register("angular_resolution", 30, 1, initial=1, low=1, high=100, **_EEPROM),
    Register("homing_offset", 31, 2, "sign_bit_11", low=-2047, high=2047, **_EEPROM, **_PULSES),
    Register("operating_mode", 33, 1, high=3, **_EEPROM),
    Register("protective_torque", 34, 1, initial=20, high=254, **_EEPROM, **_PER_CENT),
    Register("protection_time", 35, 1, initial=200, high=254, **_EEPROM, **_CENTISECONDS),
    Register("overload_torque", 36, 1, initial=80, high=254, **_EEPROM, **_PER_CENT),
    Register("velocity_p_gain", 37, 1, initial=10, high=254, **_EEPROM),
    Register("over_current_protection_time", 38, 1, initial=200, high=254, **_EEPROM, **_CENTISECONDS),
    Register("velocity_i_gain", 39, 1, initial=10, high=254, **_EEPROM),
    Register("torque_enable", 40, 1, high=128),
    Register("profile_acceleration", 41, 1, high=254, **_STS_ACCELERATION),
    Register("goal_position", 42, 2, "sign_bit_15", initial=2048, low=-32_766, high=32_766, **_ANGLE),
    Register("goal_time", 44, 2, high=1000, **_MILLISECONDS),
    Register("profile_velocity", 46, 2, "sign_bit_15", **_STS_SPEED, **_MAGNITUDE),
    Register("torque_limit", 48, 2, initial=1000, high=1000, **_PER_MILLE),
    Register("lock", 55, 1, initial=1, high=1),
    Register("present_position", 56, 2, "sign_bit_15", initial=2048, **_SHOWN, **_ANGLE, **_MAGNITUDE),
    Register("present_velocity", 58, 2, "sign_bit_15", **_SHOWN, **_STS_SPEED, **_MAGNITUDE),
    Register("present_load", 60, 2, "sign_bit_10", low=-1000, high=1000, **_SHOWN, **_PER_MILLE),
    Register("present_input_voltage", 62, 1, initial=75, high=0xFF, **_SHOWN, **_VOLTS),
    Register("present_temperature", 63, 1, initial=25, high=0xFF, **_SHOWN, **_CELSIUS),
    Register("registered_instruction", 64, 1, high=1, **_SHOWN),
    Register("hardware_error_status", 65, 1, high=0xFF, **_SHOWN),
    Register("moving", 66, 1, high=1, **_SHOWN),
    Register("present_current", 69, 2, "sign_bit_15", **_SHOWN, **_STS_CURRENT, **_MAGNITUDE),
]


def _by_name(registers: list[Register]) -> dict[str, Register]:
    return {register.name: register for register in sorted(registers, key=lambda register: register.address)}


_x_table = partial(
    ControlTable, protocol="dynamixel", resolution=4096, baud_rates=_X_BAUD_RATES, errors=X_HARDWARE_ERRORS
)
_TABLES = {
    table.name: table
    for table in (
        _x_table("xl330-m288", 1200, registers=_by_name(_XL330_M288)),
        _x_table("xl430-w250", 1060, registers=_by_name(_XL430_W250)),
        _x_table("xm430-w350", 1020, registers=_by_name(_XM430_W350)),
        _x_table("xm540-w270", 1120, registers=_by_name(_XM540_W270)),
        ControlTable("sts3215", 777, "feetech", 4096, _STS_BAUD_RATES, STATUS_BITS, _by_name(_STS3215)),
    )
}

MODELS = tuple(_TABLES)
"""The models that can be driven."""


def control_table(model: str) -> ControlTable:
    """The control table of a model, by its name in lower case.

    Raises:
        KeyError: if the model is not known.
    """
    try:
        return _TABLES[model]
    except KeyError:
        raise KeyError(f"no control table for {model!r}; there is one for {', '.join(MODELS)}") from None


def model_name(model_number: int) -> str:
    """The name of the model that answers with this number, or the number itself where it is not known."""
    return next(
        (table.name for table in _TABLES.values() if table.model_number == model_number), f"model {model_number}"
    )
