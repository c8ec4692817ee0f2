"""Reads an ONNX file without its weights: the same message, tensors' bytes left out.

A model is mostly weights, and none of them matter to whoever asks what the model is. The file is
walked field by field; payloads are skipped in place, so 500 MB cost the reading of some kilobytes.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

KEPT_BYTES: Final = 1024
"""Payloads up to this size stay: shapes and axes, which shape inference needs."""
MAX_SLIM_BYTES: Final = 256 << 20
MAX_DEPTH: Final = 50
BLOCK_BYTES: Final = 1 << 18
_MAX_VARINT_BYTES: Final = 10
_VARINT, _I64, _LENGTH, _I32 = 0, 1, 2, 5
_FIXED: Final = {_I64: 8, _I32: 4}

# Message type → field number → the type of the message in it: where tensors can be found.
_CHILDREN: Final = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_PAYLOADS: Final = frozenset({4, 5, 6, 7, 9, 10, 11})  # of a tensor: float_data … raw_data …


def slim(stream: BinaryIO, size_bytes: int) -> bytes:
    """Return a model's message without large payloads of tensors.

    Raises:
        ValueError: It is no protobuf message, is cut off, or is large without its weights.
    """
    walker = _Walker(stream, size_bytes)
    return b"".join(walker.message(0, size_bytes, "model", 0))


class _Walker:
    """One pass over a file."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self._size_bytes = size_bytes
        self._block = b""
        self._block_start = 0
        self._kept_bytes = 0

    def message(self, start: int, end: int, kind: str, depth: int) -> Iterator[bytes]:
        """Yield the pieces of a message that are kept."""
        if depth > MAX_DEPTH:
            raise ValueError(f"graphs stand more than {MAX_DEPTH} deep in one another")
        children = _CHILDREN[kind]
        place = start
        while place < end:
            tag, after_tag = self._varint(place, end)
            field, wire = tag >> 3, tag & 7
            if field == 0:
                raise ValueError("it is no protobuf message")
            if wire != _LENGTH:
                after = self._scalar_end(wire, after_tag, end)
                yield self._copy(place, after)
                place = after
                continue
            length, body = self._varint(after_tag, end)
            after = body + length
            if after > end:
                raise ValueError("it is cut off")
            is_large = length > KEPT_BYTES
            if is_large and field in children:
                inner = b"".join(self.message(body, after, children[field], depth + 1))
                yield _varint_bytes(tag) + _varint_bytes(len(inner)) + inner
            elif not (is_large and kind == "tensor" and field in _PAYLOADS):
                yield self._copy(place, after)
            place = after

    def _scalar_end(self, wire: int, place: int, end: int) -> int:
        if wire == _VARINT:
            return self._varint(place, end)[1]
        if wire not in _FIXED or place + _FIXED[wire] > end:
            raise ValueError("it is no protobuf message")
        return place + _FIXED[wire]

    def _copy(self, start: int, end: int) -> bytes:
        self._kept_bytes += end - start
        if self._kept_bytes > MAX_SLIM_BYTES:
            raise ValueError(f"it has more than {MAX_SLIM_BYTES} bytes beside its weights")
        return self._bytes(start, end - start)

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """Return a number and where it ends."""
        raw = self._bytes(place, min(_MAX_VARINT_BYTES, end - place))
        value = 0
        for index, byte in enumerate(raw):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004  the bit that says that more follows
                return value, place + index + 1
        raise ValueError("it is cut off, or no protobuf message")

    def _bytes(self, start: int, count: int) -> bytes:
        offset = start - self._block_start
        if offset >= 0 and offset + count <= len(self._block):
            return self._block[offset : offset + count]
        self._stream.seek(start)
        self._block = self._stream.read(max(count, BLOCK_BYTES))
        self._block_start = start
        if len(self._block) < count:
            raise ValueError("it is cut off")
        return self._block[:count]


def _varint_bytes(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits a byte
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
