"""Fast path. Parameters as a ModelInferRequest carries them: map<string, InferParameter>."""

import struct
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.wire.parameters import Scalar
from serving.wire.protobuf import BYTES, Budget, fields, read_varint, signed, text
from serving.wire.regions import BYTE_SIZE, OFFSET, REGION, RegionSpan, region_span

_DOUBLE: Final = struct.Struct("<d")


def read_parameter(
    view: memoryview, at: int, end: int, into: dict[str, Scalar], budget: Budget
) -> None:
    """Read one entry of a map<string, InferParameter>; a later one of the same key wins.

    Raises:
        InvalidArgumentError: It is malformed or has no value.
    """
    key = ""
    value: Scalar | None = None
    for number, wire, start, stop in fields(view, at, end, budget):
        if wire == BYTES and number == 1:
            key = text(view, start, stop)
        elif wire == BYTES and number == 2:  # noqa: PLR2004  value
            value = _read_value(view, start, stop, value, budget)
    if value is None:
        raise InvalidArgumentError(
            f"parameter '{key[:80]}' has invalid type. It should be either 'int', 'bool', or "
            "'string'."
        )
    into[key] = value


def classification(parameters: dict[str, Scalar]) -> int:
    """Read parameter `classification` of an output; 0 if there is none.

    Raises:
        InvalidArgumentError: It is no number of classes.
    """
    count = parameters.get("classification")
    if count is None:
        return 0
    if isinstance(count, bool) or not isinstance(count, int):
        raise InvalidArgumentError(
            "invalid value type for 'classification' parameter, expected int64_param"
        )
    if count < 1:
        raise InvalidArgumentError("invalid value for 'classification' parameter, expected >= 0")
    return count


def region_of(parameters: dict[str, Scalar]) -> RegionSpan | None:
    """Read where in shared memory a tensor lies; None if it does not.

    Raises:
        InvalidArgumentError: A value is of another type, or negative, or the size is missing.
    """
    region = parameters.get(REGION)
    if region is None:
        return None
    if not isinstance(region, str):
        raise _other_type(REGION, "string_param")
    return region_span(region, _int64(parameters, OFFSET), _int64(parameters, BYTE_SIZE))


def _int64(parameters: dict[str, Scalar], key: str) -> int | None:
    value = parameters.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _other_type(key, "int64_param")
    return value


def _other_type(key: str, expected: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"invalid value type for '{key}' parameter, expected {expected}")


def _read_value(
    view: memoryview, at: int, end: int, value: Scalar | None, budget: Budget
) -> Scalar | None:
    for number, wire, start, stop in fields(view, at, end, budget):
        match number, wire:
            case 1, 0:
                value = read_varint(view, start, stop)[0] != 0
            case 2, 0:
                value = signed(read_varint(view, start, stop)[0])
            case 3, 2:
                value = text(view, start, stop)
            case 4, 1:
                value = _DOUBLE.unpack(view[start:stop])[0]
            case 5, 0:
                value = read_varint(view, start, stop)[0]
            case _:
                pass  # a field that we do not know
    return value
