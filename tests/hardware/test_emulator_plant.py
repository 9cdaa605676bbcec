import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, MODEL, READY, Bench, description, servo_places

from hardware.clock import VirtualClock
from hardware.emulator import EmulatorError, emulate_in_memory
from hardware.emulator.motor import MOTORS
from hardware.emulator.options import PlantOptions
from hardware.mujoco_robot import MujocoRobot
from hardware.robot_file import load_description
from hardware.wire import dynamixel, feetech
from hardware.wire.tables import MODELS

COUNT = 2 * np.pi / 4096


def holding(**plant):
    """An arm that holds its pose, with a given plant."""
    bench = Bench(plant=PlantOptions(**plant))
    bench.arm.wire.baudrate = 1_000_000
    goals = {i + 1: (2048 + round(q / COUNT)).to_bytes(2, "little") for i, q in enumerate(READY.values())}
    bench.ask(feetech.sync_write(42, goals))
    bench.ask(feetech.write(feetech.BROADCAST, 40, b"\1"))
    bench.wait(0.6)
    return bench


def go(bench, joint, position):
    bench.write(JOINTS.index(joint) + 1, "goal_position", 2048 + round(position / COUNT))


def trace(bench, joint, seconds, every=0.01):
    index = JOINTS.index(joint)
    return np.array([bench.wait(every).position[index] for _ in range(round(seconds / every))])


def settling_time(positions, target, every=0.01, band=0.02):
    outside = np.flatnonzero(np.abs(positions - target) > band)
    return 0.0 if len(outside) == 0 else (outside[-1] + 2) * every


def test_a_step_of_half_a_radian_settles_in_a_servos_time():
    bench = holding()
    go(bench, "shoulder_pan", 0.5)
    positions = trace(bench, "shoulder_pan", 1.0)
    assert 0.12 < settling_time(positions, 0.5) < 0.4
    assert positions.max() < 0.53
    speed = np.diff(positions).max() / 0.01
    assert 2.5 < speed < 4.9


def test_a_hand_moves_a_joint_as_far_as_it_goes_and_wins_over_its_servo():
    bench = holding()
    bench.arm.move(("wrist_flex", 9.0), bench.clock.now())
    bench.arm.move(("shoulder_pan", 0.3), bench.clock.now())
    positions = bench.wait(1.6).position
    assert positions[JOINTS.index("wrist_flex")] == pytest.approx(1.658, abs=0.01)
    assert positions[JOINTS.index("shoulder_pan")] == pytest.approx(0.3, abs=0.01)
    bench.arm.let_go(bench.clock.now())
    assert bench.wait(0.6).position[JOINTS.index("shoulder_pan")] == pytest.approx(0.0, abs=0.02)
    for joint, position in (("elbow", 0.0), ("elbow_flex", float("nan"))):
        with pytest.raises(ValueError, match=r"joint 'elbow'|finite"):
            bench.arm.move((joint, position), bench.clock.now())


def test_without_differences_the_arm_moves_as_its_simulation():
    bench = holding(backlash=0.0, resistance=0.0)
    robot = MujocoRobot(MODEL, control_rate=100.0, keyframe="ready")
    robot.connect()
    robot.reset(0)
    target = np.array([0.3, -0.4, 0.5, 0.2, 0.4, 0.6])
    start = bench.arm.plant.positions
    robot.data.qpos[:6] = start
    goals = {i + 1: (2048 + round(q / COUNT)).to_bytes(2, "little") for i, q in enumerate(target)}
    bench.ask(feetech.sync_write(42, goals))
    worst = 0.0
    for _ in range(60):
        expected = robot.send_action(target)
        assert expected is not None
        status = bench.wait(0.01)
        worst = max(worst, np.abs(np.array(status.position) - robot.get_observation().values["joint_position"]).max())
    assert worst < 0.015


def test_gravity_bends_the_arm_below_its_goal():
    bench = holding()
    go(bench, "shoulder_lift", -0.2)
    bench.wait(1.5)
    status = bench.wait(0.1)
    lift = JOINTS.index("shoulder_lift")
    assert status.position[lift] > -0.2 + 0.004
    assert status.output[lift] < -0.1


def test_a_payload_bends_it_further():
    def error(payload):
        bench = holding(payload=payload)
        go(bench, "shoulder_lift", -0.2)
        return bench.wait(1.5).position[1] + 0.2

    assert error(0.2) > 1.3 * error(0.0)


def test_friction_and_damping_slow_the_arm_down():
    def reached(**plant):
        bench = holding(**plant)
        go(bench, "shoulder_pan", 0.5)
        return bench.wait(0.1).position[0]

    nominal = reached()
    assert reached(friction=3.0) < nominal - 0.003
    assert reached(damping=1.3) < nominal - 0.01


