"""The arm of bus servos on an emulated bus, in virtual time: from connecting to stopping, with what can go wrong."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardware import servo_setup
from hardware.calibration import Calibration, ServoCalibration
from hardware.clock import VirtualClock
from hardware.emulator import Fault, MemoryPort, PlantOptions, emulate, emulate_in_memory
from hardware.errors import (
    BusError,
    CalibrationError,
    CommandRefusedError,
    ConnectionLostError,
    NotConnectedError,
    PortBusyError,
    PortError,
    ServoFaultError,
    ServoSetupError,
    StoppedError,
)
from hardware.robot import Array
from hardware.robot_file import RobotDescription, load_description
from hardware.serial_port import SerialDevice
from hardware.servo_arm import ServoArm, release
from hardware.wire import dynamixel

ARMS = ("so101", "koch")
PERIOD = 0.02


def described(name: str, **changes: object) -> RobotDescription:
    return RobotDescription.model_validate(load_description(name).model_dump() | changes)


class Bench:
    """An arm, its emulated body, and the truth about both."""

    def __init__(self, description: RobotDescription, plant: PlantOptions | None = None) -> None:
        self.description = description
        self.clock = VirtualClock()
        self.port: MemoryPort = emulate_in_memory(description, self.clock, plant=plant)
        self.arm = ServoArm(description, self.port, self.clock)

    @property
    def truth(self):  # type: ignore[no-untyped-def]
        return self.port.arm.status(self.clock.now())

    @property
    def body(self):  # type: ignore[no-untyped-def]
        return self.port.arm

    def inject(self, name: str, joint: str | None = None, **settings: float) -> None:
        self.body.inject(Fault(name, joint, **settings), self.clock.now())

    def command(self) -> Array:
        return self.arm.get_observation().values["command"]

    def drive(self, seconds: float, step: Array) -> Array:
        """Send commands that go on by a step each period; the last one."""
        command = self.command()
        for _ in range(round(seconds / PERIOD)):
            command = command + step
            self.arm.send_action(command)
            self.clock.advance(PERIOD)
        return command

    def watch(self, seconds: float) -> None:
        """Let time pass while the arm is read, as a loop does."""
        for _ in range(round(seconds / PERIOD)):
            self.arm.get_observation()
            self.clock.advance(PERIOD)

    def reconnect(self) -> None:
        """Another program's turn: the same body behind a fresh line."""
        self.port = MemoryPort(self.body, self.clock)
        self.arm = ServoArm(self.description, self.port, self.clock)


@pytest.fixture(params=ARMS)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(described(request.param))


@pytest.fixture
def connected(bench: Bench) -> Bench:
    bench.arm.connect()
    return bench


def read_until(arm: ServoArm, deadline: float) -> None:
    while time.monotonic() < deadline:
        arm.get_observation()


def pan(step: float) -> Array:
    return np.array([step, 0, 0, 0, 0, 0])


def test_connecting_holds_the_arm_where_it_stands(bench: Bench) -> None:
    before = np.array(bench.truth.position)
    bench.arm.connect()
    assert all(bench.truth.torque_on)
    taken_over = np.array(bench.truth.position)
    bench.clock.advance(1.0)
    np.testing.assert_allclose(bench.truth.position, taken_over, atol=0.12, err_msg="it sags, and does not jump")
    np.testing.assert_allclose(bench.truth.position, before, atol=0.25)
    bench.arm.connect()
    assert bench.arm.is_connected


def test_goals_are_set_before_the_torque_comes_on(bench: Bench) -> None:
    goals = []
    for joint in bench.description.joints:
        servo = bench.body.servo(joint.name)
        switch = servo.motor.switch
        servo.motor.switch = lambda on, *rest, servo=servo, switch=switch: (
            goals.append(abs(servo.memory["goal_position"] - servo.count())) if on else None,
            switch(on, *rest),
        )
    bench.arm.connect()
    assert len(goals) >= 6
    assert max(goals) < 40, "counts between goal and shaft when a motor is switched on"


