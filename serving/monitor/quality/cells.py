"""Pure: one check over the values of many rows at once. Each function marks what breaks it.

`cells` has a row for each row of the request and a column for each of its values.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from serving.registry.contracts.data_contract import Check, Number, Rule, Scalar

Mark = Callable[[Array, Array], Array]
"""(cells, which of them are missing) → which break the rule."""

FLOATS: Final = frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64})
HALVES: Final = frozenset({Datatype.FP16, Datatype.BF16})


def compared_dtype(datatype: Datatype) -> np.dtype[Any]:
    """Return in what values are compared: halves are widened, limits are rounded as values are."""
    return np.dtype(np.float32) if datatype in HALVES else DTYPES[datatype]


def bound(limit: Number, datatype: Datatype) -> Any:  # noqa: ANN401  a scalar of numpy, or a number
    """Return a limit as the values are stored: 0.1 allows the FP32 that is written 0.1.

    What a half cannot store stays beyond all that it stores: infinity is above a maximum of 1e6.
    """
    if datatype not in FLOATS:
        return limit
    compared = compared_dtype(datatype)
    with np.errstate(over="ignore"):
        stored = compared.type(DTYPES[datatype].type(float(limit)))
        return stored if np.isfinite(stored) else compared.type(float(limit))


def levels(allowed: Iterable[Scalar], datatype: Datatype) -> Array:
    """Return allowed values as the tensor stores them; what it cannot store is left out."""
    dtype = compared_dtype(datatype)
    if datatype in FLOATS:
        known = np.array([float(level) for level in allowed], np.float64)
        with np.errstate(over="ignore"):
            stored = known.astype(DTYPES[datatype]).astype(dtype)
        kept: Array = stored[np.isfinite(stored) | ~np.isfinite(known)]
        return kept
    if datatype is Datatype.BOOL:
        return np.array([level for level in allowed if isinstance(level, bool)], dtype)
    info = np.iinfo(dtype)
    whole = [level for level in allowed if float(level).is_integer()]
    return np.array([int(one) for one in whole if info.min <= int(one) <= info.max], dtype)


def mark_of(rule: Rule, datatype: Datatype) -> Mark:
    """Return what marks the values that break a rule."""
    if rule.check is Check.NULL:
        return lambda _, null: null
    if rule.check is Check.NOT_CONSTANT:
        return _constant
    if datatype is Datatype.BYTES:
        return _text_mark(rule)
    return _number_mark(rule, datatype)


def texts(cells: Array, keep: Callable[[str], bool]) -> Array:
    """Mark the texts that a function tells; bytes are read as UTF-8."""
    flat = (keep(text_of(element)) for element in cells.ravel().tolist())
    return np.fromiter(flat, bool, cells.size).reshape(cells.shape)


def text_of(element: object) -> str:
    """Return a BYTES element as text."""
    if isinstance(element, bytes):
        return element.decode("utf-8", "replace")
    return str(element)


def _number_mark(rule: Rule, datatype: Datatype) -> Mark:
    limit = bound(rule.limit, datatype)
    if rule.check is Check.MIN:
        return lambda cells, null: (cells < limit) & ~null
    if rule.check is Check.MAX:
        return lambda cells, null: (cells > limit) & ~null
    if rule.check is Check.FINITE:
        return lambda cells, _: ~np.isfinite(cells)
    known = levels(rule.allowed, datatype)
    return lambda cells, null: ~np.isin(cells, known) & ~null


def _text_mark(rule: Rule) -> Mark:
    limit = rule.limit
    if rule.check is Check.MIN_LEN:
        return lambda cells, null: texts(cells, lambda text: len(text) < limit) & ~null
    if rule.check is Check.MAX_LEN:
        return lambda cells, null: texts(cells, lambda text: len(text) > limit) & ~null
    if rule.check is Check.UTF8:
        return lambda cells, _: _no_utf8(cells)
    known = frozenset(rule.allowed)
    return lambda cells, null: texts(cells, lambda text: text not in known) & ~null


def _constant(cells: Array, _: Array) -> Array:
    """Mark all of a row whose values are all the same."""
    if cells.shape[1] < 2:  # noqa: PLR2004  one value cannot vary
        return np.zeros(cells.shape, bool)
    same = np.asarray(cells == cells[:, :1], bool).all(axis=1, keepdims=True)
    return np.broadcast_to(same, cells.shape)


def _no_utf8(cells: Array) -> Array:
    flat = (_is_broken(element) for element in cells.ravel().tolist())
    return np.fromiter(flat, bool, cells.size).reshape(cells.shape)


def _is_broken(element: object) -> bool:
    if not isinstance(element, bytes):
        return False
    try:
        element.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
