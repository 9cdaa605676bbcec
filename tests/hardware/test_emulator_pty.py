"""The emulator as a process behind a pseudo-terminal: real time, so nothing here asserts when things happen."""

import os
import sys
import termios
import time
from pathlib import Path

import cv2
import pytest
import serial

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import description

from hardware.clock import MonotonicClock
from hardware.emulator import CameraStream, EmulatorError, emulate
from hardware.errors import ConnectionLostError, PortBusyError, PortError
from hardware.feetech_bus import FeetechBus
from hardware.robot_file import load_description
from hardware.serial_port import SerialPort
from hardware.wire import feetech
from hardware.wire.tables import control_table

PATIENCE = 20.0
PONG = bytes.fromhex("FFFF010200FC")


@pytest.fixture(scope="module")
def emulator():
    with emulate(description()) as emulator:
        yield emulator


def ask(port, request, size):
    """Ask until that many bytes have come back."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        port.reset_input_buffer()
        port.write(request)
        if len(answer := port.read(size)) == size:
            return answer
    raise AssertionError(f"no answer within {PATIENCE} s")


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keep_pinging(bus):
    while True:
        bus.ping(1)


def can_be_opened(path):
    try:
        SerialPort(path, 1_000_000).close()
    except PortBusyError:
        return False
    return True


def open_raw(path):
    """As a program that sets nothing up itself."""
    return os.open(path, os.O_RDWR | os.O_NOCTTY)


def test_clients_come_one_after_the_other(emulator):
    for _ in range(3):
        with serial.Serial(emulator.port, 1_000_000, timeout=0.5) as port:
            assert ask(port, feetech.ping(1), 6) == PONG
    assert emulator.is_running


def test_the_line_is_raw_however_it_is_opened(emulator):
    for _ in range(2):
        terminal = open_raw(emulator.port)
        try:
            input_flags, output_flags, _, local_flags, *_ = termios.tcgetattr(terminal)
            assert not input_flags & (termios.ICRNL | termios.IXON | termios.INLCR | termios.ISTRIP)
            assert not output_flags & termios.OPOST
            assert not local_flags & (termios.ECHO | termios.ICANON | termios.ISIG)
        finally:
            os.close(terminal)


def test_every_byte_gets_through_both_ways(emulator):
    with serial.Serial(emulator.port, 1_000_000, timeout=0.5) as port:
        for value in (0x03, 0x04, 0x0A, 0x0D, 0x11, 0x13, 0x1A, 0x1C, 0x7F, 0xFF):
            data = bytes([value & 0x7F, 0x0D])
            ask(port, feetech.write(1, 44, data[:1] + b"\0"), 6)
            assert ask(port, feetech.read(1, 44, 2), 8)[5:7] == data[:1] + b"\0"


def test_a_port_that_is_held_is_busy(emulator):
    with (
        serial.Serial(emulator.port, 1_000_000, exclusive=True),
        pytest.raises(PortBusyError, match="in use"),
    ):
        SerialPort(emulator.port, 1_000_000)
    SerialPort(emulator.port, 1_000_000).close()


def test_another_program_can_hold_the_port_and_the_user_can_lack_the_right(emulator):
    emulator.inject("port-busy")
    emulator.inject("permission-denied")
    eventually(lambda: os.stat(emulator.port).st_mode & 0o777 == 0)
    with pytest.raises(PortError):
        SerialPort(emulator.port, 1_000_000)
    emulator.clear("permission-denied")
    eventually(lambda: os.stat(emulator.port).st_mode & 0o777 == 0o620)
    with pytest.raises(PortBusyError, match="in use"):
        SerialPort(emulator.port, 1_000_000)
    emulator.clear("port-busy")
    emulator.status()
    eventually(lambda: can_be_opened(emulator.port))


def test_servos_hear_only_at_their_own_baud_rate(emulator):
    with serial.Serial(emulator.port, 500_000, timeout=0.2) as port:
        port.write(feetech.ping(1))
        assert port.read(6) == b""
        port.baudrate = 1_000_000
        assert ask(port, feetech.ping(1), 6) == PONG


def test_a_pulled_cable_is_a_lost_connection_and_the_port_comes_back(emulator):
    clock = MonotonicClock()
    bus = FeetechBus(SerialPort(emulator.port, 1_000_000), {1: control_table("sts3215")}, clock)
    emulator.inject("cable-pulled+0.5")
    with pytest.raises(ConnectionLostError):
        keep_pinging(bus)
    bus.close()
    eventually(lambda: os.path.exists(emulator.port))
    with serial.Serial(emulator.port, 1_000_000, timeout=0.5) as port:
        assert ask(port, feetech.ping(1), 6) == PONG


def test_a_port_comes_back_under_another_name_behind_the_same_link(emulator):
    before = os.readlink(emulator.port)
    emulator.inject("port-renamed+0.2")
    eventually(lambda: not emulator.status().faults and os.path.exists(emulator.port))
    assert os.readlink(emulator.port) != before
    with serial.Serial(emulator.port, 1_000_000, timeout=0.5) as port:
        assert ask(port, feetech.ping(1), 6) == PONG


def test_faults_are_injected_listed_and_cleared_from_outside(emulator):
    emulator.inject("stuck-joint:elbow_flex")
    assert emulator.status().faults == ("stuck-joint:elbow_flex",)
    emulator.clear("stuck-joint")
    assert emulator.status().faults == ()
    with pytest.raises(ValueError, match="did you mean 'elbow_flex'"):
        emulator.inject("overload:elbow")
    with pytest.raises(ValueError, match="no fault in force"):
        emulator.clear("echo")


def test_an_emulator_that_has_ended_says_so_and_leaves_nothing_behind(tmp_path):
    emulator = emulate(description(), link=tmp_path / "arm")
    assert (tmp_path / "arm").is_symlink()
    emulator.close()
    assert not (tmp_path / "arm").exists()
    with pytest.raises(EmulatorError, match="has ended"):
        emulator.status()
    emulator.close()


def test_what_cannot_start_says_why(tmp_path):
    (tmp_path / "arm").write_text("precious")
    with pytest.raises(EmulatorError, match="something that is no link"):
        emulate(description(), link=tmp_path / "arm")
    assert (tmp_path / "arm").read_text() == "precious"
    with pytest.raises(EmulatorError, match="did you mean 'workspace'"):
        emulate(description(), cameras=[CameraStream("workspac")])
    with pytest.raises(EmulatorError, match="franky-sim"):
        emulate(load_description("fr3"))


def test_the_camera_shows_the_arm_as_motion_jpeg():
    with emulate(description(), cameras=[CameraStream("workspace", width=96, height=64)]) as emulator:
        (url,) = emulator.camera_urls
        stream = cv2.VideoCapture(url)
        read, picture = stream.read()
        stream.release()
    assert read
    assert picture.shape == (64, 96, 3)
    assert picture.std() > 10
