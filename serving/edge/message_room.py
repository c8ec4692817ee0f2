"""What the gRPC front desk may hold at a time, counted in bytes of messages.

A unary call's message is counted when HAProxy announces its size, before it is read; a message of a
stream when it has come, since nobody knows its size before. Replies are counted and never refused:
their calls have run, and new ones wait outside until they are gone.
"""

from typing import Final

from serving.errors import NoRoomError

MAX_MESSAGES_BYTES: Final = 256 << 20
"""Of all messages together. One alone is always let in: its own limit is that of a request."""
SMALL_BYTES: Final = 64 << 10
"""Unary calls of such a size are always read: there are at most so many calls."""
SIZE_HEADER: Final = "bascule-message-bytes"
"""Set by HAProxy: the size that the first message of a unary call announces."""


class MessageRoom:
    """Bytes of messages that are being read, answered or sent."""

    def __init__(self, max_bytes: int = MAX_MESSAGES_BYTES) -> None:
        """Begin with none."""
        self.used_bytes = 0
        self._max_bytes = max_bytes

    def take(self, size_bytes: int) -> None:
        """Make room for a message.

        Raises:
            NoRoomError: There is none.
        """
        if self.used_bytes and self.used_bytes + size_bytes > self._max_bytes:
            raise NoRoomError(
                f"messages of streams and compressed calls: {self.used_bytes} of "
                f"{self._max_bytes} bytes are in use, and this one has {size_bytes}; retry, or "
                "send uncompressed unary calls, which go to a worker directly"
            )
        self.used_bytes += size_bytes

    def hold(self, size_bytes: int) -> None:
        """Count a reply, which is not refused."""
        self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Take bytes out again."""
        self.used_bytes -= size_bytes
