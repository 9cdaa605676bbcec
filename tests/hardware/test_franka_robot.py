"""The driver against franky-sim, an FR3 in MuJoCo behind libfranka's real protocol, and against a made-up franky.

franky-sim enforces no limits and reports no errors: it proves the driver, not the safety filter.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.errors import (
    CommandRefusedError,
    ConnectionLostError,
    NotConnectedError,
    RobotError,
    StaleStateError,
    StoppedError,
)
from hardware.franka_limits import TORQUE
from hardware.robot_file import load_description, make_robot

franky = pytest.importorskip("franky", reason="needs pip install robot-ctrl[franka]")

from hardware import franka_robot  # noqa: E402
from hardware.franka_robot import FrankaRobot  # noqa: E402

READY = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
PATIENCE = 20.0
"""s for what takes a fraction of it on an idle machine."""


def fr3_spec(mode="position"):
    return replace(load_description("fr3").spec, command_mode=mode)


class Server:
    """franky-sim in a process of its own, on a loopback address of its own."""

    def __init__(self, number):
        pytest.importorskip("franky_sim", reason="needs pip install franky-sim")
        self.host = f"127.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}.{number}"
        command = [sys.executable, "-m", "franky_sim.run_server", "--simulator", "mujoco", "--hostname", self.host]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        ready = threading.Event()
        lines = []

        def listen():
            for line in self.process.stdout:
                lines.append(line)
                if line.startswith("Connect to the server"):
                    ready.set()

        threading.Thread(target=listen, daemon=True).start()
        if not ready.wait(60):
            self.end()
            pytest.fail(f"franky-sim did not start: {''.join(lines)}")

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def server():
    running = Server(1)
    yield running
    running.end()


@pytest.fixture
def own_server():
    running = Server(2)
    yield running
    running.end()


def connected_robot(host, mode="position", **more):
    robot = FrankaRobot(
        host, fr3_spec(mode), realtime="ignore", **{"command_timeout": 1.0, "state_timeout": 5.0, **more}
    )
    robot.connect()
    return robot


@pytest.fixture
def robot(server):
    connected = connected_robot(server.host)
    yield connected
    connected.disconnect()


def drive(robot, commands, period=0.02):
    """Send commands at their rate; returns the observations before each."""
    seen = []
    due = time.monotonic()
    for command in commands:
        seen.append(robot.get_observation())
        robot.send_action(command)
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
    return seen


def ramp(start, change, steps):
    return [start + change * (step + 1) / steps for step in range(steps)]


def drive_until(robot, command, reached):
    """Go on sending a command until the observation is as wanted; how long that takes is the machine's affair."""
    deadline = time.monotonic() + PATIENCE
    while not reached(values := robot.get_observation().values):
        if time.monotonic() > deadline:
            pytest.fail(f"not reached: {values}")
        drive(robot, [command] * 5)
    return values


def at(position, tolerance=0.015):
    return lambda values: np.abs(values["joint_position"] - position).max() < tolerance


def wait_for_rest(robot):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if np.abs(robot.get_observation().values["joint_velocity"]).max() < 0.01 and not robot._robot.is_in_control:
            return robot.get_observation()
        time.sleep(0.02)
    pytest.fail("the arm did not come to rest")
    return None


def test_reads_the_robot_without_moving_it(robot):
    first, second = robot.get_observation(), robot.get_observation()
    assert (first.sequence, second.sequence) == (0, 1)
    for name in ("joint_position", "joint_velocity", "effort", "external_torque", "command"):
        assert first.values[name].shape == (7,)
    assert first.read_start["joints"] <= first.read_end["joints"] <= second.read_start["joints"]
    np.testing.assert_array_equal(first.values["command"], first.values["joint_position"])
    assert np.abs(first.values["joint_velocity"]).max() < 0.01
    height = first.values["end_effector_position"][2]
    assert 0.2 < height < 1.0
    assert robot.spec.joints[6].name == "fr3_joint7"


def test_tracks_a_small_joint_motion_at_50_hz(robot):
    start = robot.get_observation().values["joint_position"]
    change = np.array([0.1, -0.08, 0.06, 0.08, -0.1, 0.1, 0.1])
    goal = start + change
    seen = drive(robot, ramp(start, change, 40))
    last = drive_until(robot, goal, at(goal))
    np.testing.assert_array_equal(last["command"], goal)
    travelled = np.array([(one.values["joint_position"] - start) / change for one in seen])
    assert travelled.max() < 1.1
    assert travelled[-1].min() > 0.05


