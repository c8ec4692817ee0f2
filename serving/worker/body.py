"""Fast path. Gathers a request's body within a size limit.

A body of known size over 64 KiB is received into one buffer in which the tensors, after the JSON
header, start at a multiple of 64 bytes: no join, and the engine can use them in place.
"""

from typing import Final

import numpy as np

from serving.errors import PayloadTooLargeError

Buffer = bytes | memoryview

SMALL_BYTES: Final = 1 << 16
ALIGNMENT_BYTES: Final = 64
MAX_PARTS: Final = 1024  # a body of tiny chunks is joined now and then: an object costs 33 bytes


class GatheredBody:
    """A small body, or one of unknown size: pieces that are joined at the end."""

    __slots__ = ("_max_bytes", "_parts", "_size_bytes")

    def __init__(self, max_bytes: int) -> None:
        """Start empty."""
        self._max_bytes = max_bytes
        self._parts: list[bytes | bytearray] = []
        self._size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            PayloadTooLargeError: The body is over the limit.
        """
        self._size_bytes += len(piece)
        if self._size_bytes > self._max_bytes:
            raise too_large(self._size_bytes, self._max_bytes)
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

    __slots__ = ("_filled_bytes", "_view")

    def __init__(self, size_bytes: int, header_bytes: int) -> None:
        """Reserve the buffer; the kernel gives its pages as they are filled."""
        pad = -header_bytes % ALIGNMENT_BYTES
        room = np.empty(size_bytes + pad + ALIGNMENT_BYTES, np.uint8)
        start = -room.ctypes.data % ALIGNMENT_BYTES + pad
        self._view = room.data[start : start + size_bytes]
        self._filled_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece; the parser never gives more than the announced size."""
        end = self._filled_bytes + len(piece)
        self._view[self._filled_bytes : end] = piece
        self._filled_bytes = end

    def whole(self) -> Buffer:
        """Return the complete body, read-only."""
        return self._view.toreadonly()


def open_body(
    size_bytes: int | None, *, header_bytes: int, max_bytes: int
) -> GatheredBody | SizedBody:
    """Choose how to receive a body, before memory is taken for it.

    Args:
        size_bytes: Its announced size, if any.
        header_bytes: Size of the JSON header before the tensors.
        max_bytes: The largest body that is read.

    Raises:
        PayloadTooLargeError: The announced size is over the limit.
    """
    if size_bytes is None or size_bytes <= SMALL_BYTES:
        return GatheredBody(max_bytes)
    if size_bytes > max_bytes:
        raise too_large(size_bytes, max_bytes)
    return SizedBody(size_bytes, header_bytes)


def too_large(size_bytes: int, max_bytes: int) -> PayloadTooLargeError:
    """Say that a body is over the limit."""
    return PayloadTooLargeError(
        f"request body of at least {size_bytes} bytes exceeds the limit of {max_bytes} bytes: send "
        "fewer rows per call, or raise BASCULE_MAX_REQUEST_BYTES"
    )
