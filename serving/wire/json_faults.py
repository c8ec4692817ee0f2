"""What is wrong with a request's JSON, in the words that clients know.

The decoder of `v2_json` only accepts: whatever it refuses comes here, off the fast path, and is
walked through in the order in which the reference server reads it, up to the first fault.
"""

import json
import re
from collections.abc import Callable
from math import isinf
from typing import Any, Final

import msgspec
import orjson

from runtimes.errors import InvalidArgumentError
from serving.wire.json_data import nesting_error
from serving.wire.regions import BYTE_SIZE, OFFSET, REGION
from serving.wire.request_limits import refuse_count, refuse_rank

Json = Any
"""A parsed JSON value of unknown form."""

_OFFSET: Final = re.compile(r"^(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?$", re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_UNSIGNED: Final = "non-unsigned-integer as unsigned-integer"
_BARE_WORDS: Final = ("NaN", "Infinity")


def malformed(reason: str, offset: int) -> InvalidArgumentError:
    """Return the error of a document that is not JSON."""
    return InvalidArgumentError(f"failed to parse the request JSON buffer: {reason} at {offset}")


def explain_malformed(error: Exception, size: int) -> InvalidArgumentError:
    """Turn a parser's complaint about a document of `size` bytes into the protocol's words."""
    found = _OFFSET.match(str(error))
    reason, offset = found.groups() if found else (str(error), None)
    return malformed(reason, int(offset) if offset else size)


def parse_loosely(header: bytes) -> Json:
    """Parse a document that the strict parser refused because of bare NaN or Infinity.

    Raises:
        InvalidArgumentError: It is not JSON apart from these words.
    """
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("text is not UTF-8", error.start) from error
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise nesting_error() from error
    except msgspec.DecodeError as error:
        if not any(word in text for word in _BARE_WORDS):
            raise explain_malformed(error, len(header)) from error
    return _with_bare_words(text)


def _with_bare_words(text: str) -> Json:
    try:
        tree = json.loads(text, parse_float=_finite)
        if _SURROGATE.search(text):
            orjson.dumps(tree)  # refuses text that is not Unicode, which json lets through
    except RecursionError as error:
        raise nesting_error() from error
    except json.JSONDecodeError as error:
        raise malformed(error.msg, error.pos) from error
    except (ValueError, TypeError) as error:  # endless digits, half a surrogate pair
        raise malformed(str(error), 0) from error
    return tree


def _finite(text: str) -> float:
    """Read a number; only the bare word is infinite."""
    value = float(text)
    if isinf(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def refuse_faults(tree: Json) -> None:
    """Refuse a parsed request that does not have the protocol's form.

    Raises:
        InvalidArgumentError: Its first fault.
    """
    if not isinstance(tree, dict):
        raise InvalidArgumentError(
            "Unable to parse the request: attempt to access JSON non-object as object"
        )
    if not isinstance(tree.get("id", ""), str | None):
        raise _unreadable("id", "non-string as string")
    _check_parameters(tree.get("parameters"))
    inputs = _member(tree, "inputs", list, "non-array as array")
    refuse_count("inputs", len(inputs))
    for given in inputs:
        _check_input(given)
    outputs = tree.get("outputs")
    if outputs is None:
        return
    if not isinstance(outputs, list):
        raise _unreadable("outputs", "non-array as array")
    refuse_count("outputs", len(outputs))
    for output in outputs:
        _check_output(output)


def _check_parameters(parameters: Json) -> None:
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise _unreadable("parameters", "non-object as object")
    refuse_count("parameters", len(parameters))
    for key, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidArgumentError(
                f"parameter '{key[:80]}' has invalid type. It should be either 'int', 'bool', or "
                "'string'."
            )


def _check_input(given: Json) -> None:
    _check_object("inputs", given)
    _member(given, "name", str, "non-string as string")
    _member(given, "datatype", str, "non-string as string")
    shape = _member(given, "shape", list, "non-array as array")
    refuse_rank(given["name"], len(shape))
    if not all(map(_is_unsigned, shape)):
        raise _unreadable("shape", _UNSIGNED)
    parameters = given.get("parameters")
    if parameters is not None:
        _check_object("parameters", parameters)
        _optional(parameters, "binary_data_size", _is_unsigned, _UNSIGNED)
        _check_region(parameters)


def _check_output(output: Json) -> None:
    _check_object("outputs", output)
    _member(output, "name", str, "non-string as string")
    parameters = output.get("parameters")
    if parameters is not None:
        _check_object("parameters", parameters)
        _optional(parameters, "binary_data", _is_bool, "non-boolean as boolean")
        _optional(parameters, "classification", _is_unsigned, _UNSIGNED)
        _check_region(parameters)


def _check_region(parameters: dict[str, Any]) -> None:
    _optional(parameters, REGION, _is_string, "non-string as string")
    _optional(parameters, BYTE_SIZE, _is_unsigned, _UNSIGNED)
    _optional(parameters, OFFSET, _is_unsigned, _UNSIGNED)


def _check_object(key: str, value: Json) -> None:
    if not isinstance(value, dict):
        raise _unreadable(key, "non-object as object")


def _member(tree: dict[str, Any], key: str, kind: type[Any], access: str) -> Json:
    if key not in tree:
        raise _unreadable(key, f"non-existing object member '{key}'", json_word="")
    if not isinstance(tree[key], kind):
        raise _unreadable(key, access)
    return tree[key]


def _optional(tree: dict[str, Any], key: str, fits: Callable[[Any], bool], access: str) -> None:
    if key in tree and not fits(tree[key]):
        raise _unreadable(key, access)


def _is_unsigned(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_string(value: Json) -> bool:
    return isinstance(value, str)


def _is_bool(value: Json) -> bool:
    return isinstance(value, bool)


def _unreadable(key: str, access: str, *, json_word: str = "JSON ") -> InvalidArgumentError:
    return InvalidArgumentError(f"Unable to parse '{key}': attempt to access {json_word}{access}")
