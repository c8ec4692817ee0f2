"""Fast path. gRPC as HTTP/1.1 carries it between the edge and a worker.

::

    request body = flag (1 byte, 1: compressed), length (4 bytes, big-endian), message
    success      = status line, headers, one chunk (frame), trailers with grpc-status: 0
    error        = status line, headers, no chunk, trailers with grpc-status and grpc-message
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final
from urllib.parse import quote

import msgspec

from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.errors import WIRE
from serving.wire.error_text import error_text

Buffer = bytes | memoryview

_FRAME: Final = Struct(">BI")
FRAME_BYTES: Final = _FRAME.size
JOIN_BYTES: Final = 1 << 16  # below, one joined buffer is cheaper than a gathered write
MAX_FRAME_HEADS: Final = 256  # sizes come again: looking one up takes half as long as writing it
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n"
)
_CLOSE: Final = b"connection: close\r\n"
_END: Final = b"\r\n0\r\ngrpc-status: 0\r\n\r\n"
_SECONDS_OF_UNIT: Final = {
    ord("H"): 3600.0, ord("M"): 60.0, ord("S"): 1.0,
    ord("m"): 1e-3, ord("u"): 1e-6, ord("n"): 1e-9,
}  # fmt: skip
_MAX_TIMEOUT_DIGITS: Final = 8
_PLAIN: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class Frame(msgspec.Struct, frozen=True):
    """One length-prefixed message; `compressed` means packed with the call's `grpc-encoding`."""

    compressed: bool
    message: memoryview


def deframe(body: Buffer) -> Frame:
    """Take the one message of a unary request out of its frame.

    Raises:
        InvalidArgumentError: The body is shorter than it says, or its flag is unknown.
        UnsupportedError: There is more than one message.
    """
    size = len(body)
    if size < FRAME_BYTES:
        raise InvalidArgumentError(f"gRPC frame of {size} bytes: at least {FRAME_BYTES} expected")
    view = memoryview(body)
    flag, length = _FRAME.unpack_from(view)
    end = FRAME_BYTES + length
    if flag > 1:
        raise InvalidArgumentError(f"gRPC frame with flag {flag}: 0 or 1 expected")
    if size < end:
        raise InvalidArgumentError(
            f"gRPC frame announces {end - FRAME_BYTES} bytes, but {size - FRAME_BYTES} came"
        )
    if size > end:
        raise UnsupportedError(
            f"gRPC request has {size - end} bytes after its message: "
            "a unary call has exactly one message"
        )
    return Frame(flag == 1, view[FRAME_BYTES:])


def timeout_s(text: bytes) -> float:
    """Read a `grpc-timeout` header: up to 8 digits and a unit of `H M S m u n`.

    Raises:
        InvalidArgumentError: It is not of that form.
    """
    digits = text[:-1]
    unit_s = _SECONDS_OF_UNIT.get(text[-1]) if text else None
    if unit_s is None or not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS:
        raise InvalidArgumentError(
            f"invalid grpc-timeout '{text[:20].decode('latin-1')}': "
            "up to 8 digits and one of H M S m u n expected"
        )
    return int(digits) * unit_s


def success(
    message: Sequence[Buffer], *, headers: bytes = b"", close: bool = False
) -> list[Buffer]:
    """Build the whole HTTP/1.1 reply around an encoded message.

    Args:
        message: Its parts.
        headers: More header lines, each with its end: the call's initial metadata.
        close: The connection ends with it.

    Returns:
        Buffers to write one after the other: a single one when the message is small.
    """
    size = sum(map(len, message))
    parts = (_HEAD, headers, _CLOSE if close else b"", _frame_head(size))
    if size < JOIN_BYTES:
        return [b"".join((*parts, *message, _END))]
    return [b"".join(parts), *message, _END]


@lru_cache(maxsize=MAX_FRAME_HEADS)
def _frame_head(size: int) -> bytes:
    """Return what stands between an HTTP reply's headers and a message of `size` bytes."""
    return b"\r\n%x\r\n\0%b" % (size + FRAME_BYTES, size.to_bytes(4, "big"))


def failure(error: BasculeError, *, close: bool = False) -> bytes:
    """Build the whole HTTP/1.1 reply for a call that failed: only trailers."""
    return b"%b%b\r\n0\r\ngrpc-status: %d\r\ngrpc-message: %b\r\n\r\n" % (
        _HEAD, _CLOSE if close else b"", WIRE[error.code].grpc, grpc_message(error_text(error))
    )  # fmt: skip


def grpc_message(text: str) -> bytes:
    """Percent-encode a status message: UTF-8, all but printable ASCII, and `%`, escaped."""
    return quote(text, safe=_PLAIN, errors="replace").encode("ascii")
