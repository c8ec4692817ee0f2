"""Where numbers lie in the grids of many columns, all at once. Pure.

A number's bucket, one of many equal ones over most of the grid's range, says how many points lie
before it at least; a binary search among the few points of a bucket says the rest. It is the same
for all numbers, so that it costs some passes over arrays and no branch. Which bucket a number is in
is found out for grid points in the same way as for numbers, so rounding cannot make it wrong.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.monitor.drift.columns import FloatArray, IntArray

BUCKETS: Final = 1024
_TAILS: Final = (0.0, 0.002, 0.02, 0.1, 0.25)
"""Shares of a grid that may lie beyond the buckets on either side; the best one is taken."""


class NumberSearch:
    """Finds slots, as `NumberCodec` has them, of rows with a number from each column."""

    def __init__(self, grids: Sequence[FloatArray]) -> None:
        """Choose buckets; each grid is sorted, begins and ends with an infinity."""
        chosen = [_best_buckets(grid) for grid in grids]
        self._lows = np.array([low for low, _, _ in chosen]).reshape(-1, 1)
        self._scales = np.array([scale for _, scale, _ in chosen]).reshape(-1, 1)
        fullest = max((int(np.diff(counts).max()) for _, _, counts in chosen), default=0)
        rounds = fullest.bit_length()
        self._steps = tuple(1 << i for i in reversed(range(rounds)))
        padding = np.full(1 << rounds, np.inf)
        starts = np.cumsum([0, *(len(grid) + len(padding) for grid in grids)])
        self.slot_starts: IntArray = 2 * starts
        """Where each column's slots start. Shape (columns + 1,)."""
        none: FloatArray = np.empty(0)
        padded = [np.concatenate((grid, padding)) for grid in grids]
        self._points = np.concatenate((none, *padded))
        before = [counts[:-1] + starts[place] for place, (_, _, counts) in enumerate(chosen)]
        self._before = np.concatenate((none, *before)).astype(np.int32)
        self._bucket_starts = (np.arange(len(grids)) * BUCKETS)[:, None]
        lengths = np.array([len(grid) for grid in grids], dtype=np.int64)
        self._missing = 2 * (starts[:-1] + lengths)[:, None]

    def slots(self, values: FloatArray) -> IntArray:
        """Find slots, counted over all columns. Shape (columns, rows), as the values."""
        buckets = _buckets(values, self._lows, self._scales)
        buckets += self._bucket_starts
        slots: IntArray = self._before.take(buckets, mode="clip").astype(np.int64)
        points, is_before = np.empty_like(values), np.empty(values.shape, dtype=np.bool_)
        probed = np.empty_like(slots)
        for step in self._steps:
            np.add(slots, step - 1, out=probed)
            self._points.take(probed, out=points, mode="clip")
            np.less(points, values, out=is_before)
            np.multiply(is_before, step, out=probed)
            slots += probed
        self._points.take(slots, out=points, mode="clip")
        slots *= 2
        slots += np.equal(points, values, out=is_before)
        if np.not_equal(values, values, out=is_before).any():
            np.copyto(slots, self._missing, where=is_before)
        return slots


def _buckets(values: FloatArray, low: float | FloatArray, scale: float | FloatArray) -> IntArray:
    """Return the buckets, from 0 to `BUCKETS` - 1, of numbers in order; any one for NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = values - low
        found *= scale
    np.fmax(found, 0.0, out=found)
    np.fmin(found, BUCKETS - 1, out=found)
    return found.astype(np.int64)


def _best_buckets(grid: FloatArray) -> tuple[float, float, IntArray]:
    """Return where buckets start, how many there are in 1, and the points before each and all."""
    points = grid[1:-1] if len(grid) > 2 else np.zeros(1)  # noqa: PLR2004  two infinities
    best = (0.0, 0.0, np.array([0, *[len(grid)] * BUCKETS]))
    for tail in _TAILS:
        low, high = points[[int(tail * len(points)), -1 - int(tail * len(points))]].tolist()
        with np.errstate(over="ignore", divide="ignore"):
            scale = float(BUCKETS / np.float64(high - low))
        if not 0.0 < scale < np.inf:
            continue
        counted = np.bincount(_buckets(grid, low, scale), minlength=BUCKETS)
        if counted.max() < np.diff(best[2]).max():
            best = (low, scale, np.concatenate(([0], np.cumsum(counted))))
    return best
