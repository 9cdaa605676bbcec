"""Packets out of a stream of bytes: what the two servo protocols have in common."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

PacketT = TypeVar("PacketT")


class StreamParser(ABC, Generic[PacketT]):
    """Finds packets in a stream of bytes, and its way back after anything else.

    Attributes:
        garbage: bytes that belonged to no packet so far.
        corrupted: packets whose check did not fit so far.
    """

    header: bytes
    """What every packet begins with."""

    def __init__(self) -> None:
        self.garbage = 0
        self.corrupted = 0
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their packet."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget the bytes of an unfinished packet."""
        self._drop(len(self._buffer))

    def feed(self, data: bytes) -> list[PacketT]:
        """Take bytes in, in pieces of any size, and return the packets that they complete."""
        self._buffer += data
        packets: list[PacketT] = []
        while self._find_header():
            size = self._size(self._buffer)
            if size is None:
                break
            if size == 0:
                self._drop(1)
            elif len(self._buffer) < size:
                break
            elif not self._is_intact(frame := bytes(self._buffer[:size])):
                self.corrupted += 1
                self._drop(1)
            else:
                packets.append(self._packet(frame))
                del self._buffer[:size]
        return packets

    @abstractmethod
    def _size(self, data: bytearray) -> int | None:
        """The size of the packet that these bytes begin with: None if not known yet, 0 if it cannot be one."""

    @abstractmethod
    def _is_intact(self, frame: bytes) -> bool:
        """Whether the check of a whole packet fits."""

    @abstractmethod
    def _packet(self, frame: bytes) -> PacketT:
        """The packet in an intact frame."""

    def _find_header(self) -> bool:
        """Drop what stands in front of the next header; false if there is none yet."""
        at = self._buffer.find(self.header)
        if at < 0:
            begun = (n for n in range(len(self.header) - 1, 0, -1) if self._buffer.endswith(self.header[:n]))
            self._drop(len(self._buffer) - next(begun, 0))
            return False
        self._drop(at)
        return True

    def _drop(self, count: int) -> None:
        self.garbage += count
        del self._buffer[:count]