def test_observations_say_what_the_arm_does_and_when_it_was_read(connected: Bench) -> None:
    connected.drive(0.4, pan(0.02))
    before = connected.clock.now()
    observation = connected.arm.get_observation()
    truth = connected.truth
    np.testing.assert_allclose(observation.values["joint_position"], truth.position, atol=0.01)
    np.testing.assert_allclose(observation.values["joint_velocity"], truth.velocity, atol=0.3)
    assert observation.values["joint_velocity"][0] > 0.3
    np.testing.assert_allclose(observation.values["temperature"], truth.temperature, atol=1.0)
    np.testing.assert_allclose(observation.values["voltage"], truth.voltage, atol=0.1)
    assert np.abs(observation.values["effort"]).max() > 0
    assert before <= observation.read_start["motion"] < observation.read_end["motion"] <= connected.clock.now()
    assert observation.read_end["health"] <= observation.read_end["motion"], "state is as old as its newest part"
    following = connected.arm.get_observation()
    assert following.sequence == observation.sequence + 1
    following.values["command"][:] = np.nan
    assert np.isfinite(connected.command()).all()


def test_a_command_moves_the_arm_and_is_in_force(connected: Bench) -> None:
    command = connected.drive(0.5, pan(0.01))
    sent = connected.arm.send_action(command)
    np.testing.assert_array_equal(sent.sent, command)
    connected.watch(0.5)
    np.testing.assert_array_equal(connected.command(), command)
    assert connected.truth.position[0] == pytest.approx(command[0], abs=0.05)


def test_points_come_from_the_twin() -> None:
    def tip(position: Array) -> dict[str, Array]:
        return {"gripper_tip": position[:3] * 2}

    clock = VirtualClock()
    description = described("so101")
    arm = ServoArm(description, emulate_in_memory(description, clock), clock, points=tip)
    arm.connect()
    values = arm.get_observation().values
    np.testing.assert_array_equal(values["gripper_tip"], values["joint_position"][:3] * 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda command: np.full(6, np.nan), "takes 6 finite numbers"),
        (lambda command: command[:5], "takes 6 finite numbers"),
        (lambda command: command + pan(1e9), r"shoulder_pan is sent to 1e\+09 rad; its limits are"),
        (lambda command: command + pan(-4.0), "shoulder_pan is sent to -4"),
    ],
)
def test_commands_that_must_not_be_sent_are_refused(
    connected: Bench, spoil: Callable[[Array], Array], message: str
) -> None:
    command = connected.command()
    with pytest.raises(CommandRefusedError, match=message):
        connected.arm.send_action(spoil(command))
    np.testing.assert_array_equal(connected.command(), command)


def test_servos_are_set_up_and_hold_it(connected: Bench) -> None:
    for joint in connected.description.joints:
        memory = connected.body.servo(joint.name).memory
        assert memory["return_delay_time"] == 0
        assert memory["torque_enable"] == 1
        if connected.description.driver == "dynamixel":
            assert memory["operating_mode"] == 3
            assert memory["bus_watchdog"] == 10
            assert memory["secondary_id"] == 255
        else:
            assert memory["operating_mode"] == 0
            assert memory["lock"] == 1


def test_profile_and_torque_limit_reach_the_servos(bench: Bench) -> None:
    tree = bench.description.model_dump() | {"profile": {"velocity": 2.0, "acceleration": 8.0}}
    tree["joints"][5]["torque_limit"] = 0.5
    other = Bench(RobotDescription.model_validate(tree))
    other.arm.connect()
    memory = other.body.servo("gripper").memory
    register = memory.table["profile_velocity"]
    assert register.value(memory["profile_velocity"]) == pytest.approx(2.0, abs=0.02)
    limit = "goal_pwm" if other.description.driver == "dynamixel" else "torque_limit"
    assert memory.table[limit].value(memory[limit]) == pytest.approx(0.5, abs=0.001)


