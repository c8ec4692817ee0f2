"""Pure: which rows of an output differ from what another version gave, and by how much.

`runtimes.tolerance` judges a whole tensor against a golden one; here each row is judged by itself,
because rows of live traffic are independent cases: a share of rows can be counted, and the worst be
shown. *Expected* is what the other version gave, *found* what this one gives.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import ml_dtypes
import numpy as np

from runtimes.contract import Array
from runtimes.tolerance import BITWISE, Tolerance, absolute_difference, is_float, nan_mask, outside

CLOSE: Final = Tolerance(kind="close", rtol=1e-3, atol=1e-5)
CLOSE_BF16: Final = Tolerance(kind="close", rtol=1e-2, atol=1e-5)
"""bfloat16 has 8 bits: 1e-3 would be less than its last one."""
CHUNK_ELEMENTS: Final = 1 << 20
"""Rows are compared so many elements at a time: differences are FP64."""
UNMEASURED: Final = sys.float_info.max
"""The score of a row that cannot be measured: NaN against a number, another shape. JSON has no
infinity."""
EXCERPT_ELEMENTS: Final = 8
EXCERPT_LETTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowComparison:
    """How the rows of one output compare. Both arrays have shape (rows,)."""

    mismatched: Array
    """Which rows are outside the tolerance."""
    scores: Array
    """How far each of these is: its largest difference, in units of what the tolerance allows where
    it allows something (`close`); 0 for the others."""
    places: Array
    """Index in the flattened row of its element that is farthest off."""
    largest_absolute: float = 0.0
    """Of all rows; differences that are no finite number are left out."""
    largest_relative: float = 0.0
    """Relative to what was expected; elements that were expected to be 0 are left out."""
    reason: str = ""
    """Why nothing could be measured: another datatype or shape."""


def default_tolerance(dtype: np.dtype[np.generic]) -> Tolerance:
    """Return what holds for an output about which its bundle says nothing."""
    if not is_float(dtype):
        return BITWISE
    return CLOSE_BF16 if dtype == ml_dtypes.bfloat16 else CLOSE


def compare_rows(
    expected: Array, found: Array, allowed: Tolerance, *, is_batched: bool
) -> RowComparison:
    """Compare an output row by row.

    Args:
        expected: What the other version gave. BYTES are object arrays of `bytes`, on both sides.
        found: What this version gives.
        allowed: How far it may be off.
        is_batched: The first dimension counts rows; else the whole is one row.
    """
    if not is_batched or not expected.ndim:
        expected, found = expected[np.newaxis], found[np.newaxis]
    rows = expected.shape[0]
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return unmeasured(
            rows,
            f"{expected.dtype}{list(expected.shape)} was expected, found is "
            f"{found.dtype}{list(found.shape)}",
            is_ignored=allowed.kind == "none",
        )
    if not expected.size or allowed.kind == "none":
        return unmeasured(rows, "", is_ignored=True)
    if expected.dtype == object:
        return _compare_texts(expected.reshape(rows, -1), found.reshape(rows, -1))
    if expected.ndim == 1:
        expected, found = expected[:, np.newaxis], found[:, np.newaxis]
        if allowed.kind == "label":  # one value a row has no label
            allowed = default_tolerance(expected.dtype)
    step = max(1, CHUNK_ELEMENTS * rows // expected.size)
    return _joined(
        [
            _compare_numbers(expected[start : start + step], found[start : start + step], allowed)
            for start in range(0, rows, step)
        ]
    )


def unmeasured(rows: int, reason: str, *, is_ignored: bool = False) -> RowComparison:
    """Return what is said of rows that could not be compared, or need not be."""
    return RowComparison(
        mismatched=np.full(rows, not is_ignored),
        scores=np.full(rows, 0.0 if is_ignored else UNMEASURED),
        places=np.zeros(rows, dtype=np.int64),
        reason="" if is_ignored else reason,
    )


def excerpt(array: Array, row: int, place: int, *, is_batched: bool) -> str:
    """Write some elements of a row for people, from one of them on; empty if it is not there."""
    table = array if is_batched and array.ndim else array[np.newaxis]
    if row >= table.shape[0]:
        return ""
    flat = table[row].reshape(-1)
    shown = flat[place : place + EXCERPT_ELEMENTS]
    text = ", ".join(repr(item) if flat.dtype == object else str(item) for item in shown)
    more = ", …" if place + EXCERPT_ELEMENTS < flat.size else ""
    return f"[{place}]: {text}"[:EXCERPT_LETTERS] + more


def _compare_texts(expected: Array, found: Array) -> RowComparison:
    differs = np.asarray(expected != found, dtype=bool)
    mismatched = np.asarray(differs.any(axis=1))
    return RowComparison(
        mismatched=mismatched,
        scores=np.asarray(mismatched, dtype=np.float64),
        places=differs.argmax(axis=1),
    )


def _compare_numbers(expected: Array, found: Array, allowed: Tolerance) -> RowComparison:
    expected, found = np.ascontiguousarray(expected), np.ascontiguousarray(found)
    rows = expected.shape[0]
    mismatched = np.asarray(outside(expected, found, allowed).reshape(rows, -1).any(axis=1))
    absolute = absolute_difference(expected, found).reshape(rows, -1)
    size = np.abs(expected.astype(np.float64)).reshape(rows, -1)
    with np.errstate(all="ignore"):
        relative = absolute / size
        scores = absolute
        if allowed.kind == "close":
            margins = allowed.atol + allowed.rtol * size
            scores = np.where(absolute == 0, 0.0, absolute / margins)
    scores = np.where(np.isfinite(scores), scores, UNMEASURED)
    both_are_nan = nan_mask(expected) & nan_mask(found)
    scores = np.where(both_are_nan.reshape(rows, -1), 0.0, scores)
    return RowComparison(
        mismatched=mismatched,
        scores=np.where(mismatched, scores.max(axis=1), 0.0),
        places=scores.argmax(axis=1),
        largest_absolute=_largest(absolute),
        largest_relative=_largest(relative),
    )


def _largest(values: Array) -> float:
    return float(np.max(values, where=np.isfinite(values), initial=0.0))


def _joined(parts: Sequence[RowComparison]) -> RowComparison:
    if len(parts) == 1:
        return parts[0]
    return RowComparison(
        mismatched=np.concatenate([part.mismatched for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        places=np.concatenate([part.places for part in parts]),
        largest_absolute=max(part.largest_absolute for part in parts),
        largest_relative=max(part.largest_relative for part in parts),
    )
