"""Shared memory between two processes: one slot for what is newest, a ring for what must not be lost.

Neither ever waits for the other side, and neither grows. A process that is killed in the middle of writing leaves
the other one with what was there before.
"""

import pickle
import signal
import struct
import zlib
from ctypes import c_char
from multiprocessing.context import SpawnContext
from types import FrameType
from typing import Any

_COUNTER = struct.Struct("@Q")  # native: read and written at once
_SLOT = struct.Struct("=QII")
_LENGTH = struct.Struct("=I")


class Mailbox:
    """One slot from one writer to its readers; the newest message wins.

    Two buffers take turns, so that a reader has one whole period to copy a message; a checksum tells if it was not
    enough.

    Args:
        context: of the processes.
        capacity: bytes of the largest message, pickled.
    """

    def __init__(self, context: SpawnContext, capacity: int) -> None:
        self._capacity = capacity
        self._memory = context.RawArray(c_char, _COUNTER.size + 2 * (_SLOT.size + capacity))
        self._seen = 0
        self._written = 0

    def put(self, message: object) -> None:
        """Replace what is in the slot.

        Raises:
            ValueError: if the message is larger than the slot.
        """
        data = pickle.dumps(message, protocol=5)
        if len(data) > self._capacity:
            raise ValueError(f"a message of {len(data)} bytes does not fit into a slot of {self._capacity} bytes")
        view = memoryview(self._memory).cast("B")
        self._written += 1
        start = self._start(self._written)
        _SLOT.pack_into(view, start, self._written, len(data), zlib.crc32(data))
        view[start + _SLOT.size : start + _SLOT.size + len(data)] = data
        _COUNTER.pack_into(view, 0, self._written)

    def get(self) -> Any:
        """The newest message, once; None if there is none that was not taken yet."""
        view = memoryview(self._memory).cast("B")
        for _ in range(3):
            (written,) = _COUNTER.unpack_from(view, 0)
            if written == self._seen:
                return None
            start = self._start(written)
            number, length, checksum = _SLOT.unpack_from(view, start)
            data = bytes(view[start + _SLOT.size : start + _SLOT.size + min(length, self._capacity)])
            if number == written and zlib.crc32(data) == checksum:
                self._seen = written
                return pickle.loads(data)
        return None

    def _start(self, written: int) -> int:
        return _COUNTER.size + (written % 2) * (_SLOT.size + self._capacity)


class Ring:
    """A bounded queue from one writer to one reader; what does not fit is dropped and counted.

    Args:
        context: of the processes.
        capacity: bytes.
    """

    _HEADER = 3 * _COUNTER.size

    def __init__(self, context: SpawnContext, capacity: int) -> None:
        self._capacity = capacity
        self._memory = context.RawArray(c_char, self._HEADER + capacity)

    @property
    def dropped(self) -> int:
        """Messages that did not fit."""
        return self._read_counter(2)

    @property
    def empty(self) -> bool:
        """Whether everything was read."""
        return self._read_counter(0) == self._read_counter(1)

    def put(self, message: object) -> bool:
        """Append a message; returns whether it fitted."""
        data = pickle.dumps(message, protocol=5)
        head, tail = self._read_counter(0), self._read_counter(1)
        if head - tail + _LENGTH.size + len(data) > self._capacity:
            self._write_counter(2, self.dropped + 1)
            return False
        self._copy_in(head, _LENGTH.pack(len(data)))
        self._copy_in(head + _LENGTH.size, data)
        self._write_counter(0, head + _LENGTH.size + len(data))
        return True

    def get(self) -> Any:
        """The oldest message; None if there is none."""
        head, tail = self._read_counter(0), self._read_counter(1)
        if head == tail:
            return None
        (length,) = _LENGTH.unpack(self._copy_out(tail, _LENGTH.size))
        data = self._copy_out(tail + _LENGTH.size, length)
        self._write_counter(1, tail + _LENGTH.size + length)
        return pickle.loads(data)

    def _copy_in(self, at: int, data: bytes) -> None:
        view = memoryview(self._memory).cast("B")[self._HEADER :]
        begin = at % self._capacity
        first = min(len(data), self._capacity - begin)
        view[begin : begin + first] = data[:first]
        view[: len(data) - first] = data[first:]

    def _copy_out(self, at: int, length: int) -> bytes:
        view = memoryview(self._memory).cast("B")[self._HEADER :]
        begin = at % self._capacity
        first = min(length, self._capacity - begin)
        return bytes(view[begin : begin + first]) + bytes(view[: length - first])

    def _read_counter(self, index: int) -> int:
        value: int = _COUNTER.unpack_from(memoryview(self._memory).cast("B"), index * _COUNTER.size)[0]
        return value

    def _write_counter(self, index: int, value: int) -> None:
        _COUNTER.pack_into(memoryview(self._memory).cast("B"), index * _COUNTER.size, value)


class StopRequest:
    """A signal that some process got and that all must heed."""

    def __init__(self, context: SpawnContext) -> None:
        self._number = context.RawValue("i", 0)

    @property
    def number(self) -> int:
        """The signal; 0 where none arrived."""
        return int(self._number.value)

    def make(self, number: int, frame: FrameType | None = None) -> None:
        """Ask all processes to come to an orderly end; a signal handler."""
        self._number.value = number

    def heed(self) -> None:
        """In a process other than the supervisor: SIGTERM asks all to stop, SIGINT is left to the supervisor."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.make)


class Pulse:
    """When a process was last alive, on the monotonic clock that all processes share."""

    def __init__(self, context: SpawnContext) -> None:
        self._time = context.RawValue("d", 0.0)

    def beat(self, now: float) -> None:
        """Say that this process is alive."""
        self._time.value = now

    def age(self, now: float) -> float:
        """Seconds since the last beat; infinite before the first."""
        time = float(self._time.value)
        return now - time if time else float("inf")
