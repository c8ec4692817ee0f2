"""Fast path. The request's own parameters, as both wires carry them.

`timeout` (microseconds) and `priority` steer the queue, `binary_data_output` the reply; the
sequence parameters are checked and passed on with the custom ones. Keys that start with `triton_`
are reserved.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from runtimes.errors import InvalidArgumentError

Scalar = int | float | str | bool

_US_PER_S: Final = 1_000_000
_RESERVED: Final = "triton_"
# Asks for an empty last message of a stream; other calls may carry it without effect.
_ALLOWED: Final = frozenset({"triton_enable_empty_final_response"})


class Parameters(msgspec.Struct, frozen=True):
    """What a request's parameters say."""

    timeout_s: float = 0.0
    priority: int = 0
    binary_output: bool = False
    """JSON wire: whether outputs are binary when none are listed."""
    custom: Any = None
    """The others, a dict of scalars, or None."""


NONE: Final = Parameters()


def read_parameters(given: Mapping[str, Scalar], *, grpc: bool) -> Parameters:
    """Check a request's parameters and split off those with a meaning.

    Raises:
        InvalidArgumentError: A key is reserved, or a value has the wrong type.
    """
    custom: dict[str, Scalar] = {}
    timeout_us = priority = 0
    binary_output = False
    for key, value in given.items():
        if key == "binary_data_output" and not grpc:
            binary_output = bool(_checked(key, value, _is_bool, _BOOLEAN))
        elif key == "timeout":
            timeout_us = int(_checked(key, value, _is_unsigned, _UNSIGNED))
        elif key == "priority":
            priority = int(_checked(key, value, _is_unsigned, _UNSIGNED))
        else:
            _check_custom(key, value, grpc=grpc)
            custom[key] = value
    return Parameters(timeout_us / _US_PER_S, priority, binary_output, custom or None)


_MAX_UNSIGNED: Final = 2**64 - 1
_UNSIGNED: Final = "non-unsigned-integer as unsigned-integer"
_BOOLEAN: Final = "non-boolean as boolean"


def _check_custom(key: str, value: Scalar, *, grpc: bool) -> None:
    if key.startswith(_RESERVED) and not (grpc and key in _ALLOWED):
        raise InvalidArgumentError(
            f"parameter keys starting with '{_RESERVED}' are reserved for Triton usage and should "
            f"not be specified: rename '{key[:80]}'"
        )
    if key in {"sequence_start", "sequence_end"}:
        _checked(key, value, _is_bool, _BOOLEAN)
    elif key == "sequence_id" and not isinstance(value, str):
        _checked(key, value, _is_unsigned, _UNSIGNED)


def _is_bool(value: Scalar) -> bool:
    return isinstance(value, bool)


def _is_unsigned(value: Scalar) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_UNSIGNED


def _checked(key: str, value: Scalar, fits: Callable[[Scalar], bool], access: str) -> Scalar:
    if not fits(value):
        raise InvalidArgumentError(f"Unable to parse '{key}': attempt to access JSON {access}")
    return value