def test_a_new_command_replaces_the_one_before(robot):
    start = robot.get_observation().values["joint_position"]
    there = np.array([0.1, 0, 0, 0, 0, 0, 0])
    drive(robot, ramp(start, there, 25))
    drive(robot, ramp(start + there, -there, 25))
    drive_until(robot, start, at(start))


def test_a_stop_brings_the_arm_to_rest_and_latches(robot):
    start = robot.get_observation().values["joint_position"]
    away = np.array([0.2, 0, 0, 0, 0, 0, 0.2])
    drive(robot, ramp(start, away, 25))
    robot.stop("a test")
    with pytest.raises(StoppedError, match="a test"):
        robot.send_action(start)
    rest = wait_for_rest(robot).values["joint_position"]
    assert np.abs(rest - start - away).max() < 0.15
    np.testing.assert_allclose(wait_for_rest(robot).values["joint_position"], rest, atol=0.01)
    robot.clear_fault()
    drive_until(robot, rest, at(rest))


def test_the_arm_comes_to_rest_when_commands_cease(server):
    robot = connected_robot(server.host, command_timeout=0.4)
    try:
        start = robot.get_observation().values["joint_position"]
        away = np.array([0, 0, 0, 0, -0.2, 0, -0.2])
        drive(robot, ramp(start, away, 25))
        rest = wait_for_rest(robot).values["joint_position"]
        assert np.abs(rest - start - away).max() < 0.15
        with pytest.raises(StoppedError, match="no command for more than 400 ms"):
            robot.send_action(start)
        with pytest.raises(StoppedError, match="no command"):
            robot.send_action(start)
        robot.clear_fault()
        robot.send_action(rest)
    finally:
        robot.disconnect()


def test_velocity_commands_move_the_joints_and_end_in_rest(server):
    robot = connected_robot(server.host, "velocity")
    try:
        start = robot.get_observation()
        np.testing.assert_array_equal(start.values["command"], np.zeros(7))
        velocity = np.array([0.1, 0, 0, -0.2, 0, 0, 0])
        moving = drive_until(robot, velocity, lambda values: np.abs(values["joint_velocity"] - velocity).max() < 0.03)
        moved = moving["joint_position"] - start.values["joint_position"]
        assert moved[0] > 0 > moved[3]
        wait_for_rest(robot)  # no command comes any more
        with pytest.raises(StoppedError, match="no command"):
            robot.send_action(velocity)
        robot.clear_fault()
        drive(robot, [-velocity] * 10)
        robot.stop("a test")
        wait_for_rest(robot)
    finally:
        robot.disconnect()


def test_a_frozen_robot_and_a_dead_one_are_noticed(own_server):
    robot = connected_robot(own_server.host, state_timeout=0.2)
    start = robot.get_observation().values["joint_position"]
    drive(robot, [start] * 10)
    own_server.process.send_signal(signal.SIGSTOP)
    with pytest.raises((StaleStateError, ConnectionLostError)):
        until_it_fails(robot, start)
    with pytest.raises((ConnectionLostError, StoppedError)):
        robot.send_action(start)
    robot.disconnect()
    own_server.process.send_signal(signal.SIGCONT)
    robot.connect()
    drive(robot, [start] * 10)
    own_server.process.kill()
    own_server.process.wait(10)
    with pytest.raises(RobotError):
        until_it_fails(robot, start)
    with pytest.raises((ConnectionLostError, StoppedError)):
        robot.send_action(start)
    robot.disconnect()
    assert not robot.is_connected
    with pytest.raises(ConnectionLostError, match=r"no Franka robot answers at 127\..*activate FCI"):
        robot.connect()


def until_it_fails(robot, command):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        robot.get_observation()
        robot.send_action(command)
        time.sleep(0.02)


def test_a_robot_that_serves_another_client_does_not_hang_us(robot, server, monkeypatch):
    monkeypatch.setattr(franka_robot, "CONNECT_TIMEOUT", 0.5)
    with pytest.raises(ConnectionLostError, match="end the other program"):
        connected_robot(server.host)
    robot.get_observation()


class Errors:
    def __init__(self, *flags):
        for flag in flags:
            setattr(self, flag, True)


