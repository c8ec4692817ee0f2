"""Pure: a few comparisons pass a tensor whose rules, and whose features' rules, are bounds."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from serving.monitor.quality.cells import FLOATS, HALVES, compared_dtype
from serving.monitor.quality.leading_bytes import Holds, leading_first
from serving.monitor.quality.watch import Watch
from serving.registry.contracts.data_contract import Check, Watched

OF_TEXTS = frozenset(
    {Check.MIN_LEN, Check.MAX_LEN, Check.ALLOWED, Check.NULL, Check.ABSENT, Check.UTF8}
)
WIDE = frozenset({Datatype.INT64, Datatype.UINT64})
"""Whole numbers that no float holds exactly: only one bound for all columns is compared."""

FEW_VALUES = 16
"""So many are faster compared one by one than by numpy, whose every call costs a microsecond."""


class Bounds:
    """The bounds of all watches of one tensor."""

    def __init__(self, low: Any, high: Any, width: int, datatype: Datatype) -> None:  # noqa: ANN401  numbers, or arrays of them
        """Take the bounds; `width` 0: they are the same for every value."""
        self._low, self._high = _plain(low), _plain(high)
        self._width = width
        self._is_half = datatype in HALVES
        self._few = 0 if width or self._is_half else FEW_VALUES

    def hold(self, array: Array | None, rows: int) -> bool:
        """Whether there is nothing to say of a tensor; False: look closely."""
        if array is None or not array.size:
            return False
        if array.size <= self._few:
            return self._hold_few(array.ravel().tolist())
        if self._few:  # NaN, wherever it stands, is the least and the most
            item = array.item
            return bool(self._low <= item(array.argmin()) and item(array.argmax()) <= self._high)
        return self._hold_each(array, rows)

    def _hold_each(self, array: Array, rows: int) -> bool:
        if self._width:
            if array.size != rows * self._width:
                return False
            array = array.reshape(rows, self._width)
        if self._is_half:
            array = array.astype(np.float32)
        return 0 not in ((array >= self._low) & (array <= self._high)).tobytes()

    def _hold_few(self, values: list[Any]) -> bool:
        if not (self._low <= min(values) and max(values) <= self._high):
            return False
        total = sum(values)  # NaN if any value is, wherever it stands
        return bool(total == total)  # noqa: PLR0124


def _plain(limit: Any) -> Any:  # noqa: ANN401  a number, or a scalar of numpy
    return limit.item() if isinstance(limit, np.generic) else limit


class Texts:
    """Texts of which every one is known to break nothing, or has a length that breaks nothing."""

    def __init__(self, watched: Watched) -> None:
        """Take the rules of one watch of a whole tensor."""
        limits = {rule.check: rule for rule in watched.rules}
        low, high = limits.get(Check.MIN_LEN), limits.get(Check.MAX_LEN)
        self._low = max(1, 0 if low is None else low.limit)  # an empty text is counted
        self._high = np.inf if high is None else high.limit
        self._tokens = frozenset(watched.null_tokens)
        levels = limits.get(Check.ALLOWED)
        self._good = None
        if levels is not None:
            self._good = frozenset(text for text in levels.allowed if self._is_good(str(text)))

    def hold(self, array: Array | None, rows: int) -> bool:  # noqa: ARG002  as `Bounds` has it
        """Whether there is nothing to say of a tensor; False: look closely."""
        if array is None or not array.size:
            return False
        elements = array.ravel().tolist()
        if self._good is not None:
            return self._good.issuperset(elements)
        return all(isinstance(one, str) and self._is_good(one) for one in elements)

    def _is_good(self, text: str) -> bool:
        return self._low <= len(text) <= self._high and text not in self._tokens


def bounds_of(watches: Sequence[Watch], spec: TensorSpec, *, is_batched: bool) -> Holds | None:
    """Return what settles all watches of a tensor at once; None: nothing does."""
    if spec.datatype is Datatype.BYTES:
        (first, *others) = watches
        checks = {rule.check for rule in first.watched.rules}
        is_simple = not others and first.watched.column is None and checks <= OF_TEXTS
        return Texts(first.watched).hold if is_simple else None
    if any(watch.watched.column is not None for watch in watches):
        return _of_columns(watches, spec, spec.shape[1:] if is_batched else spec.shape)
    known = watches[0].bounds()
    if known is None or len(watches) > 1:
        return None
    low, high = known
    bounds = Bounds(low, high, 0, spec.datatype)
    return leading_first(_plain(low), _plain(high), DTYPES[spec.datatype], bounds.hold)


def _of_columns(watches: Sequence[Watch], spec: TensorSpec, sizes: tuple[int, ...]) -> Holds | None:
    """Put the bounds of a row's values beside each other."""
    if spec.datatype in WIDE or spec.datatype is Datatype.BOOL or -1 in sizes:
        return None
    width = prod(sizes)
    dtype = compared_dtype(spec.datatype) if spec.datatype in FLOATS else np.dtype(np.float64)
    low, high = np.full(width, -np.inf, dtype), np.full(width, np.inf, dtype)
    for watch in watches:
        known = watch.bounds()
        if known is None:
            return None
        column = watch.watched.column
        part = slice(None) if column is None else column
        low[part] = np.maximum(low[part], known[0])
        high[part] = np.minimum(high[part], known[1])
    return Bounds(low, high, width, spec.datatype).hold
