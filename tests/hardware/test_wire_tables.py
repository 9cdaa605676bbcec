"""Control tables against the manufacturers' own: addresses, sizes, units and signs."""

import math
from itertools import pairwise
from pathlib import Path

import dynamixel_easy_sdk
import pytest

from hardware.wire.tables import MODELS, control_table, model_name

X_MODELS = {"xl330-m288": 1200, "xl430-w250": 1060, "xm430-w350": 1020, "xm540-w270": 1120}


def robotis_table(model: str) -> dict[str, tuple[int, int]]:
    """(address, size) by name, from the file that ROBOTIS ships with its SDK."""
    name = model.replace("-", "_") + ".model"
    text = (Path(next(iter(dynamixel_easy_sdk.__path__))) / "control_table" / name).read_text()
    rows = [line.split("\t") for line in text.split("[control table]")[1].strip().splitlines()[1:]]
    return {row[2].lower().replace("(shadow)", "").replace(" ", "_"): (int(row[0]), int(row[1])) for row in rows}


@pytest.mark.parametrize("model", X_MODELS)
def test_addresses_and_sizes_are_those_of_robotis(model: str) -> None:
    theirs = robotis_table(model)
    ours = {register.name: (register.address, register.size) for register in control_table(model).registers.values()}
    missing_there = {"startup_configuration", "backup_ready"}
    assert {name: place for name, place in ours.items() if name not in missing_there} == {
        name: place for name, place in theirs.items() if not name.startswith(("indirect", "external"))
    }


def test_models_are_found_by_name_and_number() -> None:
    for model, number in {**X_MODELS, "sts3215": 777}.items():
        assert control_table(model).model_number == number == control_table(model)["model_number"].initial
        assert model_name(number) == model
    assert model_name(12345) == "model 12345"
    with pytest.raises(KeyError, match="there is one for xl330-m288"):
        control_table("ax-12a")
    with pytest.raises(KeyError, match="has no register 'present_load'"):
        control_table("xm430-w350")["present_load"]


@pytest.mark.parametrize("model", MODELS)
def test_registers_do_not_overlap_and_hold_their_ranges(model: str) -> None:
    registers = list(control_table(model).registers.values())
    for before, after in pairwise(registers):
        assert before.address + before.size <= after.address
    for register in registers:
        assert register.low <= register.initial <= register.high
        for count in (register.low, register.initial, register.high):
            assert register.decode(register.encode(count)) == count
            assert register.count(register.value(count)) == count


@pytest.mark.parametrize(
    ("model", "name", "count", "value"),
    [
        ("xl430-w250", "present_position", 0, -math.pi),
        ("xl430-w250", "present_position", 2048, 0.0),
        ("xl430-w250", "present_velocity", -10, -0.2398),
        ("xl430-w250", "present_load", -500, -0.5),
        ("xl330-m288", "present_current", -300, -0.3),
        ("xm430-w350", "present_current", 100, 0.269),
        ("xm540-w270", "profile_acceleration", 1, 0.3745),
        ("xm430-w350", "present_input_voltage", 120, 12.0),
        ("xm430-w350", "return_delay_time", 250, 500e-6),
        ("xm430-w350", "bus_watchdog", 5, 0.1),
        ("sts3215", "present_position", 3072, math.pi / 2),
        ("sts3215", "present_velocity", 50, 0.732 * 2 * math.pi / 60),
        ("sts3215", "present_current", 10, 0.065),
        ("sts3215", "profile_acceleration", 10, 1.534),
    ],
)
def test_values_are_in_si_units(model: str, name: str, count: int, value: float) -> None:
    register = control_table(model)[name]
    assert register.value(count) == pytest.approx(value, rel=1e-3)
    assert register.count(value) == count


def test_signs_on_the_wire() -> None:
    assert control_table("sts3215")["present_velocity"].decode(b"\x05\x80") == -5
    assert control_table("sts3215")["present_load"].decode(b"\xe8\x07") == -1000
    assert control_table("sts3215")["homing_offset"].encode(-2047) == b"\xff\x0f"
    assert control_table("xm430-w350")["present_current"].decode(b"\xff\xff") == -1
    assert control_table("xm430-w350")["bus_watchdog"].decode(b"\xff") == -1


@pytest.mark.parametrize("value", [math.nan, math.inf, 100.0, -100.0])
def test_what_a_register_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="goal_position cannot be"):
        control_table("xm430-w350")["goal_position"].count(value)


def test_hardware_errors_are_named() -> None:
    assert control_table("xl430-w250").error_text(0x24) == "overheating, overload"
    assert control_table("sts3215").error_text(0x21) == "input voltage, overload"
    assert control_table("xl430-w250").error_text(0x42) == "unknown bits 0x42"
