"""Fast path. Protobuf's wire format: a walk over untrusted bytes, and the few parts of an encoder.

::

    message = (tag, payload)*           tag = varint: field number << 3 | wire type
    wire type 0: varint (at most 10 bytes), 1: 8 bytes, 2: varint length and that many bytes,
    5: 4 bytes; 3 and 4 (groups) are refused: no message that we read has them

No length is trusted: a field that reaches beyond its message is an error, and nothing here
recurses. Unknown fields are the caller's to skip.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.wire.call import Array

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_FIXED_BYTES: Final = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10
_MASK64: Final = 2**64 - 1
_CONTINUES: Final = 0x80
MAX_FIELDS: Final = 1 << 16
"""Of a request and of the messages in it, its tensors' contents not counted: each takes a fraction
of a microsecond, and a worker decodes one request after the other."""

Field = tuple[int, int, int, int]
"""Number, wire type, start and end of the payload (of the varint's bytes, for wire type 0)."""
Budget = Iterator[int]
"""Gives as many numbers as fields may still be walked; walks of one request share it."""


class ProtobufError(InvalidArgumentError):
    """The bytes are no message of the expected form."""


def read_varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """Read an unsigned varint.

    Returns:
        Its value and where the next byte is.

    Raises:
        ProtobufError: It is cut or longer than 10 bytes.
    """
    value = shift = 0
    last = min(end, at + _MAX_VARINT_BYTES)
    while at < last:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            return value & _MASK64, at
        shift += 7
    raise ProtobufError(f"malformed protobuf message: bad varint before byte {at}")


def budget_of(most: int = MAX_FIELDS) -> Budget:
    """Return a budget of so many fields."""
    return iter(range(most))


def fields(  # noqa: C901, PLR0912  the hot loop
    view: memoryview, at: int, end: int, budget: Budget
) -> Iterator[Field]:
    """Walk the fields of the message in `view[at:end]`, as far as the budget goes.

    Raises:
        ProtobufError: A field is cut, a group, or of an unknown wire type, or one too many.
    """
    if at >= end:
        return
    for _ in budget:
        tag = view[at]
        if tag < _CONTINUES:
            at += 1
        else:
            tag, at = read_varint(view, at, end)
        wire = tag & 7
        start = at
        if wire == BYTES:
            if at < end and view[at] < _CONTINUES:
                size, start = view[at], at + 1
            else:
                size, start = read_varint(view, at, end)
            at = start + size
        elif wire == VARINT:
            _, at = read_varint(view, at, end)
        else:
            at = start + _fixed_bytes(wire, start)
        if at > end or tag < 8:  # noqa: PLR2004  field number 0
            raise ProtobufError(f"malformed protobuf message: bad field at byte {start}")
        yield tag >> 3, wire, start, at
        if at >= end:
            return
    raise ProtobufError(f"too many fields in one request before byte {at}")


def refuse_many_fields(message: bytes, path: tuple[int, ...] = ()) -> None:
    """Refuse a message of very many fields before an object is made of each.

    Args:
        message: Of a call that no codec of ours reads.
        path: Numbers of fields, from the outside in, whose messages are walked as well.

    Raises:
        ProtobufError: It has over `MAX_FIELDS`, or is malformed.
    """
    view, budget = memoryview(message), budget_of()
    messages = [(0, len(view))]
    for inner in (*path, None):
        messages = [
            (start, end)
            for begin, limit in messages
            for number, wire, start, end in fields(view, begin, limit, budget)
            if number == inner and wire == BYTES
        ]


def _fixed_bytes(wire: int, at: int) -> int:
    size = _FIXED_BYTES.get(wire)
    if size is None:
        raise ProtobufError(f"malformed protobuf message: wire type {wire} at byte {at}")
    return size


def text(view: memoryview, start: int, end: int) -> str:
    """Read a string field.

    Raises:
        ProtobufError: It is not UTF-8.
    """
    try:
        return str(view[start:end], "utf-8")
    except UnicodeDecodeError as error:
        raise ProtobufError(
            f"malformed protobuf message: string at byte {start} is not UTF-8"
        ) from error


def signed(value: int) -> int:
    """Return an int64 field's value from its varint."""
    return value - 2**64 if value >> 63 else value


def varint_count(packed: bytes) -> int:
    """Count the varints of a run."""
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < _CONTINUES))


def varint_array(packed: bytes) -> Array:
    """Decode a run of varints into uint64.

    Raises:
        ProtobufError: One is cut or longer than 10 bytes.
    """
    octets = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(octets < _CONTINUES)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        raise ProtobufError("malformed protobuf message: cut varint in tensor contents")
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > _MAX_VARINT_BYTES:
        raise ProtobufError("malformed protobuf message: overlong varint in tensor contents")
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        longer = lengths > place
        part = (octets[starts[longer] + place] & 0x7F).astype(np.uint64)
        values[longer] |= part << np.uint64(7 * place)
    return values


def varint(value: int) -> bytes:
    """Encode an unsigned integer."""
    if value < _CONTINUES:
        return bytes((value,))
    encoded = bytearray()
    while value >= _CONTINUES:
        encoded.append(value & 0x7F | _CONTINUES)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def delimited(number: int, payload: bytes) -> bytes:
    """Encode a string, bytes or message field with a number below 16; nothing if it is empty."""
    if not payload:
        return b""
    return b"%b%b%b" % (bytes((number << 3 | BYTES,)), varint(len(payload)), payload)
