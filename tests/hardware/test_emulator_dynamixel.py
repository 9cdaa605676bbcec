import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, Bench, servo_places

from hardware.emulator.options import PlantOptions
from hardware.emulator.places import ServoPlace
from hardware.wire import dynamixel

ALERT = dynamixel.ALERT


@pytest.fixture
def bench():
    return Bench("xl330-m288")


def test_the_manuals_pings_reads_and_writes_come_back_byte_for_byte():
    joints = ("shoulder_pan", "wrist_roll")
    bench = Bench("xm430-w350", places=servo_places("xm430-w350", joints), plant=PlantOptions(supply=11.9))
    one, two = (bench.arm.servo(joint) for joint in joints)
    for servo, count in ((one, 166), (two, 2079)):
        servo.memory["model_number"], servo.memory["firmware_version"] = 1030, 38
        servo.encoder_shift = count - servo.count()
    two.motor.temperature = 36.0
    exchanges = {
        "FFFFFD0001030001194E": "FFFFFD000107005500060426655D",
        "FFFFFD00FE0300013142": "FFFFFD000107005500060426655D FFFFFD0002070055000604266F6D",
        "FFFFFD0001070002840004001D15": "FFFFFD000108005500A60000008CC0",
        "FFFFFD00FE090082840004000102CEFA": "FFFFFD000108005500A60000008CC0 FFFFFD0002080055001F080000BABE",
        "FFFFFD0001090003740000020000CA89": "FFFFFD000104005500A10C",
        "FFFFFD00010900046800C8000000AE8E": "FFFFFD000104005500A10C",
        "FFFFFD000103000502CE": "FFFFFD000104005500A10C",
        "FFFFFD00FE11008374000400019600000002AA0000008287": "",
        "FFFFFD00010800100144584C22B1DC": "FFFFFD000104005500A10C",
    }
    for request, answer in exchanges.items():
        assert bench.bytes(bytes.fromhex(request)).hex() == answer.replace(" ", "").lower(), request
    assert (one.memory["goal_velocity"], one.memory["goal_position"], two.memory["goal_position"]) == (200, 150, 170)
    answer = bench.bytes(bytes.fromhex("FFFFFD00FE0D0092019000020002920001001A05"))
    assert answer.hex() == "FFFFFD0001060055007700C369FFFFFD000205005500248BA9".lower()
    reset, reboot = bytes.fromhex("FFFFFD000104000601A1E6"), bytes.fromhex("FFFFFD00010300082F4E")
    assert bench.bytes(reset).hex() == "FFFFFD000104005500A10C".lower()
    bench.wait(1.0)
    bench.port.baudrate = 57_600
    assert bench.bytes(reboot).hex() == "FFFFFD000104005500A10C".lower()


def test_a_fast_sync_read_is_one_packet_with_a_crc_after_every_block(bench):
    expected = [bench.read(servo, "present_position") for servo in (3, 6, 4)]
    (packet,) = bench.ask(dynamixel.sync_read(132, 4, [3, 6, 4], fast=True))
    parts = dynamixel.split_fast_status(packet, [4, 4, 4])
    assert [part.id for part in parts] == [3, 6, 4]
    assert [int.from_bytes(part.parameters, "little") for part in parts] == expected


def test_a_fast_sync_read_breaks_off_where_a_servo_is_missing(bench):
    whole = bench.bytes(dynamixel.sync_read(132, 4, [1, 2], fast=True))
    broken = bench.bytes(dynamixel.sync_read(132, 4, [1, 9, 2], fast=True))
    assert broken.startswith(whole[:4])
    assert len(broken) == 8 + 8
    assert bench.codec.PacketParser().feed(broken) == []


def test_a_sync_read_goes_on_after_a_missing_servo(bench):
    assert [packet.id for packet in bench.ask(dynamixel.sync_read(132, 4, [1, 9, 2]))] == [1, 2]


def test_bulk_write_reaches_every_servo(bench):
    bench.ask(dynamixel.bulk_write({1: (65, b"\1"), 2: (112, (77).to_bytes(4, "little"))}))
    assert (bench.read(1, "led"), bench.read(2, "profile_velocity")) == (1, 77)