class FakeRobot:
    """What the driver uses of ``franky.Robot``; the test decides what it reports."""

    def __init__(self, host, realtime_config):
        self.host, self.realtime = host, realtime_config
        self.is_in_control = False
        self.moves = []
        self.recovered = 0
        self.raises = None
        self.recovery_helps = True
        limit = SimpleNamespace(max=np.full(7, 15.0), set=lambda value: None)
        self.joint_velocity_limit = self.joint_acceleration_limit = self.joint_jerk_limit = limit
        self.time = 0.0
        self.flags = ()
        self.mode = franky.RobotMode.Idle

    @property
    def state(self):
        if isinstance(self.raises, franky.NetworkException):
            raise self.raises
        return SimpleNamespace(
            q=np.array(READY),
            dq=np.zeros(7),
            tau_J=np.zeros(7),
            tau_ext_hat_filtered=np.array([25.0, 0, 0, 0, 0, 0, 0]),
            O_F_ext_hat_K=np.zeros(6),
            control_command_success_rate=1.0,
            O_T_EE=SimpleNamespace(translation=np.array([0.3, 0.0, 0.5])),
            current_errors=Errors(*self.flags),
            robot_mode=self.mode,
            time=SimpleNamespace(to_sec=lambda: self.time),
        )

    def set_collision_behavior(self, torque, force):
        self.thresholds = torque, force

    def move(self, motion, asynchronous):
        assert asynchronous
        if self.raises is not None:
            raise self.raises
        self.moves.append(motion)
        self.is_in_control = True

    def poll_motion(self):
        if self.raises is not None:
            raise self.raises
        return True

    def join_motion(self, timeout):
        self.is_in_control = False
        return self.poll_motion()

    def recover_from_errors(self):
        self.recovered += 1
        if self.recovery_helps:
            self.flags, self.mode, self.raises = (), franky.RobotMode.Idle, None


@pytest.fixture
def fake(monkeypatch):
    """A connected driver, its franky and its clock."""
    monkeypatch.setattr(franka_robot.franky, "Robot", FakeRobot)
    clock = VirtualClock()
    robot = FrankaRobot("robot.local", fr3_spec(), clock=clock)
    robot.connect()
    return robot, robot._robot, clock


def test_a_state_that_does_not_change_is_an_error(fake):
    robot, franka, clock = fake
    robot.get_observation()
    clock.advance(0.09)
    robot.get_observation()
    clock.advance(0.02)
    with pytest.raises(StaleStateError, match=r"state is 110 ms old, the limit is 100 ms.*Check the cable"):
        robot.get_observation()
    with pytest.raises(StoppedError, match="110 ms old"):
        robot.send_action(np.array(READY))
    franka.time = 0.2
    robot.clear_fault()
    robot.get_observation()
    robot.send_action(np.array(READY))


def test_an_error_of_the_robot_is_explained_latched_and_cleared_only_on_request(fake):
    robot, franka, _ = fake
    robot.send_action(np.array(READY))
    franka.is_in_control = False
    franka.raises = franky.ControlException("libfranka: Move command aborted")
    franka.flags, franka.mode = ("joint_reflex",), franky.RobotMode.Reflex
    for _ in range(2):
        with pytest.raises(StoppedError, match=r"fr3_joint1 feels an external torque of 25\.0 N·m"):
            robot.send_action(np.array(READY))
    robot.get_observation()
    assert franka.recovered == 0
    franka.recovery_helps = False
    with pytest.raises(StoppedError, match="fr3_joint1"):
        robot.clear_fault()
    with pytest.raises(StoppedError, match="fr3_joint1"):
        robot.send_action(np.array(READY))
    franka.recovery_helps = True
    robot.clear_fault()
    assert franka.recovered == 2
    robot.send_action(np.array(READY))


@pytest.mark.parametrize(
    ("mode", "said"), [("UserStopped", "release it"), ("Guiding", "let go"), ("Other", "activate FCI in Desk")]
)
def test_a_fault_is_not_cleared_while_the_robot_cannot_move(fake, mode, said):
    robot, franka, _ = fake
    robot.stop("a test")
    franka.mode = getattr(franky.RobotMode, mode)
    with pytest.raises(StoppedError, match=said):
        robot.clear_fault()
    with pytest.raises(StoppedError):
        robot.send_action(np.array(READY))
    assert franka.moves == []


def test_a_fault_that_is_there_at_connect_is_latched_and_not_recovered(fake):
    robot, franka, _ = fake
    robot.disconnect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeRobot, "__init__", lambda self, *_, **__: self.__dict__.update(franka.__dict__))
        franka.flags = ("joint_position_limits_violation",)
        robot.connect()
    with pytest.raises(StoppedError, match="Guide the arm back inside"):
        robot.send_action(np.array(READY))
    assert robot._robot.recovered == 0


