"""Fast path. Heads of infer requests that came before, by their bytes.

A client sends the same head again and again, and the edge adds the same to it. What one means was
found by the parser once; a request whose head is known needs no parser, if it came in one piece.

::

    request = head with `content-length`, body
    request = head with `transfer-encoding: chunked`, size, body, "0": as the edge carries gRPC
"""

from functools import lru_cache
from typing import Final

import msgspec

END: Final = b"\r\n\r\n"
CRLF: Final = b"\r\n"
LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
MAX_HEADS: Final = 256
MAX_HEAD_BYTES: Final = 2048
MAX_BODY_BYTES: Final = 1 << 16
"""Larger bodies come in pieces, and are received into their place."""
SELDOM: Final = 64
"""One in so many is kept while hardly any comes again: heads with a trace in them, say."""
UNUSUAL: Final = frozenset({b"expect", b"upgrade"})


class KnownHead(msgspec.Struct, frozen=True):
    """What a head says. Its headers belong to many calls: they are read only."""

    target: bytes
    headers: dict[bytes, bytes]
    body_bytes: int
    """-1: chunked."""


class KnownHeads:
    """Those of a process."""

    def __init__(self, max_body_bytes: int) -> None:
        """Know none; requests with larger bodies never are."""
        self._max_body_bytes = min(max_body_bytes, MAX_BODY_BYTES)
        self._by_bytes: dict[bytes, KnownHead] = {}
        self._hit_count = 0
        self._passed_count = 0
        self._is_reluctant = False

    def split(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Return the head and the body of a request; None: it is not known, or not all of it."""
        end = data.find(END) + len(END)
        head = self._by_bytes.get(data[:end])
        if head is None:
            return None
        if head.body_bytes >= 0:
            if len(data) - end != head.body_bytes:
                return None
            self._hit_count += 1
            return head, data[end:]
        body = self._only_chunk(data, end)
        if body is None:
            return None
        self._hit_count += 1
        return head, body

    def remember(self, data: bytes, target: bytes, headers: dict[bytes, bytes]) -> None:
        """Know the head of a whole infer request that the parser understood.

        Args:
            data: The bytes that it came in, alone; if not all of it, nothing is remembered.
            target: What it asks for.
            headers: Names in lower case.
        """
        end = data.find(END) + len(END)
        if end > MAX_HEAD_BYTES or not UNUSUAL.isdisjoint(headers):
            return
        length = headers.get(b"content-length")
        if length is not None:
            body_bytes = int(length)
            is_alone = len(data) - end == body_bytes and b"transfer-encoding" not in headers
        else:
            body_bytes = -1
            is_alone = self._only_chunk(data, end) is not None
        if not is_alone or body_bytes > self._max_body_bytes:
            return
        self._passed_count += 1
        if self._is_reluctant and self._passed_count % SELDOM:
            return
        if len(self._by_bytes) >= MAX_HEADS:
            self._is_reluctant = self._hit_count < MAX_HEADS
            self._hit_count = 0
            self._by_bytes.clear()
        self._by_bytes[data[:end]] = KnownHead(target, headers, body_bytes)

    def _only_chunk(self, data: bytes, begin: int) -> bytes | None:
        """Return a chunked body that is one chunk, and all that is left of the data."""
        line_end = data.find(CRLF, begin)
        body_begin = line_end + len(CRLF)
        body_end = len(data) - len(LAST_CHUNK)
        size = body_end - body_begin
        if not 0 < size <= self._max_body_bytes or not data.endswith(LAST_CHUNK):
            return None
        return data[body_begin:body_end] if data[begin:line_end] in _spellings(size) else None


@lru_cache(maxsize=MAX_HEADS)
def _spellings(size: int) -> tuple[bytes, bytes]:
    """Return how a chunk's size is usually written."""
    return b"%X" % size, b"%x" % size
