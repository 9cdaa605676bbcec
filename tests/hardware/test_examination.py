import re
from typing import Any

import pytest

from hardware.clock import VirtualClock
from hardware.emulator import Fault, MemoryPort, WireOptions, emulate_in_memory
from hardware.examination import Finding, examine
from hardware.robot_file import RobotDescription, load_description
from hardware.wire import dynamixel, feetech


def emulated(name: str, **wire: float) -> tuple[RobotDescription, MemoryPort, VirtualClock]:
    description, clock = load_description(name), VirtualClock()
    return description, emulate_in_memory(description, clock, wire=WireOptions(**wire)), clock


def found(name: str, *faults: str, **wire: float) -> dict[str, list[Finding]]:
    description, port, clock = emulated(name, **wire)
    for fault in faults:
        port.arm.inject(Fault.parse(fault), clock.now())
    findings: dict[str, list[Finding]] = {}
    for finding in examine(description, port, clock):
        findings.setdefault(finding.what, []).append(finding)
    return findings


@pytest.mark.parametrize("name", ["so101", "koch", "viperx"])
def test_a_sound_arm_has_nothing_wrong(name: str) -> None:
    findings = [finding for each in found(name).values() for finding in each]
    assert [finding for finding in findings if finding.verdict == "wrong"] == []
    servos = [finding for finding in findings if "(servo " in finding.what]
    assert len(servos) == sum(len(joint.servo_ids) for joint in load_description(name).joints)
    assert all("torque off" in finding.detail and "V, " in finding.detail for finding in servos)
    assert all(re.search(r"[+-]\d\.\d{3} rad of \[-?\d\.\d\d, \d\.\d\d\]", finding.detail) for finding in servos)


@pytest.mark.parametrize(("name", "codec"), [("so101", feetech), ("koch", dynamixel)])
def test_looking_writes_nothing(name: str, codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    description, port, clock = emulated(name)
    sent = bytearray()
    write = port.write

    def listened(data: bytes) -> None:
        sent.extend(data)
        write(data)

    monkeypatch.setattr(port, "write", listened)
    assert list(examine(description, port, clock))
    asked = {packet.code if codec is feetech else packet.instruction for packet in codec.PacketParser().feed(sent)}
    reading = {codec.Instruction.PING, codec.Instruction.READ, codec.Instruction.SYNC_READ}
    assert asked <= (reading if codec is feetech else reading | {codec.Instruction.FAST_SYNC_READ})


def test_a_missing_servo_is_named_and_the_others_are_looked_at() -> None:
    findings = found("so101", "missing-id:elbow_flex")
    (missing,) = findings["elbow_flex (servo 3)"]
    assert missing.verdict == "wrong"
    assert "no answer at 1000000 baud" in missing.detail
    assert findings["gripper (servo 6)"][0].verdict == "ok"
    assert "rate" not in findings


def test_a_servo_of_another_model_is_named() -> None:
    (finding,) = found("koch", "wrong-model:elbow_flex")["elbow_flex (servo 3)"]
    assert finding.verdict == "wrong"
    assert "correct 'model'" in finding.detail


def test_a_slow_adapter_is_noticed() -> None:
    (finding,) = found("so101", latency=0.016)["rate"]
    assert finding.verdict == "note"
    assert "latency timer" in finding.detail
