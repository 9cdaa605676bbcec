import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, READY, Bench

from hardware.wire import feetech
from hardware.wire.feetech import Instruction

COUNT = 2 * np.pi / 4096


@pytest.fixture
def bench():
    return Bench()


def hold_all(bench):
    for servo, position in enumerate(READY.values(), start=1):
        bench.write(servo, "goal_position", 2048 + round(position / COUNT))
        bench.write(servo, "torque_enable", 1)


def test_a_ping_and_a_read_as_bytes(bench):
    assert bench.bytes(bytes.fromhex("FFFF010201FB")).hex().upper() == "FFFF010200FC"
    assert bench.bytes(bytes.fromhex("FFFF0104023802BE")).hex().upper() == "FFFF010400000" + "8F2"


def test_a_packet_with_a_wrong_sum_is_not_heard(bench):
    assert bench.bytes(bytes.fromhex("FFFF010201FA")) == b""
    assert bench.bytes(feetech.write(1, 5, b"\x09")[:-1] + b"\x00") == b""
    assert bench.arm.servo(JOINTS[0]).id == 1


def test_positions_are_counts_about_2048(bench):
    for servo, position in enumerate(READY.values(), start=1):
        assert bench.read(servo, "present_position") == pytest.approx(2048 + position / COUNT, abs=12)


def test_negative_speed_and_load_have_a_sign_bit(bench):
    hold_all(bench)
    bench.write(1, "goal_position", 1500)
    bench.wait(0.1)
    field = bench.arm.servo(JOINTS[0]).memory.table["present_velocity"]
    (packet,) = bench.ask(feetech.read(1, field.address, 2))
    assert packet.parameters[1] & 0x80
    assert bench.read(1, "present_velocity") < -500
    (packet,) = bench.ask(feetech.read(1, 60, 2))
    assert packet.parameters[1] & 0x04
    assert bench.read(1, "present_load") == -1000


def test_a_sync_read_answers_in_the_order_of_the_request(bench):
    assert [packet.id for packet in bench.ask(feetech.sync_read(56, 8, [4, 1, 6]))] == [4, 1, 6]
    assert [packet.id for packet in bench.ask(feetech.sync_read(56, 8, [4, 9, 6]))] == [4, 6]


def test_a_sync_write_moves_all(bench):
    hold_all(bench)
    goals = {servo: (2048 + 100 * servo).to_bytes(2, "little") for servo in range(1, 7)}
    assert bench.ask(feetech.sync_write(42, goals)) == []
    assert [bench.read(servo, "goal_position") for servo in range(1, 7)] == [2048 + 100 * s for s in range(1, 7)]


def test_a_broadcast_ping_is_answered_by_all_in_turn(bench):
    assert [packet.id for packet in bench.ask(feetech.ping(feetech.BROADCAST))] == [1, 2, 3, 4, 5, 6]


def test_a_registered_write_waits_for_the_action(bench):
    hold_all(bench)
    bench.ask(feetech.register_write(1, 42, (2300).to_bytes(2, "little")))
    assert (bench.read(1, "goal_position"), bench.read(1, "registered_instruction")) == (2048, 1)
    assert bench.ask(feetech.build(feetech.BROADCAST, Instruction.ACTION)) == []
    assert (bench.read(1, "goal_position"), bench.read(1, "registered_instruction")) == (2300, 0)


def test_what_is_written_to_locked_eeprom_is_gone_after_a_restart(bench):
    bench.write(1, "position_p_gain", 16)
    bench.write(2, "lock", 0)
    bench.write(2, "position_p_gain", 16)
    for servo in (1, 2):
        assert bench.read(servo, "position_p_gain") == 16
        bench.ask(feetech.build(servo, 0x08))
    bench.wait(0.5)
    assert (bench.read(1, "position_p_gain"), bench.read(2, "position_p_gain")) == (32, 16)
    assert bench.read(2, "lock") == 1


def test_position_correction_shifts_what_is_reported_and_lasts(bench):
    before = bench.read(5, "present_position")
    bench.write(5, "lock", 0)
    bench.write(5, "homing_offset", -300)
    assert bench.read(5, "present_position") == before + 300
    bench.ask(feetech.build(5, 0x08))
    bench.wait(0.5)
    assert bench.read(5, "present_position") == before + 300


def test_writing_128_to_torque_makes_the_present_position_the_middle(bench):
    bench.write(3, "torque_enable", 128)
    assert bench.read(3, "present_position") == pytest.approx(2048, abs=3)
    assert bench.read(3, "homing_offset") == pytest.approx(READY["elbow_flex"] / COUNT, abs=12)