def test_a_lost_connection_stays_lost_until_connect(fake):
    robot, franka, _ = fake
    robot.send_action(np.array(READY))
    franka.raises = franky.NetworkException("libfranka: UDP receive: Timeout")
    for use in (robot.get_observation, robot.clear_fault, lambda: robot.send_action(np.array(READY))):
        with pytest.raises(ConnectionLostError, match=r"robot\.local is lost .*UDP receive"):
            use()
    robot.stop("everything fails")
    assert not robot.is_connected
    robot.connect()
    robot.send_action(np.array(READY))


def test_a_stop_that_cannot_be_commanded_still_latches(fake, caplog):
    robot, franka, _ = fake
    robot.send_action(np.array(READY))
    franka.raises = RuntimeError("Net Exception")
    robot.stop("a test")
    assert "the stop could not be commanded: Net Exception" in caplog.text
    with pytest.raises(StoppedError, match="a test"):
        robot.send_action(np.array(READY))


@pytest.mark.parametrize("command", [np.zeros(6), np.array([0, 0, np.nan, -1.5, 0, 1.5, 0]), np.full(7, np.inf)])
def test_a_command_that_cannot_be_sent_is_refused(fake, command):
    robot, franka, _ = fake
    with pytest.raises(CommandRefusedError, match="7 finite numbers"):
        robot.send_action(command)
    assert franka.moves == []


def test_the_robot_file_makes_a_franka(monkeypatch):
    monkeypatch.setattr(franka_robot.franky, "Robot", FakeRobot)
    clock = VirtualClock(7.0)
    robot = make_robot(load_description("fr3"), "127.0.0.9", clock=clock)
    robot.connect()
    assert robot._robot.host == "127.0.0.9"
    assert robot._robot.realtime == franky.RealtimeConfig.Enforce
    assert robot.spec.park_pose == READY
    assert robot.get_observation().read_end == {"joints": 7.0}


def test_points_of_the_arm_join_the_observation(fake):
    robot = FrankaRobot("robot.local", fr3_spec(), points=lambda position: {"gripper_tip": position[:3] + 1})
    robot.connect()
    np.testing.assert_array_equal(robot.get_observation().values["gripper_tip"], np.array(READY[:3]) + 1)


def test_the_reference_stays_so_close_that_its_torque_is_at_most_half_of_the_joints(fake):
    robot, franka, _ = fake
    near, far = np.array(READY) + 0.01, np.array(READY) + np.array([1, 0, 0, 0, 0, 0, -1])
    for command in (near, far):
        np.testing.assert_array_equal(robot.send_action(command).sent, command)
        torque = franka_robot.STIFFNESS * (franka.moves[-1].target - np.array(READY))
        assert (np.abs(torque) <= 0.5 * TORQUE + 1e-9).all()
    np.testing.assert_allclose(franka.moves[0].target, near)
    np.testing.assert_allclose(torque[[0, 6]], [43.5, -6.0])


def test_the_reference_moves_as_fast_as_the_commands(fake):
    robot, franka, _ = fake
    for step in range(3):
        robot.send_action(np.array(READY) + np.array([0.01, 0, 0, 0, 0, 0, 0.3]) * step)
    np.testing.assert_array_equal(franka.moves[0].target_velocity, np.zeros(7))
    np.testing.assert_allclose(franka.moves[2].target_velocity, [0.5, 0, 0, 0, 0, 0, 5.26], atol=1e-9)


def test_collisions_are_watched_at_every_joint(fake):
    _, franka, _ = fake
    torque, force = franka.thresholds
    assert (torque <= np.array([87, 87, 87, 87, 16, 14, 12])).all()
    assert force.shape == (6,)


def test_nothing_works_before_connect():
    robot = FrankaRobot("robot.local", fr3_spec())
    for use in (robot.get_observation, robot.clear_fault, lambda: robot.send_action(np.zeros(7))):
        with pytest.raises(NotConnectedError, match="call connect"):
            use()
    robot.disconnect()
    assert not robot.is_connected


@pytest.mark.parametrize(
    ("mode", "settings", "said"),
    [
        ("effort", {}, "takes position or velocity"),
        ("position", {"command_timeout": 0.03}, r"at 50 Hz it must be at least 0\.04 s"),
        ("position", {"command_timeout": float("nan")}, "must be at least"),
        ("position", {"state_timeout": 0.0}, "must be above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(mode, settings, said):
    with pytest.raises(ValueError, match=said):
        FrankaRobot("robot.local", fr3_spec(mode), **settings)


def test_a_missing_package_is_named_with_its_extra():
    program = "import sys; sys.modules['franky'] = None; import hardware.franka_robot"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "MissingPackageError" in ended.stderr
    assert "pip install robot-ctrl[franka]" in ended.stderr
