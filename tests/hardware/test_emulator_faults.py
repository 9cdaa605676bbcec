import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, Bench

from hardware.emulator.faults import FAULTS, Fault
from hardware.errors import ConnectionLostError
from hardware.wire import dynamixel, feetech

PING = feetech.ping(1)
PONG = bytes.fromhex("FFFF010200FC")


@pytest.fixture
def bench():
    return Bench()


def inject(bench, text):
    bench.arm.inject(Fault.parse(text), bench.clock.now())


def clear(bench, name):
    bench.arm.clear(name, bench.clock.now())


def test_faults_are_read_from_text():
    assert Fault.parse("overload:elbow_flex@10") == Fault("overload", "elbow_flex", 10.0)
    assert Fault.parse(" stuck-joint gripper @2.5 + 0.5 ") == Fault("stuck-joint", "gripper", 2.5, 0.5)
    assert Fault.parse("latency-16ms+3") == Fault("latency-16ms", None, 0.0, 3.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("overlode:elbow_flex", "did you mean 'overload'"),
        ("overload", "needs a joint"),
        ("garbage:elbow_flex", "whole arm"),
        ("overload elbow_flex @1.2.3", "no time"),
        ("", "is no fault"),
    ],
)
def test_what_is_no_fault_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Fault.parse(text)


def test_a_fault_of_a_joint_that_the_arm_does_not_have_is_refused(bench):
    with pytest.raises(ValueError, match="did you mean 'elbow_flex'"):
        inject(bench, "overload:elbow@10")
    with pytest.raises(ValueError, match="only Dynamixel"):
        inject(bench, "watchdog-tripped:elbow_flex")
    with pytest.raises(ValueError, match="no fault in force"):
        clear(bench, "echo")


@pytest.mark.parametrize("name", sorted(FAULTS))
@pytest.mark.parametrize("model", ["sts3215", "xl330-m288"])
def test_every_fault_comes_and_goes(name, model):
    bench = Bench(model)
    needs_joint = "needs a joint" in _refusal(name)
    if name == "watchdog-tripped" and model == "sts3215":
        return
    inject(bench, f"{name}:elbow_flex@0.1+0.2" if needs_joint else f"{name}@0.1+0.2")
    for _ in range(20):
        try:
            bench.port.write(bench.codec.ping(3))
            bench.port.read(bench.clock.now() + 0.01)
        except ConnectionLostError:
            bench.port = type(bench.port)(bench.arm, bench.clock)
        bench.wait(0.04)
    assert bench.wait(0.5).faults == ()
    bench.port.read(bench.clock.now())
    assert bench.codec.PacketParser().feed(bench.bytes(bench.codec.ping(2)))[-1].id == 2


def _refusal(name):
    try:
        Fault(name)
    except ValueError as error:
        return str(error)
    return ""


def test_a_fault_of_frames_spoils_one_transaction(bench):
    inject(bench, "lost-reply")
    assert (bench.bytes(PING), bench.bytes(PING)) == (b"", PONG)


def test_or_all_of_them_for_a_while(bench):
    inject(bench, "lost-reply+1")
    assert [bench.bytes(PING), bench.bytes(PING)] == [b"", b""]
    bench.wait(1.1)
    assert bench.bytes(PING) == PONG


def test_a_lost_request_is_not_obeyed_and_a_lost_reply_is(bench):
    inject(bench, "lost-request")
    assert bench.bytes(feetech.write(1, 40, b"\1")) == b""
    assert bench.arm.servo(JOINTS[0]).torque_on is False
    inject(bench, "lost-reply")
    assert bench.bytes(feetech.write(1, 40, b"\1")) == b""
    assert bench.arm.servo(JOINTS[0]).torque_on is True


def test_broken_frames(bench):
    inject(bench, "partial-frame")
    assert bench.bytes(PING) == PONG[:3]
    inject(bench, "crc-flip")
    broken = bench.bytes(PING)
    assert broken[:-1] == PONG[:-1]
    assert broken != PONG
    inject(bench, "garbage")
    noisy = bench.bytes(PING)
    assert noisy.endswith(PONG)
    assert len(noisy) == len(PONG) + 7


@pytest.mark.parametrize("model", ["sts3215", "xl330-m288"])
def test_a_wrong_identifier_comes_with_a_right_check(model):
    bench = Bench(model)
    inject(bench, "wrong-id")
    (packet,) = bench.ask(bench.codec.ping(3))
    assert packet.id == 1


def test_a_late_reply_meets_the_next_request(bench):
    inject(bench, "late-reply")
    bench.port.write(feetech.read(1, 56, 2))
    assert bench.port.read(bench.clock.now() + 0.05) == b""
    bench.wait(0.06)
    packets = bench.ask(feetech.read(2, 56, 2))
    assert [packet.id for packet in packets] == [1, 2]


def test_replies_in_the_wrong_order(bench):
    inject(bench, "reordered-replies")
    assert [packet.id for packet in bench.ask(feetech.sync_read(56, 2, [1, 2, 3]))] == [3, 2, 1]


