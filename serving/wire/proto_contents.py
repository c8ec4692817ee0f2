"""Fast path. Typed `InferTensorContents` of a gRPC request → raw tensor bytes.

Each field holds one kind of element; several datatypes share the 32-bit ones, and an element that
does not fit its datatype is an error. FP16 and BF16 have no field.
"""

from types import MappingProxyType
from typing import Final

import numpy as np

from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import Array
from serving.wire.input_checks import GivenInput
from serving.wire.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Budget,
    ProtobufError,
    fields,
    varint_array,
    varint_count,
)
from serving.wire.request_limits import LARGE_BYTES, MAX_TEXTS, refuse_texts
from serving.wire.tensors import Tensor, element_count, string_array, utf8

MAX_UNPACKED: Final = 1 << 18
"""Elements that come one by one, as no client of today sends them: each takes some microseconds."""
MAX_TEXT_FIELDS: Final = 2 * MAX_TEXTS
"""Texts of all tensors of one request that come as typed contents."""

# Field number → the datatype that it is named after, and the wire type of an unpacked element.
_FIELDS: Final = MappingProxyType(
    {
        1: (Datatype.BOOL, VARINT),
        2: (Datatype.INT32, VARINT),
        3: (Datatype.INT64, VARINT),
        4: (Datatype.UINT32, VARINT),
        5: (Datatype.UINT64, VARINT),
        6: (Datatype.FP32, FIXED32),
        7: (Datatype.FP64, FIXED64),
        8: (Datatype.BYTES, BYTES),
    }
)
_FIELD_OF: Final = MappingProxyType(
    {
        **{datatype: number for number, (datatype, _) in _FIELDS.items()},
        Datatype.INT8: 2,
        Datatype.INT16: 2,
        Datatype.UINT8: 4,
        Datatype.UINT16: 4,
    }
)
_VARINT_AS: Final = MappingProxyType(
    {
        1: np.dtype("?"),
        2: np.dtype("<i4"),
        3: np.dtype("<i8"),
        4: np.dtype("<u4"),
        5: np.dtype("<u8"),
    }
)


def tensor_from_contents(
    view: memoryview,
    spans: list[tuple[int, int]],
    given: GivenInput,
    *,
    model: str,
    budget: Budget,
) -> Tensor:
    """Read one input's typed contents.

    Args:
        view: The whole message.
        spans: Where its `contents` messages are; several are one after the other.
        given: What the request says of the input.
        model: For the message.
        budget: Of `MAX_UNPACKED` fields, or for BYTES of `MAX_TEXT_FIELDS`; one a request.

    Returns:
        Raw little-endian bytes, or for BYTES an object array of `str`.

    Raises:
        InvalidArgumentError: They are of another datatype, out of range, or malformed.
    """
    if given.datatype is Datatype.BYTES:
        return _texts(view, spans, given, model, budget)
    pieces: list[memoryview] = []
    wanted = _FIELD_OF.get(given.datatype, 0)
    for start, end in spans:
        for number, wire, first, last in fields(view, start, end, budget):
            kind = _FIELDS.get(number)
            if kind is None or wire not in (kind[1], BYTES):
                continue
            if number != wanted:
                raise _other_type(kind[0], given, model)
            pieces.append(view[first:last])
    packed = b"".join(pieces)
    if wanted in _VARINT_AS:
        _refuse_surplus(packed, given, model)
        return _from_varints(varint_array(packed), _VARINT_AS[wanted], given)
    if len(packed) % DTYPES[given.datatype].itemsize:
        raise ProtobufError("malformed protobuf message: cut element in tensor contents")
    return packed


def _refuse_surplus(packed: bytes, given: GivenInput, model: str) -> None:
    """Refuse varints that are more than the shape needs: decoding one takes forty bytes."""
    count = element_count(given.shape, given.name)
    found = varint_count(packed) if len(packed) > LARGE_BYTES else 0
    if found > count:
        itemsize = DTYPES[given.datatype].itemsize
        raise InvalidArgumentError(
            f"input byte size mismatch for input '{given.name}' for model '{model}'. "
            f"Expected {count * itemsize}, got {found * itemsize}"
        )


def _texts(
    view: memoryview, spans: list[tuple[int, int]], given: GivenInput, model: str, budget: Budget
) -> Array:
    where = f"inference input '{given.name}' for model '{model}'"
    refuse_texts(given.name, element_count(given.shape, given.name))
    elements: list[str] = []
    for start, end in spans:
        for number, wire, first, last in fields(view, start, end, budget):
            kind = _FIELDS.get(number)
            if kind is None or wire not in (kind[1], BYTES):
                continue
            if kind[0] is not Datatype.BYTES:
                raise _other_type(kind[0], given, model)
            refuse_texts(given.name, len(elements))
            elements.append(utf8(view[first:last], index=len(elements), where=where))
    return string_array(elements, given.shape, where=where)


def _other_type(sent: Datatype, given: GivenInput, model: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"unexpected explicit tensor data for input tensor '{given.name}' for model "
        f"'{model}' of type '{sent}', expected datatype '{given.datatype}'"
    )


def _from_varints(values: Array, field_dtype: np.dtype[np.generic], given: GivenInput) -> bytes:
    wide = values != 0 if field_dtype.kind == "b" else values.astype(field_dtype)
    narrow = wide.astype(DTYPES[given.datatype])
    fits = narrow == wide
    if not fits.all():
        raise InvalidArgumentError(
            f"element {wide[~fits][0]} of input '{given.name}' is out of range for {given.datatype}"
        )
    return narrow.tobytes()
