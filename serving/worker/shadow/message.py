"""Copies of calls on their way from a live worker to a candidate's. Pure.

::

    message = copy*
    copy    = size of the head (4 bytes, little-endian), head (JSON: `CopyHead`),
              the request's body as the codec of its wire takes it, the raw outputs

A message comes from another worker of the installation; its sizes are checked all the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

import msgspec
import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.monitor.comparison import Pair
from serving.wire.tensors import Buffer, encode_strings, raw_bytes

Wire = Literal["json", "proto"]

_SIZE_BYTES: Final = 4


class NamedOutput(msgspec.Struct, frozen=True):
    """One output that the live version gave."""

    name: str
    datatype: Datatype
    array: Any
    """BYTES are object arrays of `str` or `bytes`."""


class RawRequest(msgspec.Struct, frozen=True):
    """A request as the codec of its wire takes it."""

    wire: Wire
    body: Buffer
    """Unpacked; on gRPC the message without its frame."""
    header_length: int | None = None
    """Of a JSON request, as `V2JsonCodec.decode_request` takes it."""


class LiveCall(msgspec.Struct, frozen=True):
    """A call that was answered."""

    request: RawRequest
    outputs: tuple[NamedOutput, ...]
    """Those that the caller asked for."""
    held_bytes: int
    """Memory that is kept from being freed: outputs are often views of a whole batch's."""


class OutputHead(msgspec.Struct, frozen=True):
    """One output of a copy."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    size_bytes: int


class CopyHead(msgspec.Struct, frozen=True):
    """What stands before the bytes of a copy."""

    model: str
    version: int
    against: int
    wire: Wire
    header_length: int | None
    request_bytes: int
    outputs: tuple[OutputHead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCopy:
    """A copy as it was received."""

    head: CopyHead
    request: memoryview
    outputs: tuple[memoryview, ...]

    @property
    def pair(self) -> Pair:
        """Who is compared with whom."""
        return Pair(self.head.model, self.head.version, self.head.against)


class ShadowReply(msgspec.Struct, frozen=True):
    """What became of a message's copies."""

    compared: int = 0
    failed: int = 0
    refused: int = 0
    """Not executed: the candidate is busy, or does not compare with this version."""


def live_call(request: RawRequest, outputs: Sequence[NamedOutput]) -> LiveCall:
    """Put a call together."""
    held_bytes = len(request.body)
    for output in outputs:
        held_bytes += _owned_bytes(output.array)
    return LiveCall(request, tuple(outputs), held_bytes)


def encode_copy(pair: Pair, call: LiveCall) -> list[Buffer]:
    """Return a copy as buffers to write one after the other; large tensors are not copied."""
    request = call.request
    raws = [_raw(output) for output in call.outputs]
    head = CopyHead(
        pair.model,
        pair.version,
        pair.against,
        request.wire,
        request.header_length,
        len(request.body),
        tuple(
            [
                OutputHead(output.name, output.datatype, output.array.shape, len(raw))
                for output, raw in zip(call.outputs, raws, strict=True)
            ]
        ),
    )
    text = msgspec.json.encode(head)
    return [len(text).to_bytes(_SIZE_BYTES, "little") + text, request.body, *raws]


def read_copies(message: bytes) -> Iterator[ShadowCopy]:
    """Take a message apart.

    Raises:
        InvalidArgumentError: It has another form.
    """
    view = memoryview(message)
    at = 0
    while at < len(view):
        start = at + _SIZE_BYTES
        end = start + int.from_bytes(view[at:start], "little")
        try:
            head = msgspec.json.decode(view[start:end], type=CopyHead)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"copy of a call at byte {at}: {error}") from error
        sizes = [head.request_bytes, *(output.size_bytes for output in head.outputs)]
        at = end + sum(sizes)
        if min(sizes) < 0 or at > len(view):
            raise InvalidArgumentError(
                f"copy of a call ends at byte {at} of a message of {len(view)} bytes"
            )
        request, *outputs = _cut(view[end:at], sizes)
        yield ShadowCopy(head=head, request=request, outputs=tuple(outputs))


def read_output(head: OutputHead, raw: memoryview) -> Array:
    """Return an output as an array; BYTES as an object array of `bytes`.

    Raises:
        InvalidArgumentError: Its bytes do not fill its shape.
    """
    if head.datatype is Datatype.BYTES:
        return _elements(head, bytes(raw))
    dtype = DTYPES[head.datatype]
    if min(head.shape, default=0) < 0 or prod(head.shape) * dtype.itemsize != len(raw):
        raise _misfit(head)
    return np.frombuffer(raw, dtype).reshape(head.shape)


def _elements(head: OutputHead, data: bytes) -> Array:
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _SIZE_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        elements.append(data[start:at])
    if at != len(data) or min(head.shape, default=0) < 0 or prod(head.shape) != len(elements):
        raise _misfit(head)
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(head.shape)


def _misfit(head: OutputHead) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"copied output '{head.name[:80]}' has {head.size_bytes} bytes, which are no "
        f"{head.datatype} tensor of shape {list(head.shape)[:8]}"
    )


def _cut(view: memoryview, sizes: Iterable[int]) -> Sequence[memoryview]:
    pieces: list[memoryview] = []
    at = 0
    for size in sizes:
        pieces.append(view[at : at + size])
        at += size
    return pieces


def _raw(output: NamedOutput) -> Buffer:
    if output.datatype is Datatype.BYTES:
        return encode_strings(output.array)
    return raw_bytes(output.array)


def _owned_bytes(array: Array) -> int:
    owner = array.base if isinstance(array.base, np.ndarray) else array
    if array.dtype != object:
        return owner.nbytes
    texts = sum(len(text) for text in array.flat if isinstance(text, str | bytes))
    return owner.nbytes + texts
