"""Fast path. Gathers a request's body within a size limit.

A body of known size over 64 KiB is received into one buffer in which the tensors, after the JSON
header, start at a multiple of 64 bytes: no join, and the engine can use them in place.

Bodies over 64 KiB share a room. Each may take its time while there is some; when there is none, the
oldest are refused that had `SLOW_S`, so that those which trickle in keep nobody else out.
"""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from runtimes.errors import BasculeError
from serving.errors import PayloadTooLargeError, QueueFullError, SlowRequestError
from serving.wire.tensors import Buffer
from serving.worker.admission import NS_PER_S

MAX_BODIES_BYTES: Final = 2 << 30
SMALL_BYTES: Final = 1 << 16
ALIGNMENT_BYTES: Final = 64
MAX_PARTS: Final = 1024  # a body of tiny chunks is joined now and then: an object costs 33 bytes
SLOW_S: Final = 30


class Sender(Protocol):
    """Whose body it is, as the room sees it."""

    def refuse(self, error: BasculeError) -> None:
        """Answer before the body is whole, and release it."""


class BodyRoom:
    """Bytes of large bodies that the process is receiving; small ones are not counted.

    Only what has come is counted, so that an announcement costs nobody else anything.
    """

    __slots__ = ("_began_ns", "_now_ns", "max_bytes", "used_bytes")

    def __init__(self, max_bytes: int, now_ns: Callable[[], int]) -> None:
        """Begin with none.

        Args:
            max_bytes: What all may have together.
            now_ns: Nanoseconds, monotonic.
        """
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._now_ns = now_ns
        self._began_ns: dict[Body, int] = {}

    def take(self, size_bytes: int) -> None:
        """Make room for bytes that are whole already.

        Raises:
            QueueFullError: There is none.
        """
        if self.used_bytes + size_bytes > self.max_bytes:
            self._end_slow(size_bytes, None)
        self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Take bytes out again."""
        self.used_bytes -= size_bytes

    def grow(self, body: "Body", size_bytes: int) -> None:
        """Make room for bytes of a body that have come.

        Raises:
            QueueFullError: There is none.
            SlowRequestError: There is none, and it is this body that took its time.
        """
        if self.used_bytes + size_bytes > self.max_bytes:
            self._end_slow(size_bytes, body)
        if not body.held_bytes:
            self._began_ns[body] = self._now_ns()
        body.held_bytes += size_bytes
        self.used_bytes += size_bytes

    def leave(self, body: "Body") -> None:
        """Take a body out: it is whole, or nobody wants it any more."""
        if self._began_ns.pop(body, None) is not None:
            self.used_bytes -= body.held_bytes

    def _end_slow(self, size_bytes: int, asking: "Body | None") -> None:
        """Refuse the oldest that had their time, until there is room."""
        now_ns = self._now_ns()
        while self._began_ns:
            body, began_ns = next(iter(self._began_ns.items()))  # in the order in which they began
            took_ns = now_ns - began_ns
            if took_ns < SLOW_S * NS_PER_S:
                break
            slow = too_slow(took_ns // NS_PER_S, body.held_bytes)
            if body is asking:
                raise slow
            body.sender.refuse(slow)
            if self.used_bytes + size_bytes <= self.max_bytes:
                return
        raise QueueFullError(
            f"request bodies: {self.used_bytes} of {self.max_bytes} bytes are being received; "
            "retry, or send fewer rows per call"
        )


class GatheredBody:
    """A small body, or one of unknown size: pieces that are joined at the end."""

    __slots__ = ("_max_bytes", "_parts", "_room", "_size_bytes", "held_bytes", "sender")

    def __init__(self, max_bytes: int, room: BodyRoom, sender: Sender) -> None:
        """Start empty."""
        self._max_bytes = max_bytes
        self._room = room
        self.sender = sender
        self.held_bytes = 0
        self._parts: list[bytes | bytearray] = []
        self._size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            PayloadTooLargeError: The body is over the limit.
            QueueFullError: All bodies that are being received are over theirs.
            SlowRequestError: So they are, and this one took its time.
        """
        size_bytes = self._size_bytes = self._size_bytes + len(piece)
        if size_bytes > self._max_bytes:
            raise too_large(size_bytes, self._max_bytes)
        if size_bytes > SMALL_BYTES:
            self._room.grow(self, size_bytes - self.held_bytes)
        parts = self._parts
        parts.append(piece)
        if len(parts) > MAX_PARTS:
            joined = parts[0] if isinstance(parts[0], bytearray) else bytearray(parts[0])
            for part in parts[1:]:
                joined += part
            parts[:] = [joined]

    def release(self) -> None:
        """Count it no longer among those that are being received."""
        self._room.leave(self)

    def whole(self) -> Buffer:
        """Return the complete body."""
        parts = self._parts
        if len(parts) == 1 and type(parts[0]) is bytes:
            return parts[0]
        return b"".join(parts)


class SizedBody:
    """A large body of known size, received into its final place."""

    __slots__ = ("_room", "_view", "held_bytes", "sender")

    def __init__(self, size_bytes: int, header_bytes: int, room: BodyRoom, sender: Sender) -> None:
        """Reserve the buffer; the kernel gives its pages as they are filled."""
        self._room = room
        self.sender = sender
        pad = -header_bytes % ALIGNMENT_BYTES
        buffer = np.empty(size_bytes + pad + ALIGNMENT_BYTES, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT_BYTES + pad
        self._view = buffer.data[start : start + size_bytes]
        self.held_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece; the parser never gives more than the announced size.

        Raises:
            QueueFullError: All bodies that are being received are over their limit.
            SlowRequestError: So they are, and this one took its time.
        """
        start = self.held_bytes
        self._room.grow(self, len(piece))
        self._view[start : self.held_bytes] = piece

    def release(self) -> None:
        """Count it no longer among those that are being received."""
        self._room.leave(self)

    def whole(self) -> Buffer:
        """Return the complete body, read-only."""
        return self._view.toreadonly()


Body = GatheredBody | SizedBody


def open_body(
    size_bytes: int | None, *, header_bytes: int, max_bytes: int, room: BodyRoom, sender: Sender
) -> Body:
    """Choose how to receive a body, before memory is taken for it.

    Args:
        size_bytes: Its announced size, if any.
        header_bytes: Size of the JSON header before the tensors.
        max_bytes: The largest body that is read.
        room: For all bodies of the process.
        sender: Is told when it is refused for the sake of others.

    Raises:
        PayloadTooLargeError: The announced size is over the limit.
    """
    if size_bytes is None or size_bytes <= SMALL_BYTES:
        return GatheredBody(max_bytes, room, sender)
    if size_bytes > max_bytes:
        raise too_large(size_bytes, max_bytes)
    return SizedBody(size_bytes, header_bytes, room, sender)


def too_large(size_bytes: int, max_bytes: int) -> PayloadTooLargeError:
    """Say that a body is over the limit."""
    return PayloadTooLargeError(
        f"request body of at least {size_bytes} bytes exceeds the limit of {max_bytes} bytes: send "
        "fewer rows per call, or raise BASCULE_MAX_REQUEST_BYTES"
    )


def too_slow(took_s: int, held_bytes: int) -> SlowRequestError:
    """Say that a body kept others out."""
    return SlowRequestError(
        f"the request is not whole after {took_s} s, {held_bytes} bytes of its body came, and "
        "other calls need their room: call again, and send it without a pause"
    )
