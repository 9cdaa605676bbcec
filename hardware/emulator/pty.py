"""A pseudo-terminal as the arm's serial port, under a name that stays."""

import contextlib
import errno
import fcntl
import os
import struct
import tempfile
import tty
from pathlib import Path

_TCGETS2 = 0x802C542A
_TERMIOS2_SIZE = 44
_SPEED_AT = 40
_CHUNK = 4096
_MODE = 0o620
_PREFIX = "robot-ctrl-emulator-"


def fresh_link(name: str) -> Path:
    """A place for the link to a port, in a folder for temporary files of its own."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX)) / name


class PtyPort:
    """The servos' side of a pseudo-terminal; the host opens ``link``, or the device that it points to.

    The terminal is raw. It outlives hosts that close it; the server's own hold on the device keeps it so. A host
    that opens it for itself alone keeps others out, as with any serial device.

    Args:
        link: a symbolic link to the device that is made, and moved when the device changes its name.

    Raises:
        FileExistsError: if something that is no link lies there.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self._master = self._slave = -1
        self._reserve: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the device exists."""
        return self._master >= 0

    def fileno(self) -> int:
        """What to wait on for bytes from the host."""
        return self._master

    def open(self) -> None:
        """Make the device and the link to it."""
        self._master, self._slave = self._reserve or os.openpty()
        self._reserve = None
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        if self.link.exists() and not self.link.is_symlink():
            raise FileExistsError(errno.EEXIST, "something that is no link to a port lies there", str(self.link))
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.link)

    def hold(self, held: bool) -> None:
        """Lock the device as another program would, if no host has it open; or let it go."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._slave, fcntl.LOCK_EX | fcntl.LOCK_NB if held else fcntl.LOCK_UN)

    def forbid(self, forbidden: bool) -> None:
        """Take the right to open the device away, or give it back."""
        os.fchmod(self._slave, 0 if forbidden else _MODE)

    def close(self, *, rename: bool = False) -> None:
        """Take the device away: a host that has it open gets an input/output error.

        Args:
            rename: whether the next device must have another name.
        """
        if not self.is_open:
            return
        if rename:
            self._reserve = os.openpty()
        self.link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def remove(self) -> None:
        """Close for good, and take a folder that ``fresh_link`` made away."""
        self.close()
        if self.link.parent.name.startswith(_PREFIX):
            with contextlib.suppress(OSError):
                self.link.parent.rmdir()

    def baudrate(self) -> int | None:
        """Bits per second that the host has set; None where the system does not say."""
        try:
            settings = fcntl.ioctl(self._slave, _TCGETS2, bytes(_TERMIOS2_SIZE))
        except OSError:
            return None
        return int(struct.unpack_from("I", settings, _SPEED_AT)[0])

    def read(self) -> bytes:
        """What the host has written; empty if nothing is there."""
        try:
            return os.read(self._master, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    def write(self, data: bytes) -> None:
        """Give bytes to the host; what does not fit into its buffer is lost, as on a real line."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)