def test_a_servo_at_the_factorys_baud_rate_is_found_and_set(bench: Bench) -> None:
    memory = bench.body.servo("elbow_flex").memory
    memory["baud_rate"] = 1
    memory.store("baud_rate")
    bench.arm.connect()
    assert memory.table.baud_rates[memory["baud_rate"]] == 1_000_000


def test_a_missing_servo_is_named_with_those_that_answer(bench: Bench) -> None:
    bench.inject("missing-id", "elbow_flex")
    with pytest.raises(BusError, match=r"elbow_flex \(servo 3\): no answer at any baud rate.*answer: 1, 2, 4, 5, 6\."):
        bench.arm.connect()
    assert not bench.arm.is_connected
    assert not any(bench.truth.torque_on)


@pytest.mark.parametrize("level", [0, 1])
def test_servos_that_do_not_confirm_writes_are_made_to(bench: Bench, level: int) -> None:
    for joint in bench.description.joints:
        memory = bench.body.servo(joint.name).memory
        memory["status_return_level"] = level
        if bench.description.driver == "feetech":
            memory.store("status_return_level")
    bench.arm.connect()
    assert all(bench.truth.torque_on)


def test_eeprom_is_not_written_while_that_would_let_the_arm_fall() -> None:
    bench = Bench(described("koch"))
    bench.arm.connect()
    memory = bench.body.servo("elbow_flex").memory
    memory["return_delay_time"] = 250
    bench.reconnect()
    with pytest.raises(
        ServoSetupError, match="return_delay_time is 250, must be 0, and cannot be changed while torque"
    ):
        bench.arm.connect()
    assert all(bench.truth.torque_on), "it holds on"


def test_a_watchdog_that_tripped_before_does_not_keep_the_arm_from_moving() -> None:
    bench = Bench(described("koch"))
    bench.arm.connect()
    bench.clock.advance(1.0)
    bench.body.advance(bench.clock.now())
    assert bench.body.servo("shoulder_pan").memory["bus_watchdog"] == -1
    bench.reconnect()
    bench.arm.connect()
    bench.drive(0.3, pan(0.02))
    assert bench.truth.position[0] > 0.1


@pytest.mark.parametrize("name", ["echo", "latency-16ms"])
def test_an_adapter_with_its_own_ways_changes_nothing(bench: Bench, name: str) -> None:
    bench.inject(name)
    bench.arm.connect()
    command = bench.drive(0.5, pan(0.01))
    np.testing.assert_allclose(bench.arm.get_observation().values["joint_position"], bench.truth.position, atol=0.02)
    assert bench.truth.position[0] == pytest.approx(command[0], abs=0.1)
    assert bench.arm.counters.retries == 0


@pytest.mark.parametrize("name", ["lost-reply", "crc-flip", "late-reply"])
def test_one_bad_packet_does_not_keep_the_arm_from_connecting(bench: Bench, name: str) -> None:
    bench.inject(name)
    bench.arm.connect()
    assert all(bench.truth.torque_on)


def test_another_model_is_refused(bench: Bench) -> None:
    bench.inject("wrong-model", "wrist_flex")
    with pytest.raises(ServoSetupError, match=r"wrist_flex \(servo 4\) answers as model 1284; the robot's file says"):
        bench.arm.connect()


def test_two_servos_with_one_identifier_are_an_error(bench: Bench) -> None:
    bench.inject("duplicate-id", "elbow_flex")
    with pytest.raises(BusError, match="same identifier"):
        bench.arm.connect()
    assert not any(bench.truth.torque_on)


def test_eeprom_that_cannot_be_written_is_an_error(bench: Bench) -> None:
    memory = bench.body.servo("elbow_flex").memory
    memory["return_delay_time"] = 250
    memory.store("return_delay_time")
    bench.inject("locked-eeprom", "elbow_flex")
    with pytest.raises(ServoFaultError, match=r"elbow_flex \(servo 3\).*return_delay_time"):
        bench.arm.connect()


