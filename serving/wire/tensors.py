"""Fast path. Tensor bytes ↔ numpy: sizes, BYTES elements, buffers of arrays.

Elements are little-endian, row-major and without padding. A BYTES element is its length (uint32,
little-endian) and its bytes; in memory it is a `str`, because ONNX Runtime takes nothing else.
Sizes are Python integers: a shape from outside cannot overflow them.
"""

import sys
from math import prod
from types import MappingProxyType
from typing import Final

import numpy as np

from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.wire.call import Array

Buffer = bytes | memoryview
Tensor = Buffer | Array
"""Raw bytes, or for BYTES an object array of `str`."""

MAX_ELEMENTS: Final = 2**63 - 1
MAX_EMPTY_ELEMENTS: Final = 2**22
"""What the other dimensions of an empty tensor may multiply to: no body pays for them."""
VIEW_BYTES: Final = 1 << 16  # below, a copy is cheaper than a view that keeps its batch alive
_LENGTH_BYTES: Final = 4

DATATYPES: Final = MappingProxyType({str(datatype): datatype for datatype in Datatype})
"""Datatypes by their spelling on the wire."""
ITEM_BYTES: Final = MappingProxyType(
    {
        datatype: 0 if datatype is Datatype.BYTES else DTYPES[datatype].itemsize
        for datatype in DTYPES
    }
)
"""Bytes of one element; 0 for BYTES, whose elements have none in common."""


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape as the protocol's messages do: `[-1,16]`."""
    return f"[{','.join(map(str, shape))}]"


def array_bytes(array: Array) -> int:
    """Return the memory that an array keeps, with its texts."""
    if array.dtype != object:
        return array.nbytes
    return array.nbytes + sum(map(sys.getsizeof, array.ravel().tolist()))


def element_count(shape: tuple[int, ...], name: str) -> int:
    """Count the elements of a shape without negative dimensions.

    Raises:
        InvalidArgumentError: There are more than `MAX_ELEMENTS`, or none and the other dimensions
            are large: what a model makes of an empty tensor may have these.
    """
    count = prod(shape)
    if not count and prod([max(size, 1) for size in shape]) > MAX_EMPTY_ELEMENTS:
        raise InvalidArgumentError(
            f"shape {shape_text(shape)} of input '{name}' has no element, and its other dimensions "
            f"multiply to more than {MAX_EMPTY_ELEMENTS}"
        )
    if count > MAX_ELEMENTS:
        raise InvalidArgumentError(
            f"shape {shape_text(shape)} of input '{name}' causes total element count to exceed "
            f"maximum size of {MAX_ELEMENTS}"
        )
    return count


def decode_strings(raw: Buffer, shape: tuple[int, ...], *, name: str, model: str) -> Array:
    """Decode a BYTES tensor.

    Returns:
        An object array of `str` in `shape`.

    Raises:
        InvalidArgumentError: Elements are cut, too few, too many, or not UTF-8.
    """
    data = bytes(raw)
    where = f"inference input '{name}' for model '{model}'"
    count = element_count(shape, name)
    elements: list[str] = []
    at, end = 0, len(data)
    while at < end:
        if len(elements) == count:
            raise InvalidArgumentError(
                f"unexpected number of string elements {count + 1} for {where}, expecting {count}"
            )
        start = at + _LENGTH_BYTES
        if start > end:
            raise InvalidArgumentError(
                f"incomplete string length indicator for {where}, expecting {_LENGTH_BYTES} bytes "
                f"but only {end - at} bytes available. Write each element as its length (uint32, "
                "little-endian) and its bytes"
            )
        at = start + int.from_bytes(data[at:start], "little")
        if at > end:
            raise InvalidArgumentError(
                f"incomplete string data for {where}, expecting string of length {at - start} "
                f"but only {end - start} bytes available"
            )
        elements.append(utf8(data[start:at], index=len(elements), where=where))
    return string_array(elements, shape, where=where)


def check_bools(raw: Buffer | Array, name: str) -> None:
    """Check the bytes of a BOOL tensor: engines take other values than 0 and 1 for granted.

    Raises:
        InvalidArgumentError: There is another value.
    """
    others = bytes(raw).translate(None, b"\0\1")
    if others:
        raise InvalidArgumentError(
            f"input '{name}' is BOOL and has the byte {others[0]}: 0 or 1 expected"
        )


def utf8(data: Buffer, *, index: int, where: str) -> str:
    """Decode one BYTES element.

    Raises:
        InvalidArgumentError: It is not UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(
            f"element {index} of {where} is not valid UTF-8 ({error.reason} at byte "
            f"{error.start}): BYTES elements are text here; send other data as base64 or UINT8"
        ) from error


def string_array(elements: list[str], shape: tuple[int, ...], *, where: str) -> Array:
    """Give decoded BYTES elements their shape.

    Raises:
        InvalidArgumentError: Their number is not that of the shape.
    """
    count = prod(shape)
    if len(elements) < count:
        raise InvalidArgumentError(
            f"expected {count} string elements for {where}, got {len(elements)}"
        )
    if len(elements) > count:
        raise InvalidArgumentError(
            f"unexpected number of string elements {len(elements)} for {where}, expecting {count}"
        )
    array = np.empty(count, dtype=object)
    array[:] = elements
    return array.reshape(shape)


def encode_strings(array: Array) -> bytes:
    """Encode an object array of `str` or `bytes` as BYTES elements.

    Raises:
        EngineError: An element is neither, or no Unicode text.
    """
    parts: list[bytes] = []
    for element in array.reshape(-1).tolist():
        data = element_bytes(element)
        parts.append(len(data).to_bytes(_LENGTH_BYTES, "little"))
        parts.append(data)
    return b"".join(parts)


def element_bytes(element: object) -> bytes:
    """Return the bytes of one BYTES element of an output.

    Raises:
        EngineError: It is neither text nor bytes.
    """
    if isinstance(element, bytes):
        return element
    if not isinstance(element, str):
        raise EngineError(f"the model gave a {type(element).__name__} where text was declared")
    try:
        return element.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EngineError(f"the model gave text that is not Unicode: {error.reason}") from error


def raw_bytes(array: Array) -> Buffer:
    """Return the elements of a fixed-size array as raw bytes; large ones without a copy."""
    if array.nbytes < VIEW_BYTES:
        return array.tobytes()
    # A view as bytes first: BF16 has no buffer format of its own.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
