"""Fast path. Gathers a request's body within a size limit.

A body of known size over 64 KiB is received into one buffer in which the tensors, after the JSON
header, start at a multiple of 64 bytes: no join, and the engine can use them in place.
"""

from typing import Final

import numpy as np

from serving.errors import PayloadTooLargeError, QueueFullError
from serving.wire.tensors import Buffer

SMALL_BYTES: Final = 1 << 16
ALIGNMENT_BYTES: Final = 64
MAX_PARTS: Final = 1024  # a body of tiny chunks is joined now and then: an object costs 33 bytes


class BodyRoom:
    """Bytes of large bodies that the process is receiving; small ones are not counted.

    Only what has come is counted, so that an announcement costs nobody else anything.
    """

    __slots__ = ("max_bytes", "used_bytes")

    def __init__(self, max_bytes: int) -> None:
        """Begin with none."""
        self.max_bytes = max_bytes
        self.used_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Make room for bytes that have come.

        Raises:
            QueueFullError: There is none.
        """
        if self.used_bytes + size_bytes > self.max_bytes:
            raise QueueFullError(
                f"request bodies: {self.used_bytes} of {self.max_bytes} bytes are being received; "
                "retry, or send fewer rows per call"
            )
        self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Take bytes out again."""
        self.used_bytes -= size_bytes


class GatheredBody:
    """A small body, or one of unknown size: pieces that are joined at the end."""

    __slots__ = ("_max_bytes", "_parts", "_room", "_size_bytes", "held_bytes")

    def __init__(self, max_bytes: int, room: BodyRoom) -> None:
        """Start empty."""
        self._max_bytes = max_bytes
        self._room = room
        self.held_bytes = 0
        self._parts: list[bytes | bytearray] = []
        self._size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            PayloadTooLargeError: The body is over the limit.
            QueueFullError: All bodies that are being received are over theirs.
        """
        size_bytes = self._size_bytes = self._size_bytes + len(piece)
        if size_bytes > self._max_bytes:
            raise too_large(size_bytes, self._max_bytes)
        if size_bytes > SMALL_BYTES:
            self._room.take(size_bytes - self.held_bytes)
            self.held_bytes = size_bytes
        parts = self._parts
        parts.append(piece)
        if len(parts) > MAX_PARTS:
            joined = parts[0] if isinstance(parts[0], bytearray) else bytearray(parts[0])
            for part in parts[1:]:
                joined += part
            parts[:] = [joined]

    def whole(self) -> Buffer:
        """Return the complete body."""
        parts = self._parts
        if len(parts) == 1 and type(parts[0]) is bytes:
            return parts[0]
        return b"".join(parts)


class SizedBody:
    """A large body of known size, received into its final place."""

    __slots__ = ("_room", "_view", "held_bytes")

    def __init__(self, size_bytes: int, header_bytes: int, room: BodyRoom) -> None:
        """Reserve the buffer; the kernel gives its pages as they are filled."""
        self._room = room
        pad = -header_bytes % ALIGNMENT_BYTES
        buffer = np.empty(size_bytes + pad + ALIGNMENT_BYTES, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT_BYTES + pad
        self._view = buffer.data[start : start + size_bytes]
        self.held_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece; the parser never gives more than the announced size.

        Raises:
            QueueFullError: All bodies that are being received are over their limit.
        """
        size_bytes = len(piece)
        self._room.take(size_bytes)
        end = self.held_bytes + size_bytes
        self._view[self.held_bytes : end] = piece
        self.held_bytes = end

    def whole(self) -> Buffer:
        """Return the complete body, read-only."""
        return self._view.toreadonly()


def open_body(
    size_bytes: int | None, *, header_bytes: int, max_bytes: int, room: BodyRoom
) -> GatheredBody | SizedBody:
    """Choose how to receive a body, before memory is taken for it.

    Args:
        size_bytes: Its announced size, if any.
        header_bytes: Size of the JSON header before the tensors.
        max_bytes: The largest body that is read.
        room: For all bodies of the process.

    Raises:
        PayloadTooLargeError: The announced size is over the limit.
    """
    if size_bytes is None or size_bytes <= SMALL_BYTES:
        return GatheredBody(max_bytes, room)
    if size_bytes > max_bytes:
        raise too_large(size_bytes, max_bytes)
    return SizedBody(size_bytes, header_bytes, room)


def too_large(size_bytes: int, max_bytes: int) -> PayloadTooLargeError:
    """Say that a body is over the limit."""
    return PayloadTooLargeError(
        f"request body of at least {size_bytes} bytes exceeds the limit of {max_bytes} bytes: send "
        "fewer rows per call, or raise BASCULE_MAX_REQUEST_BYTES"
    )
