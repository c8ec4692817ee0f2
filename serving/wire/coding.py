"""Fast path. Compression of messages: gzip and deflate, in and out, within a size limit."""

import zlib
from collections.abc import Iterable
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.errors import UnsupportedCodingError

Buffer = bytes | memoryview

_GZIP_WBITS: Final = 31
_ZLIB_WBITS: Final = 15
_RAW_WBITS: Final = -15
_LEVEL: Final = 1  # replies are built while a client waits: speed before size
_CODINGS: Final = {"gzip": _GZIP_WBITS, "deflate": _ZLIB_WBITS}
_ZLIB_METHOD: Final = 8
_GZIP_START: Final = b"\x1f\x8b"
_ZLIB_START: Final = b"\x78"
_ZLIB_CHECK: Final = 31  # RFC 1950: the first two bytes are a multiple of it


def is_plain(coding: str) -> bool:
    """Say whether a `Content-Encoding` or `grpc-encoding` value means: not compressed."""
    return coding.strip().lower() in {"", "identity"}


def packing_of(message: Buffer) -> str | None:
    """Recognise a packed gRPC message by its first bytes; None: it is plain.

    Neither start is that of a message of the protocol: as protobuf, gzip's is a wire type that does
    not exist, and zlib's a field 15, which no request has.
    """
    head = bytes(message[:2])
    if head == _GZIP_START:
        return "gzip"
    is_zlib = head[:1] == _ZLIB_START and int.from_bytes(head, "big") % _ZLIB_CHECK == 0
    return "deflate" if is_zlib and len(head) == len(_GZIP_START) else None


def inflate(body: Buffer, coding: str, max_bytes: int) -> bytes:
    """Decompress a whole body; stops at `max_bytes`, so that a bomb costs no more than that.

    `deflate` is zlib's format, and raw deflate is taken as well.

    Raises:
        UnsupportedCodingError: The coding is neither gzip nor deflate.
        InvalidArgumentError: The stream is corrupt, cut, followed by something, or inflates to
            more than `max_bytes`.
    """
    wbits = _CODINGS.get(coding.strip().lower())
    if wbits is None:
        raise UnsupportedCodingError("Unsupported compression type")
    if not len(body):
        raise InvalidArgumentError("nothing to be decompressed")
    if wbits == _ZLIB_WBITS and body[0] & 0x0F != _ZLIB_METHOD:
        wbits = _RAW_WBITS
    stream = zlib.decompressobj(wbits)
    try:
        text = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise _corrupt() from error
    if len(text) > max_bytes:
        del text  # the error's traceback would keep it for as long as the error lives
        raise InvalidArgumentError(
            f"Decompressed data size exceeds the maximum allowed value of {max_bytes} bytes. "
            "Use --http-max-input-size to increase the limit."
        )
    if not stream.eof or stream.unused_data:
        raise _corrupt()
    return text


def deflate(parts: Iterable[Buffer], coding: str) -> bytes:
    """Compress buffers into one body; `coding` is what `reply_coding` gave."""
    stream = zlib.compressobj(_LEVEL, wbits=_CODINGS[coding])
    return b"".join([*(stream.compress(part) for part in parts), stream.flush()])


def reply_coding(accept_encoding: str) -> str | None:
    """Choose the coding of an infer reply: only one that was asked for alone, hence on purpose.

    HTTP libraries announce lists (`gzip, deflate, br`) unasked; obeying those would cost more
    than most models.
    """
    name, _, quality = accept_encoding.partition(";")
    name = name.strip().lower()
    if name not in _CODINGS:  # a list has a comma in it
        return None
    key, _, value = quality.replace(" ", "").partition("=")
    return None if key == "q" and value.rstrip("0") in {"", "."} | {"0", "0."} and value else name


def _corrupt() -> InvalidArgumentError:
    return InvalidArgumentError(
        "encountered inconsistent stream state during decompression: "
        "the body is not a complete stream of its Content-Encoding"
    )
