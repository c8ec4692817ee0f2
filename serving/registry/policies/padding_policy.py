"""Which calls of different lengths are padded to run together, as a model's configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "pad_buckets" value { string_value: "16,32,64,128" } }
    parameters { key: "pad_axes"    value { string_value: "input_ids:1,attention_mask:1" } }
    parameters { key: "cut_axes"    value { string_value: "last_hidden_state:1" } }
    parameters { key: "pad_values"  value { string_value: "input_ids:1" } }

All axes are of one length, a call's, and are counted as the model's metadata shows them: axis 0 is
the batch. Calls whose lengths lie under the same bucket may run together, padded to the longest of
them with 0, or what `pad_values` says for an input; outputs are cut back along `cut_axes`. Lengths
above the largest bucket run with equal ones, as all do without these parameters. That padding does
not change what a model answers is its author's promise: it has a mask, and padding is masked by it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from runtimes.errors import InvalidArgumentError

BUCKETS: Final = "pad_buckets"
AXES: Final = "pad_axes"
CUT_AXES: Final = "cut_axes"
VALUES: Final = "pad_values"
PARAMETERS: Final = frozenset({BUCKETS, AXES, CUT_AXES, VALUES})
MAX_LENGTH: Final = 1 << 24
MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAxis:
    """An axis whose size is a call's length."""

    tensor: str
    axis: int
    """Of the full shape: 1 is the first one behind the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PadValue:
    """What an input is padded with."""

    tensor: str
    text: str
    """Read by the input's datatype, which the model knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingPolicy:
    """What a model's configuration says of padding."""

    buckets: tuple[int, ...]
    """Lengths, ascending: calls under the same one may run together."""
    padded: tuple[TensorAxis, ...]
    """Of inputs."""
    cut: tuple[TensorAxis, ...] = ()
    """Of outputs."""
    values: tuple[PadValue, ...] = ()
    """Where it is not 0."""


def padding_policy(given: Mapping[str, str]) -> PaddingPolicy | None:
    """Read a configuration's parameters; None: nothing is padded.

    Args:
        given: Its parameters, as texts.

    Raises:
        InvalidArgumentError: They are incomplete, or a value is none of those that exist.
    """
    if not PARAMETERS & given.keys():
        return None
    for name in (BUCKETS, AXES):
        if not given.get(name, "").strip(" ,"):
            there = ", ".join(sorted(PARAMETERS & given.keys()))
            raise InvalidArgumentError(
                f"parameters: {name} is missing or empty, and there is {there}: padding needs both "
                f"{BUCKETS} and {AXES}"
            )
    padded = tuple(_axes(given, AXES))
    return PaddingPolicy(
        buckets=_buckets(given[BUCKETS]),
        padded=padded,
        cut=tuple(_axes(given, CUT_AXES)),
        values=tuple(_values(given, {one.tensor for one in padded})),
    )


def _buckets(text: str) -> tuple[int, ...]:
    sizes = tuple(_number(part) for part in text.split(","))
    is_ascending = all(one < other for one, other in pairwise(sizes))
    if not is_ascending or sizes[0] < 1 or sizes[-1] > MAX_LENGTH:
        raise InvalidArgumentError(
            f"parameters: {BUCKETS} is '{text[:80]}': lengths from 1 to {MAX_LENGTH} in ascending "
            "order are expected, such as 16,32,64"
        )
    return sizes


def _axes(given: Mapping[str, str], name: str) -> Iterator[TensorAxis]:
    seen: set[TensorAxis] = set()
    for tensor, text in _pairs(given, name, "input_ids:1"):
        one = TensorAxis(tensor=tensor, axis=_number(text))
        if one.axis < 1:
            reason = "axis 0 is the batch, which is not padded" if one.axis == 0 else "no axis"
            raise InvalidArgumentError(
                f"parameters: {name} has '{tensor[:80]}:{text[:20]}': {reason}; a number from 1 is "
                "expected behind the name"
            )
        if one in seen:
            raise InvalidArgumentError(
                f"parameters: {name} has '{tensor[:80]}:{text[:20]}' twice: keep one"
            )
        seen.add(one)
        yield one


def _values(given: Mapping[str, str], inputs: set[str]) -> Iterator[PadValue]:
    seen: set[str] = set()
    for tensor, text in _pairs(given, VALUES, "input_ids:1"):
        if tensor not in inputs:
            raise InvalidArgumentError(
                f"parameters: {VALUES} names '{tensor[:80]}', which {AXES} does not: the inputs "
                f"that are padded are {', '.join(sorted(inputs))[:200]}"
            )
        if tensor in seen:
            raise InvalidArgumentError(
                f"parameters: {VALUES} names '{tensor[:80]}' twice: keep one"
            )
        seen.add(tensor)
        yield PadValue(tensor=tensor, text=text)


def _pairs(given: Mapping[str, str], name: str, example: str) -> Iterator[tuple[str, str]]:
    """Read `name:value,name:value`; names may have colons in them."""
    for part in given.get(name, "").split(","):
        if not part.strip():
            continue
        tensor, colon, text = part.strip().rpartition(":")
        if not colon or not tensor or not text:
            raise InvalidArgumentError(
                f"parameters: {name} has '{part.strip()[:80]}': a tensor's name, a colon and a "
                f"number are expected, such as {example}"
            )
        yield tensor.strip(), text.strip()


def _number(text: str) -> int:
    """Return a number; -1: it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else -1
