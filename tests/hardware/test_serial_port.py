"""The serial port over a pseudo-terminal: exclusive, bounded in time, and clear about what is wrong."""

import contextlib
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from hardware import serial_port
from hardware.clock import MonotonicClock, VirtualClock
from hardware.errors import ConnectionLostError, PortBusyError, PortError
from hardware.serial_port import SerialDevice, SerialPort, latency_timer, serial_devices, stable_name


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The master's descriptor and the slave's path of a pseudo-terminal."""
    master, slave = pty.openpty()
    yield master, os.ttyname(slave)
    os.close(slave)
    with contextlib.suppress(OSError):
        os.close(master)


def soon() -> float:
    return MonotonicClock().now() + 10.0


def test_bytes_go_both_ways_unchanged(line: tuple[int, str]) -> None:
    master, path = line
    port = SerialPort(path, 1_000_000)
    every_byte = bytes(range(256))
    port.write(every_byte)
    assert os.read(master, 512) == every_byte
    os.write(master, every_byte)
    assert port.read(soon()) == every_byte
    port.close()
    port.close()


def test_reading_ends_at_the_deadline_on_the_clock_that_was_given(line: tuple[int, str]) -> None:
    clock = VirtualClock(5.0)
    port = SerialPort(line[1], 1_000_000, clock)
    assert port.read(5.001) == b""
    assert clock.now() == 5.001
    os.write(line[0], b"x")
    assert port.read(0.0) == b"x", "what is there is read even after the deadline"
    port.close()


def test_a_port_has_one_user(line: tuple[int, str]) -> None:
    port = SerialPort(line[1], 1_000_000)
    with pytest.raises(PortBusyError, match=f"{line[1]} is in use by .* \\(process {os.getpid()}\\); end that program"):
        SerialPort(line[1], 1_000_000)
    port.close()
    SerialPort(line[1], 1_000_000).close()


def test_a_pulled_cable_ends_the_port(line: tuple[int, str]) -> None:
    master, path = line
    port = SerialPort(path, 1_000_000)
    os.close(master)
    with pytest.raises(ConnectionLostError, match=r"is gone .* check the cable"):
        port.read(soon())
    assert not port.is_open
    with pytest.raises(ConnectionLostError, match="is closed; connect again"):
        port.write(b"x")


def test_writing_into_a_pulled_cable_ends_the_port(line: tuple[int, str]) -> None:
    master, path = line
    port = SerialPort(path, 1_000_000)
    os.close(master)
    with pytest.raises(ConnectionLostError, match="is gone"):
        port.write(b"x")
    assert not port.is_open


def test_an_adapter_that_comes_back_under_another_name_is_reported(
    line: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stable = "/dev/serial/by-id/usb-FTDI_FT232H-if00"
    monkeypatch.setattr(serial_port, "stable_name", lambda path: stable)
    monkeypatch.setattr(serial_port, "serial_devices", lambda *_: [SerialDevice("/dev/ttyUSB1", stable)])
    port = SerialPort(line[1], 1_000_000)
    os.close(line[0])
    with pytest.raises(ConnectionLostError, match=f"now at /dev/ttyUSB1; put {stable} into"):
        port.read(soon())


def test_a_missing_port_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        serial_port, "serial_devices", lambda *_: [SerialDevice("/dev/ttyACM0", "/dev/serial/by-id/arm")]
    )
    with pytest.raises(PortError, match=r"no port /dev/ttyNO. Serial ports now: /dev/serial/by-id/arm \(now"):
        SerialPort("/dev/ttyNO", 1_000_000)
    monkeypatch.setattr(serial_port, "serial_devices", lambda *_: [])
    with pytest.raises(PortError, match="no serial port now: plug the adapter in"):
        SerialPort("/dev/ttyNO", 1_000_000)


def test_a_file_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(PortError, match="cannot be opened"):
        SerialPort(str(path), 1_000_000)


def test_a_forbidden_port_says_which_group_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(PortError, match="may not be opened by this user; join the group"):
        SerialPort("/dev/ttyUSB0", 1_000_000)


def test_an_impossible_baud_rate_is_refused(line: tuple[int, str]) -> None:
    with pytest.raises(PortError, match="cannot run at -5 baud"):
        SerialPort(line[1], -5)


def test_devices_and_their_stable_names(tmp_path: Path) -> None:
    (tmp_path / "serial" / "by-id").mkdir(parents=True)
    for name in ("ttyUSB0", "ttyACM3", "tty1"):
        (tmp_path / name).touch()
    (tmp_path / "serial" / "by-id" / "usb-arm").symlink_to(tmp_path / "ttyUSB0")
    usb = str(tmp_path / "ttyUSB0")
    stable = str(tmp_path / "serial" / "by-id" / "usb-arm")
    assert serial_devices(tmp_path) == [SerialDevice(str(tmp_path / "ttyACM3"), None), SerialDevice(usb, stable)]
    assert stable_name(usb, tmp_path) == stable_name(stable, tmp_path) == stable
    assert stable_name(str(tmp_path / "ttyACM3"), tmp_path) is None


def test_the_latency_timer_of_an_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "bus" / "usb-serial" / "devices" / "ttyUSB0"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("16\n")
    assert latency_timer("/dev/ttyUSB0", tmp_path) == 16
    assert latency_timer("/dev/ttyACM0", tmp_path) is None