def test_eeprom_is_locked_while_torque_is_on(bench):
    bench.write(1, "torque_enable", 1)
    assert bench.write(1, "homing_offset", 5) == 7
    assert bench.read(1, "homing_offset") == 0
    bench.write(1, "torque_enable", 0)
    assert bench.write(1, "homing_offset", 5) == 0
    assert bench.read(1, "homing_offset") == 5


def test_what_a_servo_refuses(bench):
    assert bench.write(1, "present_position", 5) == 7
    assert bench.write(1, "id", 253) == 4
    assert bench.write(1, "operating_mode", 2) == 4
    assert bench.write(1, "bus_watchdog", -1) == 4
    assert bench.ask(dynamixel.write(1, 116, b"\0\1"))[0].error == 5
    assert bench.ask(dynamixel.write(1, 117, b"\0\1\0\0"))[0].error == 7
    assert bench.ask(dynamixel.read(1, 140, 900))[0].error == 7
    assert bench.ask(dynamixel.build(1, 0x77))[0].error == 2
    assert bench.ask(dynamixel.action(1))[0].error == 2


def test_a_write_is_done_as_a_whole_or_not_at_all(bench):
    both = (100).to_bytes(4, "little") + (99_999).to_bytes(4, "little")
    assert bench.ask(dynamixel.write(1, 108, both))[0].error == 4
    assert bench.read(1, "profile_acceleration") == 0


def test_a_goal_outside_the_limits_is_refused_and_not_clamped(bench):
    bench.write(1, "max_position_limit", 3000)
    bench.write(1, "torque_enable", 1)
    before = bench.read(1, "goal_position")
    assert bench.write(1, "goal_position", 3001) == 6
    assert bench.read(1, "goal_position") == before
    assert bench.write(1, "goal_position", 3000) == 0
    assert bench.write(1, "goal_velocity", 446) == 6


def test_extended_position_mode_knows_no_limits_within_256_turns(bench):
    bench.write(1, "operating_mode", 4)
    assert bench.write(1, "goal_position", -900_000) == 0
    assert bench.write(1, "goal_position", 1_048_576) == 4


def test_the_xl430_has_no_current_mode():
    bench = Bench("xl430-w250", places=servo_places("xl430-w250", JOINTS[:1]))
    assert bench.write(1, "operating_mode", 5) == 4
    assert bench.write(1, "operating_mode", 1) == 0


def test_status_return_levels(bench):
    bench.write(1, "status_return_level", 1)
    assert bench.ask(dynamixel.write(1, 65, b"\1")) == []
    assert bench.read(1, "led") == 1
    bench.ask(dynamixel.write(1, 68, b"\0"))
    assert bench.ask(dynamixel.read(1, 65, 1)) == []
    assert bench.ask(dynamixel.sync_read(65, 1, [1, 2])) != []
    assert len(bench.ask(dynamixel.ping(1))) == 1


def test_broadcast_writes_are_obeyed_by_all_and_answered_by_none(bench):
    assert bench.ask(dynamixel.write(dynamixel.BROADCAST, 65, b"\1")) == []
    assert [bench.read(servo, "led") for servo in range(1, 7)] == [1] * 6


def test_a_broadcast_ping_is_answered_in_the_order_of_identifiers():
    places = [ServoPlace(joint, servo, "xl330-m288") for joint, servo in zip(JOINTS[:3], (9, 2, 5), strict=True)]
    bench = Bench("xl330-m288", places=places)
    assert [packet.id for packet in bench.ask(dynamixel.ping(dynamixel.BROADCAST))] == [2, 5, 9]


def test_secondary_identifiers_move_a_group_silently_and_only_in_ram(bench):
    for servo in (1, 2, 3):
        assert bench.write(servo, "secondary_id", 3) == 0
    (packet,) = bench.ask(dynamixel.write(3, 65, b"\1"))
    assert packet.id == 3
    assert [bench.read(servo, "led") for servo in (1, 2, 3, 4)] == [1, 1, 1, 0]
    bench.ask(dynamixel.write(3, 31, b"\x3c"))
    assert [bench.read(servo, "temperature_limit") for servo in (1, 2, 3)] == [70, 70, 60]