def test_the_latency_timer_and_the_echo_are_states_that_can_be_cleared(bench):
    inject(bench, "latency-16ms")
    inject(bench, "echo")
    start = bench.clock.now()
    assert bench.bytes(PING) == PING + PONG
    assert bench.clock.now() - start > 0.016
    clear(bench, "latency-16ms")
    clear(bench, "echo")
    assert bench.bytes(PING) == PONG


def test_a_pulled_cable_comes_back_but_not_its_bytes(bench):
    bench.port.write(PING)
    inject(bench, "cable-pulled+0.5")
    with pytest.raises(ConnectionLostError, match="cable"):
        bench.port.read(1.0)
    bench.wait(0.6)
    bench.port = type(bench.port)(bench.arm, bench.clock)
    assert bench.bytes(PING) == PONG


def test_two_servos_with_one_identifier_talk_at_once(bench):
    inject(bench, "duplicate-id:elbow_flex")
    collisions = bench.arm.wire.collisions
    assert bench.ask(feetech.read(3, 56, 2)) == []
    assert bench.arm.wire.collisions > collisions
    clear(bench, "duplicate-id")
    assert len(bench.ask(feetech.read(3, 56, 2))) == 1


def test_a_silent_servo_goes_on_moving(bench):
    bench.write(1, "torque_enable", 1)
    bench.write(1, "goal_position", 2500)
    inject(bench, "missing-id:shoulder_pan")
    assert bench.bytes(PING) == b""
    assert bench.wait(0.5).position[0] > 0.5


def test_another_model_number(bench):
    inject(bench, "wrong-model:gripper")
    assert bench.read(6, "model_number") != 777
    clear(bench, "wrong-model")
    assert bench.read(6, "model_number") == 777


@pytest.mark.parametrize("model", ["sts3215", "xl330-m288"])
def test_an_overload_in_motion_gives_up_torque(model):
    bench = Bench(model)
    bench.write(1, "torque_enable", 1)
    bench.write(1, "goal_position", 3000)
    bench.wait(0.1)
    inject(bench, "overload:shoulder_pan")
    status = bench.wait(0.01)
    assert status.errors[0] == 0x20
    assert abs(status.output[0]) <= 0.2


def test_a_brown_out_restarts_servos_without_torque(bench):
    for servo in range(1, 7):
        bench.write(servo, "torque_enable", 1)
        bench.write(servo, "profile_velocity", 500)
    inject(bench, "brown-out")
    bench.wait(0.1)
    assert bench.bytes(PING) == b""
    status = bench.wait(0.5)
    assert not any(status.torque_on)
    assert bench.read(1, "profile_velocity") == 0


def test_a_weak_supply_is_reported(bench):
    inject(bench, "low-voltage")
    bench.wait(0.05)
    assert bench.ask(PING)[0].code == 0x01
    assert bench.read(1, "present_input_voltage") == 37
    clear(bench, "low-voltage")
    bench.wait(0.05)
    assert bench.ask(PING)[0].code == 0


def test_heat(bench):
    bench.write(1, "torque_enable", 1)
    inject(bench, "overheating:shoulder_pan")
    bench.wait(0.01)
    assert bench.ask(PING)[0].code == 0x04
    assert bench.read(1, "torque_enable") == 0


@pytest.mark.parametrize("model", ["sts3215", "xl330-m288"])
def test_an_encoder_that_wraps_is_a_turn_off(model):
    bench = Bench(model)
    before = bench.read(5, "present_position")
    inject(bench, "encoder-wrap:wrist_roll")
    assert bench.read(5, "present_position") == pytest.approx(before + 4096, abs=2)


def test_eeprom_that_takes_no_writes():
    bench = Bench("xl330-m288")
    inject(bench, "locked-eeprom:gripper")
    assert bench.write(6, "homing_offset", 5) == 7
    bench = Bench()
    inject(bench, "locked-eeprom:gripper")
    bench.write(6, "lock", 0)
    bench.write(6, "homing_offset", 5)
    assert (bench.read(6, "lock"), bench.read(6, "homing_offset")) == (1, 0)


def test_eeprom_that_is_not_as_the_calibration_says(bench):
    before = bench.read(5, "present_position")
    inject(bench, "changed-eeprom:wrist_roll")
    assert bench.read(5, "homing_offset") == 100
    assert bench.read(5, "present_position") == pytest.approx(before - 100, abs=2)


def test_a_tripped_watchdog_refuses_goals():
    bench = Bench("xl330-m288")
    bench.write(1, "torque_enable", 1)
    inject(bench, "watchdog-tripped:shoulder_pan")
    assert bench.read(1, "bus_watchdog") == -1
    assert bench.ask(dynamixel.write(1, 116, (2048).to_bytes(4, "little")))[0].error == 4


def test_a_fault_happens_at_its_time(bench):
    inject(bench, "stuck-joint:elbow_flex@2+1")
    assert bench.wait(1.9).faults == ()
    assert bench.wait(0.2).faults == ("stuck-joint:elbow_flex",)
    assert bench.wait(1.0).faults == ()
