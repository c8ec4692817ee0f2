"""Pure: the file format of the prediction log. What was written whole can be read.

::

    segment = frame*
    frame   = "BPL1", kind (1 byte), CRC-32 (4), size of the payload (8), payload
              numbers are little-endian; the CRC is of kind, size and payload
    payload = size of the head (4), head (JSON), raw tensors

A process that dies in the middle of a write leaves a frame that is cut off: readers stop before it.
A frame that a disk has damaged hides no other: readers go on where it ends.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

import msgspec

from serving.wire.tensors import Buffer

MAGIC: Final = b"BPL1"
_HEAD: Final = Struct("<4sBIQ")
_MAGIC: Final = re.compile(re.escape(MAGIC))
_SIZE: Final = Struct("<I")
_CHECKED: Final = Struct("<BQ")
FRAME_BYTES: Final = _HEAD.size


class Frame(msgspec.Struct, frozen=True):
    """One whole frame."""

    kind: int
    head: memoryview
    tail: memoryview
    """The raw tensors."""
    begin: int
    end: int
    """Where the next frame begins."""


def encode_frame(kind: int, head: bytes, tail: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return a frame as buffers to write one after the other; tensors are not copied."""
    size = _SIZE.size + len(head) + sum(map(len, tail))
    start = _SIZE.pack(len(head)) + head
    check = zlib.crc32(start, zlib.crc32(_CHECKED.pack(kind, size)))
    for part in tail:
        check = zlib.crc32(part, check)
    return [_HEAD.pack(MAGIC, kind, check, size) + start, *tail]


def read_frames(content: Buffer) -> Iterator[Frame]:
    """Yield the whole frames of a segment, in order; what is damaged or cut off is left out."""
    view = memoryview(content)
    at: int | None = 0
    while at is not None:
        frame = _frame(view, at)
        if frame is not None:
            yield frame
        at = _after_damage(view, at) if frame is None else frame.end


def _after_damage(view: memoryview, at: int) -> int | None:
    """Return where the next frame may begin after one that is not whole; None: nowhere.

    Where the frame's head says its end, none is looked for inside of it: tensors are their
    senders', who may have put frames into them.
    """
    if at + FRAME_BYTES > len(view):
        return None
    magic, _, _, size = _HEAD.unpack_from(view, at)
    end: int = at + FRAME_BYTES + size
    if magic == MAGIC and end > len(view):
        return None  # it is cut off
    if magic == MAGIC and (end == len(view) or bytes(view[end : end + len(MAGIC)]) == MAGIC):
        return end
    begins = (found.start() for found in _MAGIC.finditer(view, at + 1))
    return next((begin for begin in begins if _frame(view, begin) is not None), None)


def _frame(view: memoryview, at: int) -> Frame | None:
    start = at + FRAME_BYTES
    if start > len(view):
        return None
    magic, kind, check, size = _HEAD.unpack_from(view, at)
    end = start + size
    if magic != MAGIC or end > len(view) or size < _SIZE.size:
        return None
    payload = view[start:end]
    if zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, size))) != check:
        return None
    (head_bytes,) = _SIZE.unpack_from(payload)
    split = _SIZE.size + head_bytes
    if split > size:
        return None
    return Frame(kind, payload[_SIZE.size : split], payload[split:], at, end)