def test_a_goal_takes_effect_after_the_delay():
    def started(delay):
        bench = holding(delay=delay)
        go(bench, "shoulder_pan", 0.5)
        moving = trace(bench, "shoulder_pan", 0.3, every=0.002) > 0.003
        return np.flatnonzero(moving)[0] * 0.002

    assert started(0.100) - started(0.0) == pytest.approx(0.100, abs=0.004)


def test_noise_is_in_what_is_read_and_comes_from_the_seed():
    def readings(noise, seed):
        bench = Bench(plant=PlantOptions(noise=noise), seed=seed)
        bench.wait(2.0)
        values = []
        for _ in range(100):
            bench.wait(0.05)
            values.append(bench.read(5, "present_position") * COUNT)
        return np.array(values)

    assert readings(0.0, 0).std() < COUNT
    assert readings(0.01, 0).std() == pytest.approx(0.01, rel=0.3)
    assert np.array_equal(readings(0.01, 3), readings(0.01, 3))
    assert not np.array_equal(readings(0.01, 3), readings(0.01, 4))


def test_backlash_lets_a_joint_play():
    def play(backlash):
        bench = holding(backlash=backlash)
        ends = []
        for side in (0.3, -0.3):
            go(bench, "wrist_roll", side)
            bench.wait(0.6)
            go(bench, "wrist_roll", 0.0)
            ends.append(trace(bench, "wrist_roll", 0.05, every=0.002))
        return np.argmax(ends[0] < 0.29)

    assert play(10.0) > play(0.0)


def test_encoders_count_4096_to_the_turn():
    bench = holding()
    go(bench, "wrist_roll", 1.0)
    status = bench.wait(1.0)
    counts = bench.read(5, "present_position") - 2048
    assert abs(counts * COUNT - status.position[4]) <= COUNT


def test_a_blocked_joint_stays_and_a_freed_one_goes_on():
    bench = holding()
    bench.arm.plant.block("shoulder_pan", True)
    go(bench, "shoulder_pan", 0.5)
    assert abs(bench.wait(1.0).position[0]) < 0.02
    bench.arm.plant.block("shoulder_pan", False)
    assert bench.wait(0.6).position[0] == pytest.approx(0.5, abs=0.02)


def test_a_limp_arm_falls_to_rest_and_costs_nothing_there():
    bench = Bench()
    bench.wait(6.0)
    status = bench.wait(0.0)
    assert max(map(abs, status.velocity)) < 0.01
    steps = bench.arm.plant.data.time
    bench.wait(10.0)
    assert bench.arm.plant.data.time == steps
    assert bench.wait(0.0).time == pytest.approx(16.0)


def test_every_servo_that_can_be_driven_has_a_motor():
    assert set(MOTORS) == set(MODELS)


@pytest.mark.parametrize("robot", ["so101", "koch", "viperx"])
def test_every_packaged_arm_holds_its_park_pose(robot):
    described = load_description(robot)
    clock = VirtualClock()
    port = emulate_in_memory(described, clock)
    codec = feetech if described.driver == "feetech" else dynamixel
    table = port.arm.servo(described.joints[0].name).memory.table
    port.write(codec.write(codec.BROADCAST, table["torque_enable"].address, b"\1"))
    clock.advance(2.0)
    status = port.arm.status(clock.now())
    assert all(status.torque_on)
    assert not any(status.errors)
    assert max(map(abs, status.velocity)) < 0.02
    assert np.allclose(status.position, described.park_pose, atol=0.1)


def test_mounting_is_what_calibration_has_to_find():
    bench = Bench(plant=PlantOptions(mounting={"elbow_flex": 0.2}))
    assert bench.read(3, "present_position") == pytest.approx(2048 + (0.75 + 0.2) / COUNT, abs=12)


def test_the_arm_starts_parked():
    port = emulate_in_memory(description(), VirtualClock())
    assert port.arm.plant.positions == pytest.approx(list(READY.values()))


def test_what_cannot_be_emulated_is_refused():
    with pytest.raises(EmulatorError, match="twin"):
        emulate_in_memory(description(twin=None), VirtualClock())
    with pytest.raises(ValueError, match=r"nowhere\.xml"):
        emulate_in_memory(description(twin="nowhere.xml"), VirtualClock())
    with pytest.raises(ValueError, match="payload is nan"):
        PlantOptions(payload=float("nan"))
    with pytest.raises(ValueError, match="friction is -1"):
        PlantOptions(friction=-1)
    with pytest.raises(ValueError, match="12345 baud"):
        Bench(baudrate=12345)
    with pytest.raises(ValueError, match="did you mean 'elbow_flex'"):
        Bench(places=servo_places(joints=("elbow",)))