def test_a_wrong_supply_keeps_the_torque_off(bench: Bench) -> None:
    other = Bench(bench.description, PlantOptions(supply=9.0))
    other.arm.connect()
    assert other.arm.fault is not None
    assert "reports input voltage (present_input_voltage 9 V" in other.arm.fault
    assert not any(other.truth.torque_on)
    with pytest.raises(StoppedError, match=r"stays stopped: .* reports input voltage"):
        other.arm.clear_fault()


def test_a_servo_that_is_nearly_too_hot_is_not_started(bench: Bench) -> None:
    servo = bench.body.servo("elbow_flex")
    servo.motor.temperature = servo.memory.value("temperature_limit")
    with pytest.raises(ServoSetupError, match=r"elbow_flex \(servo 3\) has 70 °C; it stops at 70 °C: let it cool"):
        bench.arm.connect()
    assert not any(bench.truth.torque_on)


def test_a_joint_outside_its_servos_limits_is_not_held(bench: Bench) -> None:
    for name, count in (("min_position_limit", 1000), ("max_position_limit", 3900)):
        memory = bench.body.servo("shoulder_lift").memory
        memory[name] = count
        memory.store(name)
    tree = bench.description.model_dump()
    tree["joints"][1]["limits"]["position"] = (-1.2, 0.5)
    tree["park_pose"] = (0.0, -1.2, 0.0, 0.0, 0.0, 0.0)
    bench.description = RobotDescription.model_validate(tree)
    bench.reconnect()
    start = bench.truth.position[1]
    assert start < -1.4
    bench.body.servo("shoulder_lift").memory["min_position_limit"] = 1250
    with pytest.raises(ServoSetupError, match=r"shoulder_lift stands at -1.\d+ rad; its servo goes from -1.224"):
        bench.arm.connect()
    assert not any(bench.truth.torque_on)


def test_limits_in_a_servo_that_are_narrower_than_the_files_are_refused(bench: Bench) -> None:
    memory = bench.body.servo("elbow_flex").memory
    memory["max_position_limit"] = 2500
    memory.store("max_position_limit")
    with pytest.raises(ServoSetupError, match=r"elbow_flex \(servo 3\) may turn its joint within \[.*, 0.693\] rad"):
        bench.arm.connect()


@pytest.mark.parametrize(
    "name", ["lost-reply", "crc-flip", "garbage", "partial-frame", "wrong-id", "reordered-replies"]
)
def test_one_bad_packet_goes_unnoticed_by_the_loop(connected: Bench, name: str) -> None:
    command = connected.command()
    connected.inject(name)
    for _ in range(5):
        values = connected.arm.get_observation().values
        np.testing.assert_allclose(values["joint_position"], connected.truth.position, atol=0.01)
        connected.arm.send_action(command)
        connected.clock.advance(PERIOD)


def test_late_replies_and_echoes_never_give_old_values(connected: Bench) -> None:
    connected.inject("echo")
    command = connected.command()
    for step in range(20):
        if step % 5 == 0:
            connected.inject("late-reply")
        command = command + pan(0.02)
        connected.arm.send_action(command)
        connected.clock.advance(PERIOD)
        try:
            observation = connected.arm.get_observation()
        except BusError:
            continue
        late = connected.clock.now() - observation.read_end["motion"]
        assert late == pytest.approx(0.0, abs=1e-6)
        assert observation.values["joint_position"][0] == pytest.approx(connected.truth.position[0], abs=0.02)


def test_a_silent_servo_is_an_error_not_an_old_value(connected: Bench) -> None:
    connected.inject("missing-id", "elbow_flex")
    started = connected.clock.now()
    with pytest.raises(BusError, match=r"elbow_flex \(servo 3\) did not answer"):
        connected.arm.get_observation()
    assert connected.clock.now() - started < 0.06
    assert connected.arm.is_connected
    connected.body.clear("missing-id", connected.clock.now())
    assert connected.arm.get_observation().sequence == 0


