"""Values that break one rule of a data contract. Pure.

None of them stands for a missing value (`null_tokens`): what is missing breaks no other rule.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from string import ascii_lowercase
from typing import Any, Final, TypeVar

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from serving.registry.contracts.data_contract import Check, Rule, Scalar, Watched

ODD: Final = b"\x1enot one of them"
BROKEN_UTF8: Final = b"\xff\xfe"
WHOLE: Final = "biu"
FREE_SIDE: Final = 2
"""What a side is where the model takes any."""


T = TypeVar("T")


class ImpossibleError(ValueError):
    """No value of the tensor's type breaks the rule."""


def breaking(watched: Watched, rule: Rule, spec: TensorSpec, *, is_batched: bool) -> Array | None:
    """Return one row that breaks a rule; None: the tensor has to be left out.

    Raises:
        ImpossibleError: There is no such value: the rule can never be broken.
    """
    if rule.check is Check.ABSENT:
        return None
    shape = _shape(watched, spec, is_batched=is_batched)
    if spec.datatype is Datatype.BYTES:
        filled: Array = np.empty(shape, object)
        filled.fill(_text(watched, rule))
        return filled
    dtype = DTYPES[spec.datatype]
    if rule.check is Check.SUM_TO:
        return np.full(shape, rule.limit + 10 * rule.tolerance + 1, dtype)
    return np.full(shape, _number(watched, rule, dtype), dtype)


def _shape(watched: Watched, spec: TensorSpec, *, is_batched: bool) -> tuple[int, ...]:
    inner: Sequence[int] = spec.shape[1:] if is_batched else spec.shape
    least = FREE_SIDE if watched.column is None else watched.column + 1
    sides = tuple(max(FREE_SIDE, least) if side < 0 else side for side in inner)
    return (1, *sides) if is_batched else sides


def _text(watched: Watched, rule: Rule) -> bytes:
    if rule.check is Check.UTF8:
        return BROKEN_UTF8
    if rule.check in {Check.MIN_LEN, Check.MAX_LEN}:
        length = int(rule.limit) + (1 if rule.check is Check.MAX_LEN else -1)
        tokens = frozenset(str(token).encode() for token in watched.null_tokens)
        if length < 0:
            raise ImpossibleError("no text has fewer than 0 characters: the rule says nothing")
        texts = (letter.encode() * length for letter in ascii_lowercase)
        return _first(texts, tokens, f"every text of {length} characters that was tried")
    if rule.check is Check.NULL:
        if not watched.null_tokens:
            raise ImpossibleError("it names no text that stands for a missing one (null_tokens)")
        return str(watched.null_tokens[0]).encode()
    return ODD if rule.check is Check.ALLOWED else b"x"


def _number(watched: Watched, rule: Rule, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  a number
    if rule.check is Check.NULL:
        return _null(watched, dtype)
    if rule.check is Check.ALLOWED:
        return _not_among(watched, rule, dtype)
    if rule.check in {Check.MIN, Check.MAX}:
        values = _beyond(rule.limit, -1 if rule.check is Check.MIN else 1, dtype)
        tried = islice(values, len(watched.null_tokens) + 1)
        return _first(tried, _tokens(watched), f"every value of {dtype} that was tried")
    return np.inf if rule.check is Check.FINITE else 0


def _null(watched: Watched, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  a number
    if dtype.kind not in WHOLE:
        return np.nan
    if not watched.null_tokens:
        raise ImpossibleError("it names no number that stands for a missing one (null_tokens)")
    return watched.null_tokens[0]


def _beyond(limit: float, direction: int, dtype: np.dtype[Any]) -> Iterator[float]:
    """Yield values beyond a limit, the nearest first."""
    if dtype.kind not in WHOLE:
        yield from (limit + direction * step * max(1.0, abs(limit)) for step in count(1))
    info = np.iinfo(dtype) if dtype.kind != "b" else np.iinfo(np.uint8)
    first = int(np.floor(limit)) + direction if direction > 0 else int(np.ceil(limit)) - 1
    if not info.min <= first <= info.max:
        raise ImpossibleError(f"{dtype} has no value beyond {limit:g}: the rule says nothing")
    yield from range(first, int(info.max if direction > 0 else info.min) + direction, direction)


def _not_among(watched: Watched, rule: Rule, dtype: np.dtype[Any]) -> float:
    known = _numbers(rule.allowed) | _tokens(watched)
    choices: Sequence[float] = (0, 1) if dtype.kind == "b" else range(128)
    found = next((one for one in choices if float(one) not in known), None)
    if found is None:
        raise ImpossibleError(f"every value of {dtype} that was tried is allowed")
    return found


def _tokens(watched: Watched) -> frozenset[float]:
    return _numbers(watched.null_tokens)


def _numbers(values: Iterable[Scalar]) -> frozenset[float]:
    return frozenset(float(one) for one in values if isinstance(one, (bool, int, float)))


def _first(tried: Iterable[T], tokens: frozenset[T], what: str) -> T:
    """Return the first value that stands for no missing one."""
    for one in tried:
        if one not in tokens:
            return one
    raise ImpossibleError(f"{what} stands for a missing one (null_tokens)")
