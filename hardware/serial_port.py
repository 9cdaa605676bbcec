"""A serial port that is opened for one program alone, waits without spinning, and says what is wrong with it.

pyserial sets the line up; reading and writing go straight to the file descriptor, for pyserial's own loops cost more
than a servo's answer takes.
"""

import errno
import logging
import os
import select
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import serial

from hardware.clock import Clock, MonotonicClock
from hardware.errors import ConnectionLostError, PortBusyError, PortError

logger = logging.getLogger(__name__)

WRITE_TIMEOUT = 0.5
"""Seconds after which bytes that the adapter does not take are a lost connection."""

_DEVICE_PATTERNS = ("ttyUSB*", "ttyACM*", "ttyAMA*", "cu.usb*")
_CHUNK = 4096


class Port(Protocol):
    """What a servo bus needs of a line: bytes out, bytes in until a deadline on the shared clock.

    An emulator that runs on a virtual clock offers this too, and lets its time pass while ``read`` waits.

    Attributes:
        name: how the user calls it.
        baudrate: bits per second on the line; can be set while open.
        latency: how long the adapter may hold received bytes back, s.
    """

    name: str
    baudrate: int
    latency: float

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionLostError: if the line is gone.
        """
        ...

    def read(self, deadline: float) -> bytes:
        """What has been received: at least one byte, or none at the deadline. A deadline in the past never waits.

        Raises:
            ConnectionLostError: if the line is gone.
        """
        ...

    def close(self) -> None:
        """Give the line back; harmless when closed."""
        ...


@dataclass(frozen=True)
class SerialDevice:
    """A serial port of this machine.

    Attributes:
        device: its name until it is plugged in again, like /dev/ttyUSB0.
        stable: its name that stays with the adapter, under /dev/serial/by-id; None where it has none.
    """

    device: str
    stable: str | None

    def __str__(self) -> str:
        return self.device if self.stable is None else f"{self.stable} (now {self.device})"


def serial_devices(dev: Path = Path("/dev")) -> list[SerialDevice]:
    """The serial ports of this machine that a USB adapter or a header offers."""
    stable = {os.path.realpath(link): str(link) for link in sorted((dev / "serial" / "by-id").glob("*"))}
    devices = {str(path) for pattern in _DEVICE_PATTERNS for path in dev.glob(pattern)}
    return [SerialDevice(device, stable.get(os.path.realpath(device))) for device in sorted(devices)]


def stable_name(path: str, dev: Path = Path("/dev")) -> str | None:
    """The name under /dev/serial/by-id of the adapter behind a port; None where it has none."""
    target = os.path.realpath(path)
    return next((device.stable for device in serial_devices(dev) if os.path.realpath(device.device) == target), None)


def latency_timer(path: str, sys: Path = Path("/sys")) -> int | None:
    """How long an FTDI adapter holds received bytes back, ms; None for adapters without such a timer."""
    file = sys / "bus" / "usb-serial" / "devices" / Path(os.path.realpath(path)).name / "latency_timer"
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


class SerialPort:
    """A serial port, opened when it is made and held against other programs until ``close``.

    Args:
        path: the device; a name under /dev/serial/by-id stays the same when it is plugged in again.
        baudrate: bits per second.
        clock: what deadlines are on.

    Raises:
        PortBusyError: if another program holds it.
        PortError: if it cannot be opened, with what to do about it.
    """

    def __init__(self, path: str, baudrate: int, clock: Clock | None = None) -> None:
        self.name = path
        self.stable_name = stable_name(path)
        self._clock = clock or MonotonicClock()
        self._serial = _open(path, baudrate)
        self._ask_for_low_latency()
        self._fd = self._serial.fileno()
        self.latency = (latency_timer(path) or 1) / 1000

    @property
    def is_open(self) -> bool:
        """Whether bytes can be sent and received."""
        return self._serial.is_open

    @property
    def baudrate(self) -> int:
        """Bits per second; setting it changes the line at once."""
        return int(self._serial.baudrate)

    @baudrate.setter
    def baudrate(self, baudrate: int) -> None:
        self._serial.baudrate = baudrate

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionLostError: if the port is gone, or takes nothing for WRITE_TIMEOUT.
        """
        self._require_open()
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += os.write(self._fd, data[sent:])
                except BlockingIOError:
                    _, writable, _ = select.select([], [self._fd], [], WRITE_TIMEOUT)
                    if not writable:
                        raise OSError(errno.ETIMEDOUT, "the adapter takes no more bytes") from None
        except OSError as error:
            raise self._lost(error) from error

    def read(self, deadline: float) -> bytes:
        """What has been received: at least one byte, or none at the deadline. A deadline in the past never waits.

        Raises:
            ConnectionLostError: if the port is gone.
        """
        self._require_open()
        remaining = deadline - self._clock.now()
        try:
            readable, _, _ = select.select([self._fd], [], [], max(0.0, remaining))
            if not readable:
                self._clock.sleep_until(deadline)
                return b""
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(OSError(errno.EIO, "end of file"))
        return data

    def close(self) -> None:
        """Give the port back; harmless when closed."""
        self._serial.close()

    def _ask_for_low_latency(self) -> None:
        """Set an FTDI adapter's latency timer from 16 ms to 1 ms, which needs no privilege; others have none."""
        try:
            self._serial.set_low_latency_mode(True)
        except (ValueError, OSError, AttributeError, NotImplementedError):
            logger.debug("%s has no low-latency mode", self.name)

    def _require_open(self) -> None:
        if not self._serial.is_open:
            raise ConnectionLostError(f"port {self.name} is closed; connect again")

    def _lost(self, error: OSError) -> ConnectionLostError:
        self._serial.close()
        return ConnectionLostError(
            f"port {self.name} is gone ({error.strerror}): check the cable and the adapter's power, then connect "
            f"again. {self._whereabouts()}"
        )

    def _whereabouts(self) -> str:
        devices = serial_devices()
        if self.stable_name is not None:
            again = next((device for device in devices if device.stable == self.stable_name), None)
            if again is not None and again.device != os.path.realpath(self.name):
                return f"The same adapter is now at {again.device}; put {self.stable_name} into the robot's file."
        return _listing(devices)