def test_a_registered_write_waits_for_the_action(bench):
    bench.ask(dynamixel.register_write(1, 65, b"\1"))
    bench.ask(dynamixel.register_write(2, 65, b"\1"))
    assert (bench.read(1, "led"), bench.read(1, "registered_instruction")) == (0, 1)
    assert bench.ask(dynamixel.action()) == []
    assert (bench.read(1, "led"), bench.read(2, "led"), bench.read(1, "registered_instruction")) == (1, 1, 0)


def test_a_shutdown_cuts_torque_sets_the_alert_on_all_and_yields_only_to_a_reboot(bench):
    bench.write(1, "torque_enable", 1)
    bench.write(1, "profile_velocity", 55)
    bench.arm.servo(JOINTS[0]).trip(0x20)
    assert bench.ask(dynamixel.ping(1))[0].error == ALERT
    assert bench.read(1, "hardware_error_status") == 0x20
    assert bench.read(1, "torque_enable") == 0
    assert bench.write(1, "torque_enable", 1) == ALERT | 7
    assert bench.ask(dynamixel.ping(2))[0].error == 0
    bench.ask(dynamixel.reboot(1))
    assert bench.ask(dynamixel.ping(1)) == []
    bench.wait(0.5)
    assert bench.ask(dynamixel.ping(1))[0].error == 0
    assert bench.read(1, "profile_velocity") == 0
    assert bench.write(1, "torque_enable", 1) == 0


def test_an_error_that_shutdown_does_not_name_only_alerts(bench):
    bench.write(1, "shutdown", 0x10)
    bench.write(1, "torque_enable", 1)
    bench.arm.servo(JOINTS[0]).trip(0x20)
    assert bench.read(1, "torque_enable") == 1
    assert bench.ask(dynamixel.ping(1))[0].error == ALERT


def test_the_bus_watchdog_stops_the_servo_and_refuses_goals_until_cleared(bench):
    bench.write(1, "torque_enable", 1)
    bench.write(1, "bus_watchdog", 5)
    bench.wait(0.09)
    assert bench.read(1, "bus_watchdog") == 5
    bench.write(1, "profile_velocity", 20)
    bench.write(1, "goal_position", 3000)
    status = bench.wait(0.5)
    assert bench.read(1, "bus_watchdog") == -1
    assert abs(status.velocity[0]) < 0.01
    assert 0.02 < status.position[0] < 0.1
    assert bench.write(1, "goal_position", 2048) == 4
    assert bench.write(1, "bus_watchdog", 5) == 4
    assert bench.write(1, "bus_watchdog", 0) == 0
    assert bench.write(1, "goal_position", 2048) == 0


def test_any_instruction_feeds_the_watchdog_of_all(bench):
    bench.write(1, "torque_enable", 1)
    bench.write(1, "bus_watchdog", 5)
    for _ in range(10):
        bench.wait(0.08)
        bench.ask(dynamixel.ping(2))
    assert bench.read(1, "bus_watchdog") == 5


def test_identifier_and_baud_rate_change_and_survive_a_reboot(bench):
    assert bench.write(1, "id", 41) == 0
    assert bench.ask(dynamixel.ping(1)) == []
    assert bench.ask(dynamixel.ping(41))[0].id == 41
    bench.ask(dynamixel.write(41, 8, b"\1"))
    assert bench.ask(dynamixel.ping(41)) == []
    bench.port.baudrate = 57_600
    bench.ask(dynamixel.reboot(41))
    bench.wait(0.5)
    assert bench.ask(dynamixel.ping(41))[0].id == 41
    assert bench.ask(dynamixel.ping(2)) == []


