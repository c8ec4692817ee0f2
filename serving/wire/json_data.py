"""Fast path. JSON `data` ↔ tensors: flat or nested lists in, flat lists out.

Elements are typed: numbers for floating-point datatypes, integers (exact up to 64 bits) for integer
ones, `true`/`false` for BOOL, strings for BYTES. FP16 and BF16 have no JSON form. `NaN`, `Infinity`
and `-Infinity` stand bare, as clients write and read them.
"""

from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import Array
from serving.wire.input_checks import GivenInput
from serving.wire.request_limits import LARGE_BYTES
from serving.wire.tensors import Tensor, element_bytes, element_count, string_array, utf8

MAX_DEPTH: Final = 100
_EXACT_BELOW: Final = 2.0**64  # msgspec may be one rounding off for longer integers read as floats


class _Elements(msgspec.Struct, frozen=True):
    """How elements of a datatype are read, and what is said when they are something else."""

    flat: type[Any]
    decoder: msgspec.json.Decoder[Any]
    access: str


def _elements(kind: type[Any], access: str) -> _Elements:
    flat: type[Any] = list[kind]  # type: ignore[valid-type]  # a type made at run time
    return _Elements(flat, msgspec.json.Decoder(flat), access)


_FLOATS: Final = _elements(float, "non-number as double")
_SIGNED: Final = _elements(int, "non-signed-integer as signed-integer")
_UNSIGNED: Final = _elements(int, "non-unsigned-integer as unsigned-integer")
_ELEMENTS: Final = MappingProxyType(
    {
        Datatype.BOOL: _elements(bool, "non-boolean as boolean"),
        Datatype.BYTES: _elements(str, "non-string as string"),
        Datatype.FP32: _FLOATS,
        Datatype.FP64: _FLOATS,
        Datatype.INT8: _SIGNED,
        Datatype.INT16: _SIGNED,
        Datatype.INT32: _SIGNED,
        Datatype.INT64: _SIGNED,
        Datatype.UINT8: _UNSIGNED,
        Datatype.UINT16: _UNSIGNED,
        Datatype.UINT32: _UNSIGNED,
        Datatype.UINT64: _UNSIGNED,
    }
)


def nesting_error() -> InvalidArgumentError:
    """Return the error of a document that is nested too deeply."""
    return InvalidArgumentError(
        f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH}): send 'data' flat"
    )


def tensor_from_json(raw: msgspec.Raw, given: GivenInput, *, model: str) -> Tensor:
    """Read one input's `data` from its JSON text.

    Returns:
        Raw little-endian bytes, or for BYTES an object array of `str`.

    Raises:
        InvalidArgumentError: It has no JSON form, is nested too deeply, or its elements do not
            fit the input's datatype or shape.
    """
    elements = _readable(given)
    if len(memoryview(raw)) > LARGE_BYTES:
        _refuse_surplus(bytes(raw), given)
    try:
        flat = elements.decoder.decode(raw)
    except msgspec.ValidationError:
        try:
            flat = _typed(_flattened(orjson.loads(bytes(raw)), given), elements, given)
        except orjson.JSONDecodeError as error:
            raise _unreadable(error, given) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(error, given) from error
    array = _to_array(flat, given, model=model)
    if array.dtype.kind == "f" and not (np.abs(array) < _EXACT_BELOW).all():
        exact = _flattened(orjson.loads(bytes(raw)), given)
        array = _to_array(_typed(exact, elements, given), given, model=model)
    return _checked_range(array, given, finite=True)


def tensor_from_values(tree: object, given: GivenInput, *, model: str) -> Tensor:
    """Read one input's `data` that is parsed already, perhaps with NaN and infinities in it.

    Returns and raises the same as `tensor_from_json`.
    """
    elements = _readable(given)
    flat = _typed(_flattened(tree, given), elements, given)
    array = _to_array(flat, given, model=model)
    if given.datatype is Datatype.FP32 and np.isinf(array).sum() > np.isinf(flat).sum():
        raise _out_of_range(given)
    return _checked_range(array, given, finite=False)


def _refuse_surplus(raw: bytes, given: GivenInput) -> None:
    """Refuse what surely has more elements than its shape needs, without building them.

    However lists are nested, numbers are one more than commas; texts have two quotes each, and
    perhaps more within.
    """
    count = element_count(given.shape, given.name)
    if given.datatype is Datatype.BYTES:
        least = (raw.count(b'"') - raw.count(b'\\"')) // 2
    else:
        commas = raw.count(b",")
        least = commas and commas + 1
    if least > count:
        raise InvalidArgumentError(
            "Unable to parse 'data': Shape does not match true shape of 'data' field: input "
            f"'{given.name}' has {least} elements or more, but its shape needs {count}"
        )
    if given.datatype is not Datatype.BYTES and raw.count(b"[") > _most_lists(given):
        raise _too_many_lists(given)