def _open(path: str, baudrate: int) -> serial.Serial:
    try:
        return serial.Serial(path, baudrate, timeout=0, exclusive=True)
    except ValueError as error:
        raise PortError(f"port {path} cannot run at {baudrate} baud: {error}; servos usually take 1000000") from error
    except (serial.SerialException, OSError) as error:
        raise _opening_error(path, error.errno, error) from error


def _opening_error(path: str, number: int | None, error: Exception) -> PortError:
    if number in (errno.EWOULDBLOCK, errno.EBUSY):
        return PortBusyError(f"port {path} is in use{_holder(path)}; end that program first")
    if number == errno.EACCES:
        return PortError(
            f"port {path} may not be opened by this user; join the group that owns it ('sudo usermod -aG dialout "
            f"$USER'), then log in again"
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortError(f"there is no port {path}. {_listing(serial_devices())}")
    return PortError(f"port {path} cannot be opened: {error}. {_listing(serial_devices())}")


def _listing(devices: Sequence[SerialDevice]) -> str:
    if not devices:
        return "There is no serial port now: plug the adapter in, and look at its lamp."
    return f"Serial ports now: {', '.join(map(str, devices))}; name yours in the robot's file under 'port'."


def _holder(path: str) -> str:
    """Who holds the lock on a port, for people; empty where that cannot be known."""
    try:
        inode = os.stat(path).st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rsplit(":", 1)[1]) == inode:
                command = Path(f"/proc/{fields[4]}/comm").read_text().strip()
                return f" by {command!r} (process {fields[4]})"
    except (OSError, ValueError, IndexError):
        pass
    return ""
