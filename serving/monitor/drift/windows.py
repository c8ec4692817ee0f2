"""The last 64, 128, ... 4,096 rows of a stream of blocks, at every block. Pure.

Sums are kept from the beginning on, so that any window is one difference. Blocks may have any
number of rows: a window is the fewest last blocks that have its rows, and less than twice as many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.columns import FloatArray, IntArray

WINDOWS: Final = (64, 128, 256, 512, 1024, 2048, 4096)
_PLACES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowSums:
    """Sums over every window, at the end of some blocks."""

    starts: IntArray
    """Where each window starts, as places in the running sums. Shape (blocks, windows)."""
    rows: IntArray
    """Rows of each; 0 where a stream is too short for it. Shape (blocks, windows)."""
    sums: FloatArray
    """Shape (blocks, windows, components)."""

    def at(self, block: int) -> "WindowSums":
        """Return those at one of the blocks."""
        one = slice(block, block + 1)
        return WindowSums(starts=self.starts[one], rows=self.rows[one], sums=self.sums[one])


def window_sums(
    running_rows: IntArray, running: FloatArray, first: int, windows: Sequence[int]
) -> WindowSums:
    """Sum up windows that end at `first` and at every later place of running sums."""
    ends = running_rows[first:]
    sizes = np.asarray(windows, dtype=np.int64)
    starts = running_rows.searchsorted(ends[:, None] - sizes, "right") - 1
    rows = ends[:, None] - running_rows[np.maximum(starts, 0)]
    rows = np.where((starts < 0) | (rows >= 2 * sizes), 0, rows)
    starts = np.maximum(starts, 0)
    sums = running[first:, None, :] - running[starts]
    return WindowSums(starts=starts, rows=rows, sums=sums)


class RunningSums:
    """Sums since the beginning of a stream, for as long back as the largest window needs."""

    def __init__(self, width: int, windows: Sequence[int] = WINDOWS) -> None:
        """Start with nothing seen; `width` is the number of components."""
        self._windows = tuple(windows)
        self._width = width
        self._block_counts = [-(-rows // BLOCK_ROWS) for rows in windows]
        self._is_even = True
        self._bins: list[IntArray] = []
        self._rows: IntArray = np.zeros(_PLACES, dtype=np.int64)
        self._sums: FloatArray = np.zeros((_PLACES, width))
        self._count = 1

    def push(self, blocks: Sequence[BlockSums]) -> WindowSums:
        """Take in blocks, oldest first; return the windows at the end of each."""
        if self._count + len(blocks) > len(self._rows):
            self._make_room(len(blocks))
        first, end = self._count, self._count + len(blocks)
        new_rows, new_sums = self._rows[first:end], self._sums[first:end]
        for place, block in enumerate(blocks):
            new_rows[place] = block.rows
            new_sums[place] = block.components
        np.cumsum(new_rows, out=new_rows)
        np.cumsum(new_sums, axis=0, out=new_sums)
        new_rows += self._rows[first - 1]
        new_sums += self._sums[first - 1]
        self._bins += [block.bins for block in blocks]
        self._count = end
        self._is_even = self._is_even and bool(
            (np.diff(self._rows[first - 1 : end]) == BLOCK_ROWS).all()
        )
        if self._is_even and first >= self._block_counts[-1]:
            return self._even_sums(first, end)
        return window_sums(self._rows[:end], self._sums[:end], first, self._windows)

    def _even_sums(self, first: int, end: int) -> WindowSums:
        """Do as `window_sums` where all blocks have 64 rows, and there are enough of them."""
        sums = np.empty((end - first, len(self._windows), self._width))
        for place, count in enumerate(self._block_counts):
            begins = self._sums[first - count : end - count]
            np.subtract(self._sums[first:end], begins, out=sums[:, place])
        starts = np.arange(first, end)[:, None] - self._block_counts
        rows = np.broadcast_to(np.array(self._windows, dtype=np.int64), starts.shape)
        return WindowSums(starts=starts, rows=rows, sums=sums)

    def window_bins(self, start: int, blocks_after: int) -> IntArray:
        """Return the rows in each bin from a window's start to the last block but some."""
        bins: IntArray = np.sum(self._bins[start : len(self._bins) - blocks_after], axis=0)
        return bins

    def _make_room(self, block_count: int) -> None:
        """Forget what no window reaches, and count from there."""
        rows, sums = self._rows[: self._count], self._sums[: self._count]
        oldest = max(int(rows.searchsorted(rows[-1] - self._windows[-1], "right")) - 1, 0)
        kept = self._count - oldest
        places = max(_PLACES, 2 * (kept + block_count))
        self._rows, self._sums = np.zeros(places, dtype=np.int64), np.zeros((places, self._width))
        self._rows[:kept], self._sums[:kept] = rows[oldest:] - rows[oldest], sums[oldest:]
        self._sums[:kept] -= sums[oldest]
        self._bins = self._bins[oldest:]
        self._count = kept
