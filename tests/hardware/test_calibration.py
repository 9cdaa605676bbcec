"""Calibration files: written whole or not at all, read strictly, compared with the servos."""

import os
from pathlib import Path

import pytest
from scripted_port import ScriptedPort
from servo_peers import Memory, dynamixel_peer, in_turn

from hardware.calibration import (
    Calibration,
    ServoCalibration,
    homing_offset,
    load_calibration,
    range_in_counts,
    reach,
)
from hardware.clock import VirtualClock
from hardware.dynamixel_bus import DynamixelBus
from hardware.errors import CalibrationError
from hardware.robot_file import RobotDescription, load_description
from hardware.wire.tables import control_table


def calibration_of(description: RobotDescription) -> Calibration:
    servos = {
        servo: ServoCalibration(
            joint=joint.name, model=joint.model, sign=joint.sign, homing_offset=-servo, range=range_in_counts(joint)
        )
        for joint in description.joints
        for servo in joint.servo_ids
    }
    return Calibration(robot=description.name, servos=servos)


@pytest.mark.parametrize("name", ["so101", "viperx"])
def test_a_calibration_survives_the_disk(tmp_path: Path, name: str) -> None:
    description = load_description(name)
    calibration = calibration_of(description)
    path = tmp_path / "new" / "calibration.json"
    calibration.save(path)
    again = load_calibration(path)
    assert again == calibration
    again.check_description(description)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calibration.json"
    calibration = calibration_of(load_description("so101"))
    calibration.save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    calibration.servos.clear()
    with pytest.raises(CalibrationError, match="cannot be written: No space left on device; make room"):
        calibration.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged at line"),
        (lambda text: "", "is damaged at line 1"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version"),
        (lambda text: text.replace('"homing_offset": -3', '"homing_offset": "x"'), "servos.3.homing_offset"),
        (lambda text: text.replace('"homing_offset": -3', '"offset": -3'), "servos.3"),
        (lambda text: text.replace('"sign": 1', '"sign": 0', 1), "servos.1.sign"),
        (lambda text: text.replace("796", "9000", 1), "range"),
        (lambda text: "[]", "the file"),
    ],
)
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "calibration.json"
    calibration_of(load_description("so101")).save(path)
    spoiled = spoil(path.read_text())
    assert spoiled != path.read_text()
    path.write_text(spoiled)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration(path)
    assert "robot-ctrl calibrate" in str(caught.value)


def test_a_calibration_of_another_arm_or_an_unfinished_one_is_refused() -> None:
    description = load_description("so101")
    calibration = calibration_of(description)
    with pytest.raises(CalibrationError, match="the calibration of 'so101', not of 'koch'"):
        calibration.check_description(load_description("koch"))
    missing = Calibration(robot="so101", servos={k: v for k, v in calibration.servos.items() if k != 4})
    with pytest.raises(CalibrationError, match=r"lacks wrist_flex \(servo 4\); finish it"):
        missing.check_description(description)
    turned = calibration.servos[2].model_copy(update={"sign": -1})
    with pytest.raises(CalibrationError, match="servo 2 was calibrated with sign -1, and the robot's file says 1"):
        Calibration(robot="so101", servos={**calibration.servos, 2: turned}).check_description(description)


def test_every_register_that_differs_is_named() -> None:
    clock = VirtualClock()
    memory = Memory("xl430-w250", 1)
    port = ScriptedPort(clock, lambda request: in_turn(dynamixel_peer({1: memory})(request), request))
    bus = DynamixelBus(port, {1: control_table("xl430-w250")}, clock, names={1: "shoulder"})
    measured = ServoCalibration(joint="shoulder", model="xl430-w250", sign=1, homing_offset=12, range=(100, 4000))
    calibration = Calibration(robot="arm", servos={1: measured})
    with pytest.raises(CalibrationError) as caught:
        calibration.check_servos(bus)
    for part in (
        "shoulder (servo 1): homing_offset is 0, the calibration says 12",
        "min_position_limit is 0, the calibration says 100",
        "max_position_limit is 4095, the calibration says 4000",
        "run 'robot-ctrl calibrate' again",
    ):
        assert part in str(caught.value)
    for register, count in measured.registers().items():
        memory.set(register, count)
    calibration.check_servos(bus)


@pytest.mark.parametrize(("model", "actual", "offset"), [("sts3215", 2500, 452), ("xl430-w250", 2500, -452)])
def test_the_homing_offset_makes_the_zero_read_the_middle(model: str, actual: int, offset: int) -> None:
    table = control_table(model)
    adds = table.protocol == "dynamixel"
    for held in (0, 200, -300):
        present = actual + held if adds else actual - held
        assert homing_offset(table, present, held) == offset
    assert (actual + offset if adds else actual - offset) == 2048


def test_an_offset_that_a_servo_cannot_have_is_refused() -> None:
    with pytest.raises(
        CalibrationError, match=r"is 1452 counts from the middle .* corrects 1024 at most; turn the horn"
    ):
        homing_offset(control_table("xl430-w250"), 3500, 0)
    assert homing_offset(control_table("sts3215"), 3500, 0) == 1452


def test_limits_in_counts_and_back() -> None:
    for name in ("so101", "koch", "viperx"):
        for joint in load_description(name).joints:
            low, high = range_in_counts(joint)
            counts = {"min_position_limit": low, "max_position_limit": high}
            assert reach(joint, counts) == pytest.approx(joint.limits.position, abs=2e-3)
    tree = load_description("so101").joints[1].model_dump() | {"sign": -1}
    turned = type(load_description("so101").joints[1]).model_validate(tree)
    assert range_in_counts(turned) == (910, 3186)
    assert reach(turned, {"min_position_limit": 1000, "max_position_limit": 3000}) == pytest.approx(
        (-1.460, 1.608), abs=1e-3
    )