def test_a_pulled_cable_ends_the_connection(connected: Bench) -> None:
    connected.inject("cable-pulled")
    with pytest.raises(ConnectionLostError, match="is gone"):
        connected.arm.get_observation()
    assert not connected.arm.is_connected
    with pytest.raises(ConnectionLostError, match="is gone"):
        connected.arm.send_action(np.zeros(6))
    connected.arm.stop("the cable is pulled")
    connected.arm.disconnect()
    connected.clock.advance(2.0)
    connected.reconnect()
    connected.arm.connect()
    assert np.isfinite(connected.command()).all()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("overload", r"elbow_flex \(servo 3\) reports overload \(present_"),
        ("overheating", r"reports overheating \(present_temperature 7\d °C, temperature_limit 70 °C\)"),
        ("encoder-wrap", r"elbow_flex \(servo 3\) jumped by 6\.\d+ rad in 0\.0\d+ s"),
        ("encoder-error", r"elbow_flex \(servo 3\) reports"),
    ],
)
def test_a_servo_in_trouble_is_reported_until_the_arm_is_stopped(connected: Bench, fault: str, message: str) -> None:
    connected.arm.get_observation()
    connected.inject(fault, "elbow_flex")
    connected.clock.advance(PERIOD)
    for _ in range(2):
        with pytest.raises(ServoFaultError, match=message) as caught:
            connected.watch(2 * PERIOD)
        assert "let it cool down" in str(caught.value)
    connected.arm.stop(str(caught.value))
    assert connected.arm.get_observation().sequence >= 1, "to look at what is wrong"
    with pytest.raises(StoppedError, match="elbow_flex"):
        connected.arm.send_action(np.zeros(6))


def test_a_brown_out_is_noticed_although_the_servos_answer_again(connected: Bench) -> None:
    connected.inject("brown-out")
    connected.clock.advance(0.5)
    with pytest.raises(ServoFaultError, match="has switched its torque off by itself"):
        connected.watch(0.4)


def test_a_tripped_watchdog_is_noticed_before_a_command_is_ignored() -> None:
    bench = Bench(described("koch"))
    bench.arm.connect()
    command = bench.command()
    bench.clock.advance(0.5)
    with pytest.raises(ServoFaultError, match=r"heard nothing for 0.5\d* s: shoulder_pan \(servo 1\) stopped"):
        bench.arm.send_action(command)
    bench.arm.stop("the watchdog tripped")
    bench.arm.clear_fault()
    bench.drive(0.2, pan(0.02))
    assert bench.truth.position[0] > 0.05


def test_a_stop_brakes_the_command_at_the_acceleration_limit(connected: Bench) -> None:
    speed, limit = 1.5, connected.description.joints[0].limits.acceleration
    command = connected.drive(0.5, pan(speed * PERIOD))
    goal = connected.body.servo("shoulder_pan").memory
    started = connected.clock.now()
    connected.arm.stop("enough")
    took = connected.clock.now() - started
    assert speed / limit <= took <= speed / limit + 2 * PERIOD
    at_rest = connected.command()
    assert at_rest[0] - command[0] == pytest.approx(0.5 * speed**2 / limit, rel=0.2)
    assert goal.table["goal_position"].value(goal["goal_position"]) == pytest.approx(at_rest[0], abs=2e-3)
    with pytest.raises(StoppedError, match="enough"):
        connected.arm.send_action(at_rest)
    connected.clock.advance(1.0)
    assert abs(connected.truth.velocity[0]) < 0.01
    assert all(connected.truth.torque_on)


def test_stopping_at_rest_takes_no_time_and_the_first_reason_stays(connected: Bench) -> None:
    started = connected.clock.now()
    connected.arm.stop("first")
    connected.arm.stop("second")
    assert connected.clock.now() == started
    assert connected.arm.fault == "first"


def test_a_stop_brakes_within_the_limits(connected: Bench) -> None:
    high = connected.description.joints[0].limits.position[1]
    while connected.command()[0] < high - 0.05:
        connected.drive(PERIOD, pan(0.05))
    connected.drive(PERIOD, pan(high - connected.command()[0]))
    connected.arm.stop("at the end")
    assert connected.command()[0] == pytest.approx(high)