def _most_lists(given: GivenInput) -> int:
    """Return how many lists its elements can need, and some: each could be in one of its own."""
    return MAX_DEPTH + element_count(given.shape, given.name) * (len(given.shape) + 1)


def _too_many_lists(given: GivenInput) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"Unable to parse 'data': input '{given.name}' has over {_most_lists(given)} lists, more "
        f"than elements of shape {list(given.shape)} need: send 'data' flat"
    )


def _readable(given: GivenInput) -> _Elements:
    elements = _ELEMENTS.get(given.datatype)
    if elements is None:
        raise InvalidArgumentError(
            f"receiving {given.datatype} data via JSON is not supported. Please use the binary "
            f"data format for input {given.name}"
        )
    return elements


def _unreadable(error: Exception, given: GivenInput) -> InvalidArgumentError:
    if "depth" in str(error):
        return nesting_error()
    return InvalidArgumentError(
        f"failed to parse the request JSON buffer: 'data' of input '{given.name}': {error}"
    )


def _typed(flat: list[Any], elements: _Elements, given: GivenInput) -> list[Any]:
    try:
        typed: list[Any] = msgspec.convert(flat, elements.flat)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(
            f"Unable to parse 'data': attempt to access JSON {elements.access} "
            f"(input '{given.name}' is {given.datatype}: {error})"
        ) from error
    return typed


def _flattened(tree: object, given: GivenInput) -> list[Any]:
    """Flatten nested lists in order, without recursion."""
    flat: list[Any] = []
    stack = [iter(_list(tree))]
    left = _most_lists(given)
    while stack:
        for item in stack[-1]:
            if not isinstance(item, list):
                flat.append(item)
            elif len(stack) == MAX_DEPTH:
                raise nesting_error()
            elif list in set(map(type, item)):
                left -= 1
                stack.append(iter(item))
                break
            else:
                flat += item  # an innermost list, as most are
        else:
            stack.pop()
        if not left:
            raise _too_many_lists(given)
    return flat


def _list(tree: object) -> list[Any]:
    if not isinstance(tree, list):
        raise InvalidArgumentError(
            "Unable to parse 'data': attempt to access JSON non-array as array"
        )
    return tree


def _to_array(flat: list[Any], given: GivenInput, *, model: str) -> Array:
    count = element_count(given.shape, given.name)
    if len(flat) != count:
        detail = f": input '{given.name}' has {len(flat)} elements, but its shape needs {count}"
        if len(flat) > count:
            raise InvalidArgumentError(
                f"Unable to parse 'data': Shape does not match true shape of 'data' field{detail}"
            )
        raise InvalidArgumentError(
            f"Failed to parse 'data' field: shape does not match true shape{detail}"
        )
    if given.datatype is Datatype.BYTES:
        where = f"inference input '{given.name}' for model '{model}'"
        return string_array(flat, given.shape, where=where)
    try:
        with np.errstate(over="ignore"):  # checked by `_checked_range`
            return np.array(flat, DTYPES[given.datatype])
    except OverflowError as error:
        raise _out_of_range(given) from error


def _checked_range(array: Array, given: GivenInput, *, finite: bool) -> Tensor:
    """Return the raw bytes; a finite number must not have become an infinity on the way."""
    if given.datatype is Datatype.BYTES:
        return array
    if finite and given.datatype is Datatype.FP32 and not np.isfinite(array).all():
        raise _out_of_range(given)
    return array.tobytes()


def _out_of_range(given: GivenInput) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"Unable to parse 'data': an element of input '{given.name}' is out of range for "
        f"{given.datatype}"
    )


def tensor_to_json(array: Array, *, name: str) -> bytes:
    """Write an output's elements as a flat JSON list.

    Raises:
        InvalidArgumentError: A BYTES element is not UTF-8.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype == object:
        return orjson.dumps(_texts(flat.tolist(), name))
    text = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
    if flat.dtype.kind != "f" or np.isfinite(flat).all():
        return text
    # orjson writes `null` for what JSON has no number for: put the bare words there.
    words = text[1:-1].split(b",")
    for index in np.flatnonzero(~np.isfinite(flat)).tolist():
        value = flat[index]
        words[index] = b"NaN" if np.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"
    return b"[" + b",".join(words) + b"]"


def _texts(elements: list[Any], name: str) -> list[str]:
    where = f"output '{name}', which was asked for as JSON (ask for binary_data instead)"
    return [
        utf8(element_bytes(element), index=index, where=where)
        for index, element in enumerate(elements)
    ]
