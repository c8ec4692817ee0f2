"""Replies that wait for clients who do not read: how many bytes they may be, and for how long.

A connection counts from the moment that it takes no more bytes, so replies that are written at once
cost nothing. What waits is refused beyond a limit; before that, while much waits, connections that
have taken nothing for long are ended, so that they keep no one else from large replies.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from serving.errors import QueueFullError

PATIENT_BYTES: Final = 256 << 20
"""A worker's: while less waits, clients may rest as long as they like."""
STALL_S: Final = 30.0
LOOK_S: Final = 5.0


log = structlog.get_logger(__name__)


class _Seen(NamedTuple):
    size_bytes: int
    since_s: float


class UnsentReplies:
    """Those of all connections of one listener. Belongs to its loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_bytes: int,
        *,
        patient_bytes: int = PATIENT_BYTES,
    ) -> None:
        """Begin with none.

        Args:
            loop: The listener's.
            max_bytes: With more, large replies are refused.
            patient_bytes: With more, connections that stand still are ended.
        """
        self._loop = loop
        self._max_bytes = max_bytes
        self._patient_bytes = patient_bytes
        self._held: dict[asyncio.Transport, _Seen] = {}
        self._is_looking = False

    def begin(self, transport: asyncio.Transport) -> None:
        """Count a connection that takes no more bytes."""
        self._held[transport] = _Seen(transport.get_write_buffer_size(), self._loop.time())
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LOOK_S, self._look)

    def end(self, transport: asyncio.Transport) -> None:
        """Forget a connection: it takes bytes again, or is lost."""
        self._held.pop(transport, None)

    def refusal(self, reply: Sequence[bytes | memoryview]) -> QueueFullError | None:
        """Return why there is no room for a large reply; None: there is."""
        if not self._held:
            return None
        used_bytes = sum(transport.get_write_buffer_size() for transport in self._held)
        size_bytes = sum(map(len, reply))
        if used_bytes + size_bytes <= self._max_bytes:
            return None
        return QueueFullError(
            f"replies: {used_bytes} of {self._max_bytes} bytes wait for clients that read slowly, "
            f"and this one has {size_bytes}; retry, or ask for fewer rows per call"
        )

    def _look(self) -> None:
        """End connections that stand still, while much waits; look again while anything does."""
        now_s, unsent_bytes = self._loop.time(), 0
        for transport, seen in self._held.items():
            size_bytes = transport.get_write_buffer_size()
            since_s = now_s if size_bytes < seen.size_bytes else seen.since_s
            self._held[transport] = _Seen(size_bytes, since_s)
            unsent_bytes += size_bytes
        if unsent_bytes > self._patient_bytes:
            self._end_stalled(now_s)
        self._is_looking = bool(self._held)
        if self._is_looking:
            self._loop.call_later(LOOK_S, self._look)

    def _end_stalled(self, now_s: float) -> None:
        stalled = [each for each, seen in self._held.items() if now_s - seen.since_s >= STALL_S]
        for transport in stalled:
            size_bytes = self._held.pop(transport).size_bytes
            log.warning("client_does_not_read", stalled_s=STALL_S, unsent_bytes=size_bytes)
            transport.abort()