def test_goals_are_cut_to_the_limits(bench):
    bench.write(1, "max_position_limit", 2200)
    hold_all(bench)
    bench.write(1, "goal_position", 3000)
    assert bench.wait(1.0).position[0] == pytest.approx(152 * COUNT, abs=0.02)


def test_torque_comes_on_with_the_old_goal(bench):
    hold_all(bench)
    bench.write(1, "torque_enable", 0)
    bench.write(1, "goal_position", 2348)
    assert abs(bench.wait(0.5).position[0]) < 0.01
    bench.write(1, "torque_enable", 1)
    assert bench.wait(0.8).position[0] == pytest.approx(300 * COUNT, abs=0.02)


def test_read_only_registers_and_impossible_counts_are_ignored_without_a_word(bench):
    assert bench.write(1, "model_number", 5) == 0
    assert bench.read(1, "model_number") == 777
    assert bench.write(1, "torque_limit", 2000) == 0
    assert bench.read(1, "torque_limit") == 1000


def test_a_servo_set_to_silence_answers_only_pings_and_reads(bench):
    bench.write(1, "status_return_level", 0)
    assert bench.ask(feetech.write(1, 40, b"\1")) == []
    assert bench.read(1, "torque_enable") == 1
    assert len(bench.ask(feetech.ping(1))) == 1


def test_identifier_and_baud_rate_change(bench):
    bench.write(1, "id", 17)
    assert bench.ask(feetech.ping(1)) == []
    bench.ask(feetech.write(17, 6, b"\4"))
    assert bench.ask(feetech.ping(17)) == []
    bench.port.baudrate = 115_200
    assert [packet.id for packet in bench.ask(feetech.ping(17))] == [17]


def test_a_blocked_joint_raises_overload_after_the_tables_time_and_drops_torque(bench):
    hold_all(bench)
    bench.arm.plant.block("shoulder_pan", True)
    bench.write(1, "goal_position", 2600)
    bench.wait(1.9)
    assert bench.read(1, "hardware_error_status") == 0
    assert abs(bench.read(1, "present_load")) == 1000
    bench.wait(0.2)
    (packet,) = bench.ask(feetech.ping(1))
    assert packet.code == 0x20
    assert bench.read(1, "present_load") == pytest.approx(200, abs=2)
    bench.write(1, "torque_enable", 0)
    assert bench.ask(feetech.ping(1))[0].code == 0


def test_a_shorter_protection_time_trips_sooner(bench):
    bench.write(1, "protection_time", 20)
    hold_all(bench)
    bench.arm.plant.block("shoulder_pan", True)
    bench.write(1, "goal_position", 2600)
    bench.wait(0.3)
    assert bench.read(1, "hardware_error_status") == 0x20


def test_heat_rises_under_load_and_cuts_torque_at_the_limit(bench):
    hold_all(bench)
    bench.arm.plant.block("shoulder_pan", True)
    bench.write(1, "goal_position", 2600)
    temperatures = [bench.wait(0.6).temperature[0] for _ in range(3)]
    assert temperatures == sorted(temperatures)
    assert temperatures[-1] - temperatures[0] == pytest.approx(1.2 * 70 / 180, rel=0.1)
    bench.arm.servo(JOINTS[0]).motor.temperature = 72.0
    bench.wait(0.1)
    assert bench.ask(feetech.ping(1))[0].code == 0x04
    assert bench.read(1, "torque_enable") == 0
    bench.wait(12.0)
    assert bench.ask(feetech.ping(1))[0].code == 0


def test_the_supply_sags_under_load(bench):
    hold_all(bench)
    before = bench.read(1, "present_input_voltage")
    bench.arm.plant.block("shoulder_pan", True)
    bench.write(1, "goal_position", 2600)
    bench.wait(0.2)
    assert bench.read(1, "present_input_voltage") < before


def test_wheel_mode_turns_and_pwm_mode_pushes(bench):
    hold_all(bench)
    bench.write(5, "operating_mode", 1)
    bench.write(5, "profile_velocity", -600)
    assert bench.wait(0.5).velocity[4] == pytest.approx(-600 * COUNT, rel=0.1)
    bench.write(5, "operating_mode", 2)
    bench.write(5, "goal_time", 300)
    assert bench.wait(0.5).output[4] == pytest.approx(0.3, abs=0.01)


def test_a_step_goes_on_from_the_last_goal(bench):
    hold_all(bench)
    bench.write(5, "operating_mode", 3)
    for _ in range(2):
        bench.ask(feetech.write(5, 42, (100).to_bytes(2, "little")))
        status = bench.wait(0.5)
    assert status.position[4] == pytest.approx(200 * COUNT, abs=0.02)