def test_where_the_policy_says_so_a_stop_cuts_the_torque(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    other = Bench(described(bench.description.name, safe_policy="torque_off"))
    other.arm.connect()
    other.inject("missing-id", "shoulder_pan")
    with caplog.at_level(logging.ERROR):
        other.arm.stop("let go")
    assert other.truth.torque_on[1:] == (False,) * 5, "every servo is tried although the first does not answer"
    assert "torque_enable of shoulder_pan (servo 1) could not be set to 0" in caplog.text


def test_stopping_never_raises_even_without_a_line(connected: Bench) -> None:
    connected.drive(0.2, pan(0.02))
    connected.inject("cable-pulled")
    connected.arm.stop("everything fails")
    assert connected.arm.fault == "everything fails"


def test_a_fault_is_cleared_only_when_its_cause_has_gone(connected: Bench) -> None:
    connected.inject("overheating", "elbow_flex")
    connected.clock.advance(0.3)
    connected.arm.stop("too hot")
    motor = connected.body.servo("elbow_flex").motor
    with pytest.raises(StoppedError, match=r"stays stopped: .*7\d °C"):
        connected.arm.clear_fault()
    assert connected.arm.fault is not None
    motor.temperature = 40.0
    connected.clock.advance(0.3)
    connected.arm.clear_fault()
    assert connected.arm.fault is None
    assert all(connected.truth.torque_on)
    connected.drive(0.2, pan(0.01))


def test_an_overloaded_servo_holds_again_after_a_reset_and_does_not_jump(connected: Bench) -> None:
    connected.inject("overload", "gripper")
    connected.clock.advance(0.2)
    connected.arm.stop("overload")
    connected.clock.advance(0.5)
    before = connected.truth.position[5]
    connected.arm.clear_fault()
    connected.clock.advance(0.5)
    assert all(connected.truth.torque_on)
    assert connected.truth.position[5] == pytest.approx(before, abs=0.1)
    memory = connected.body.servo("gripper").memory
    if connected.description.driver == "dynamixel":
        assert memory["bus_watchdog"] != 0, "a restarted servo is set up again"


def test_an_error_that_was_there_before_is_latched_at_connect() -> None:
    bench = Bench(described("koch"))
    bench.body.servo("elbow_flex").trip(0x20)
    bench.arm.connect()
    assert bench.arm.fault is not None
    assert "elbow_flex (servo 3) reports overload" in bench.arm.fault
    assert not any(bench.truth.torque_on)
    bench.arm.get_observation()
    with pytest.raises(StoppedError, match="overload"):
        bench.arm.send_action(np.zeros(6))
    bench.arm.clear_fault()
    assert all(bench.truth.torque_on)


def test_a_latched_fault_outlives_the_connection(connected: Bench) -> None:
    connected.drive(0.3, pan(0.02))
    connected.arm.stop("for good")
    connected.arm.disconnect()
    connected.arm._port = MemoryPort(connected.body, connected.clock)
    connected.arm.connect()
    with pytest.raises(StoppedError, match="for good"):
        connected.arm.send_action(connected.command())
    connected.arm.clear_fault()
    connected.drive(0.2, pan(0.01))


def test_a_parked_arm_is_released_and_another_is_held(connected: Bench, caplog: pytest.LogCaptureFixture) -> None:
    connected.arm.disconnect()
    assert not any(connected.truth.torque_on)
    connected.reconnect()
    connected.arm.connect()
    connected.drive(0.5, pan(0.02))
    with caplog.at_level(logging.WARNING):
        connected.arm.disconnect()
    assert all(connected.truth.torque_on)
    assert "shoulder_pan is 0." in caplog.text
    held = connected.truth.position[0]
    connected.clock.advance(2.0)
    assert connected.truth.position[0] == pytest.approx(held, abs=0.12), "no watchdog lets go of it"


def test_torque_off_is_tried_on_every_servo_and_the_port_is_closed(bench: Bench) -> None:
    other = Bench(described(bench.description.name, torque_at_disconnect="release"))
    other.arm.connect()
    other.inject("missing-id", "shoulder_lift")
    with pytest.raises(ServoFaultError, match=r"torque_enable of shoulder_lift \(servo 2\).*Cut the power"):
        other.arm.disconnect()
    assert [joint for joint, on in zip(other.truth.joints, other.truth.torque_on, strict=True) if on] == [
        "shoulder_lift"
    ]
    with pytest.raises(ConnectionLostError, match="closed"):
        other.port.read(0.0)
    assert not other.arm.is_connected
    other.arm.disconnect()


def test_releasing_needs_no_connection(bench: Bench) -> None:
    bench.arm.connect()
    bench.inject("missing-id", "elbow_flex")
    failures = release(bench.description, MemoryPort(bench.body, bench.clock), bench.clock)
    assert sum(bench.truth.torque_on) == 1
    assert len(failures) == 1
    assert "elbow_flex (servo 3)" in failures[0]


def test_auto_takes_the_only_port_and_asks_where_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(servo_setup, "SerialPort", lambda path, *_: opened.append(path))
    devices = [SerialDevice("/dev/ttyUSB0", "/dev/serial/by-id/arm"), SerialDevice("/dev/ttyACM0", None)]
    for listed, message in (
        (devices, "there are /dev/serial/by-id/arm .now /dev/ttyUSB0., /dev/ttyACM0"),
        ([], "is no"),
    ):
        monkeypatch.setattr(servo_setup, "serial_devices", lambda listed=listed: listed)
        with pytest.raises(PortError, match=f"port is 'auto', and .*{message}.*; plug the arm in, or name its port"):
            servo_setup.open_bus(described("so101"))
    monkeypatch.setattr(servo_setup, "serial_devices", lambda: devices[:1])
    servo_setup.open_bus(described("so101"))
    servo_setup.open_bus(described("so101"), "/dev/ttyACM7")
    assert opened == ["/dev/serial/by-id/arm", "/dev/ttyACM7"]


def test_the_driver_needs_neither_torch_nor_mujoco() -> None:
    program = (
        "import sys; from hardware.robot_file import load_description, make_robot; import hardware.servo_arm; "
        "load_description('so101'); print([name for name in ('torch', 'mujoco', 'cv2') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ARMS)
def test_the_same_arm_over_a_pseudo_terminal(name: str) -> None:
    description = described(name, bus_watchdog=2.5 if name == "koch" else None, patience=0.5)
    with emulate(description) as emulator:
        arm = ServoArm(description, emulator.port)
        arm.connect()
        with pytest.raises(PortBusyError, match="is in use"):
            ServoArm(description, emulator.port).connect()
        start = arm.get_observation().values["command"]
        for step in range(1, 26):
            arm.send_action(start + pan(0.01 * step))
            arm.get_observation()
            time.sleep(0.01)
        deadline = time.monotonic() + 20
        while abs(arm.get_observation().values["joint_position"][0] - start[0] - 0.25) > 0.06:
            assert time.monotonic() < deadline, "it goes where it is sent"
        emulator.inject("cable-pulled")
        with pytest.raises(ConnectionLostError, match="is gone"):
            read_until(arm, deadline)
        assert not arm.is_connected
        arm.disconnect()


def test_nothing_works_before_connecting(bench: Bench) -> None:
    for use in (bench.arm.get_observation, bench.arm.clear_fault, lambda: bench.arm.send_action(np.zeros(6))):
        with pytest.raises(NotConnectedError, match="call connect"):
            use()
    bench.arm.disconnect()
    bench.arm.stop("harmless")


def test_shadow_servos_follow_their_joints_servo() -> None:
    bench = Bench(described("viperx"))
    bench.arm.connect()
    assert len(bench.body._servos) == 9
    assert all(servo.torque_on for servo in bench.body._servos)
    command = bench.command()
    for _ in range(50):
        command = command + np.array([0, 0.01, -0.01, 0, 0, 0, 0])
        bench.arm.send_action(command)
        bench.clock.advance(PERIOD)
    bench.watch(0.5)
    np.testing.assert_allclose(bench.arm.get_observation().values["joint_position"][:3], command[:3], atol=0.06)
    shoulder, shadow = bench.body._servos[1:3]
    assert shadow.memory["secondary_id"] == shoulder.id
    assert shadow.memory["goal_position"] == shoulder.memory["goal_position"]
    bench.arm._description = described("viperx", torque_at_disconnect="release")
    bench.arm.disconnect()
    assert not any(servo.torque_on for servo in bench.body._servos)


def test_a_direction_that_differs_from_the_file_is_refused() -> None:
    description = described("viperx")
    bench = Bench(description)
    bench.body.servo("shoulder").memory["drive_mode"] = 0
    with pytest.raises(ServoSetupError, match=r"shoulder \(servo 2\): drive_mode is 0; the robot's file needs 1"):
        bench.arm.connect()


def test_signs_and_gears_are_between_joint_and_servo() -> None:
    tree = load_description("so101").model_dump()
    tree["joints"] = ({**tree["joints"][0], "sign": -1, "gear_ratio": 1.5}, *tree["joints"][1:])
    bench = Bench(RobotDescription.model_validate(tree))
    bench.arm.connect()
    command = bench.drive(0.5, pan(0.01))
    bench.clock.advance(0.5)
    assert bench.truth.position[0] == pytest.approx(command[0], abs=0.05)
    assert bench.arm.get_observation().values["joint_position"][0] == pytest.approx(command[0], abs=0.05)
    memory = bench.body.servo("shoulder_pan").memory
    angle = memory.table["goal_position"].value(memory["goal_position"])
    assert angle == pytest.approx(-1.5 * command[0], abs=2e-3)


def calibrated(bench: Bench, path: Path) -> RobotDescription:
    servos = {
        joint.id: ServoCalibration(
            joint=joint.name, model=joint.model, sign=joint.sign, homing_offset=0, range=(0, 4095)
        )
        for joint in bench.description.joints
    }
    Calibration(robot=bench.description.name, servos=servos).save(path)
    return described(bench.description.name, calibration=str(path))


def test_a_calibration_is_checked_against_the_servos(bench: Bench, tmp_path: Path) -> None:
    bench.description = calibrated(bench, tmp_path / "calibration.json")
    bench.reconnect()
    bench.arm.connect()
    bench.arm.disconnect()
    bench.inject("changed-eeprom", "elbow_flex")
    bench.reconnect()
    with pytest.raises(CalibrationError, match=r"elbow_flex \(servo 3\): homing_offset is 100, the calibration says 0"):
        bench.arm.connect()
    assert not bench.arm.is_connected


def test_a_calibration_that_is_missing_or_damaged_keeps_the_arm_off(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    bench.description = described(bench.description.name, calibration=str(path))
    bench.reconnect()
    with pytest.raises(CalibrationError, match="there is no calibration"):
        bench.arm.connect()
    calibrated(bench, path)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(CalibrationError, match="is damaged"):
        bench.arm.connect()
    path.write_text(json.dumps({"version": 1, "robot": "other", "servos": {}}))
    with pytest.raises(CalibrationError, match="calibration of 'other'"):
        bench.arm.connect()


def test_a_failure_while_switching_on_switches_off_again(connected: Bench) -> None:
    other = Bench(connected.description)
    write, count = other.port.write, iter(range(1000))
    enabling = dynamixel.write(5, 64, b"\x01") if other.description.driver == "dynamixel" else None

    def fail(data: bytes) -> None:
        next(count)
        is_last = data == enabling if enabling else data[2:5] == b"\x05\x04\x03" and data[5:7] == b"\x28\x01"
        if is_last:
            other.inject("missing-id", "wrist_roll")
        write(data)

    other.port.write = fail  # type: ignore[method-assign]
    with pytest.raises(BusError, match="wrist_roll"):
        other.arm.connect()
    assert not any(other.truth.torque_on)