@pytest.mark.parametrize(
    ("keep", "identifier", "baudrate"), [(0xFF, 1, 57_600), (0x01, 3, 57_600), (0x02, 3, 1_000_000)]
)
def test_factory_reset_keeps_what_it_is_told(bench, keep, identifier, baudrate):
    bench.write(3, "homing_offset", 50)
    assert bench.ask(dynamixel.factory_reset(3, keep))[0].error == 0
    bench.wait(0.5)
    servo = bench.arm.servo(JOINTS[2])
    assert (servo.id, servo.baudrate, servo.memory["homing_offset"]) == (identifier, baudrate, 0)


def test_reset_of_all_by_broadcast_is_not_obeyed(bench):
    bench.write(3, "homing_offset", 50)
    bench.ask(dynamixel.factory_reset(dynamixel.BROADCAST, 0xFF))
    bench.wait(0.5)
    assert bench.read(3, "homing_offset") == 50


def test_homing_and_reverse_mode_change_what_is_reported(bench):
    elbow = round(0.75 / (2 * np.pi) * 4096)
    assert bench.read(3, "present_position") == 2048 + elbow
    bench.write(3, "homing_offset", 100)
    assert bench.read(3, "present_position") == 2148 + elbow
    bench.write(3, "homing_offset", 0)
    bench.write(3, "drive_mode", 1)
    assert bench.read(3, "present_position") == 2048 - elbow


def test_torque_comes_on_where_the_arm_is(bench):
    bench.write(1, "goal_position", 3000)
    bench.write(1, "torque_enable", 1)
    assert bench.read(1, "goal_position") == bench.read(1, "present_position")
    assert abs(bench.wait(0.5).position[0]) < 0.01


def test_a_reversed_servo_still_goes_where_it_is_told(bench):
    bench.write(1, "drive_mode", 1)
    bench.write(1, "torque_enable", 1)
    bench.write(1, "goal_position", 2348)
    assert bench.wait(1.0).position[0] == pytest.approx(-300 / 4096 * 2 * np.pi, abs=0.02)


def test_velocity_mode_turns_at_the_goal_velocity(bench):
    bench.write(5, "operating_mode", 1)
    bench.write(5, "torque_enable", 1)
    bench.write(5, "goal_velocity", 42)
    assert bench.wait(0.6).velocity[4] == pytest.approx(42 * 0.229 / 60 * 2 * np.pi, rel=0.1)


def test_a_profile_limits_speed_and_acceleration(bench):
    bench.write(1, "profile_velocity", 40)
    bench.write(1, "profile_acceleration", 20)
    bench.ask(dynamixel.write(dynamixel.BROADCAST, 64, b"\1"))
    bench.write(1, "goal_position", 2048 + 652)
    speeds = [bench.wait(0.02).velocity[0] for _ in range(80)]
    limit, acceleration = 40 * 0.229 / 60 * 2 * np.pi, 20 * 214.577 / 3600 * 2 * np.pi
    assert max(speeds) == pytest.approx(limit, rel=0.1)
    assert speeds[4] == pytest.approx(0.1 * acceleration, abs=0.15)
    assert bench.wait(0.5).position[0] == pytest.approx(1.0, abs=0.02)


def test_a_shadow_servo_moves_with_its_master():
    places = [
        ServoPlace("shoulder_lift", 2, "xm430-w350"),
        ServoPlace("shoulder_lift", 3, "xm430-w350", sign=-1.0, reverse=True, shadows=2),
    ]
    bench = Bench("xm430-w350", places=places)
    before = bench.arm.status(0.0).position[0]
    table = bench.arm.servo("shoulder_lift").memory.table
    bench.codec = dynamixel
    bench.ask(dynamixel.write(2, table["torque_enable"].address, b"\1"))
    goal = 2048 + round((before + 0.3) / (2 * np.pi) * 4096)
    bench.ask(dynamixel.write(2, table["goal_position"].address, goal.to_bytes(4, "little")))
    assert bench.wait(1.0).position[0] == pytest.approx(before + 0.3, abs=0.03)
    read = {
        packet.id: int.from_bytes(packet.parameters, "little")
        for packet in bench.ask(dynamixel.sync_read(132, 4, [2, 3]))
    }
    assert abs(read[2] - read[3]) <= 2
