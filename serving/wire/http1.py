"""Fast path. Heads of HTTP/1.1 replies: status lines made once, infer replies, errors."""

from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import orjson

from runtimes.errors import BasculeError, Code
from serving.errors import WIRE, QueueTimeoutError
from serving.wire.error_text import error_text
from serving.wire.tensors import Buffer
from serving.wire.v2_json import JsonReply

JOIN_BYTES: Final = 1 << 16  # below, one joined buffer is cheaper than a gathered write
MAX_STARTS: Final = 256  # sizes come again: looking one up takes half as long as writing it


def _status_line(status: int) -> bytes:
    phrase = "Client Closed Request" if status == 499 else HTTPStatus(status).phrase  # noqa: PLR2004  nginx's number, in no registry
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES: Final = MappingProxyType(
    {status: _status_line(status) for status in {200, *(wire.http for wire in WIRE.values())}}
)
_OK: Final = STATUS_LINES[200]
_CLOSE: Final = b"connection: close\r\n"
_JSON_HEAD: Final = _OK + b"content-type: application/json\r\ncontent-length: %d\r\n"
_BINARY_HEAD: Final = _OK + (
    b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
    b"content-length: %d\r\n"
)
_END: Final = b"\r\n"


def infer_reply(reply: JsonReply, *, close: bool = False) -> list[Buffer]:
    """Build the whole reply to an infer call.

    Returns:
        Buffers to write one after the other: a single one when the reply is small.
    """
    head, tail, header_length = reply.head, reply.tail, reply.header_length
    size = len(head) + (len(tail[0]) if len(tail) == 1 else sum(map(len, tail)))
    start = _start(header_length, size)
    end = _CLOSE + _END if close else _END
    if size < JOIN_BYTES:
        return [b"".join((start, reply.http_headers, end, head, *tail))]
    return [b"".join((start, reply.http_headers, end, head)), *tail]


@lru_cache(maxsize=MAX_STARTS)
def _start(header_length: int | None, size: int) -> bytes:
    return _JSON_HEAD % size if header_length is None else _BINARY_HEAD % (header_length, size)


def packed_infer_reply(
    body: bytes, reply: JsonReply, *, coding: str, close: bool = False
) -> list[Buffer]:
    """Build the reply around its compressed body; `coding` is `gzip` or `deflate`."""
    header_length = reply.header_length
    kind = b"application/json" if header_length is None else b"application/octet-stream"
    extra = reply.http_headers
    if header_length is not None:
        extra += b"inference-header-content-length: %d\r\n" % header_length
    head = b"%bcontent-type: %b\r\ncontent-encoding: %b\r\n%bcontent-length: %d\r\n%b\r\n" % (
        _OK, kind, coding.encode("ascii"), extra, len(body), _CLOSE if close else b""
    )  # fmt: skip
    return [head, body]


def error_reply(error: BasculeError, *, close: bool = False) -> bytes:
    """Build the whole reply for a call that failed, with the body `{"error": …}`."""
    wire = WIRE[error.code]
    body = orjson.dumps({"error": error_text(error)})
    again_s = error.retry_after_s if isinstance(error, QueueTimeoutError) else 1
    extra = b"retry-after: %d\r\n" % again_s if wire.retry else b""
    if error.code is Code.UNSUPPORTED_CODING:
        extra += b"accept-encoding: gzip, deflate\r\n"
    return b"%bcontent-type: application/json\r\n%bcontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINES[wire.http], extra, len(body), _CLOSE if close else b"", body
    )  # fmt: skip
