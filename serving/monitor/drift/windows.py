"""The last 64, 128, ... 4,096 rows of a stream of blocks, at every block. Pure.

Sums are kept from the beginning on, so that any window is one difference. Blocks may have any
number of rows: a window is the fewest last blocks that have its rows, and less than twice as many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.drift.block_sums import BlockSums, stacked
from serving.monitor.drift.columns import FloatArray, IntArray

WINDOWS: Final = (64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowSums:
    """Sums over every window, at the end of some blocks."""

    starts: IntArray
    """Where each window starts, as places in the running sums. Shape (blocks, windows)."""
    rows: IntArray
    """Rows of each; 0 where a stream is too short for it. Shape (blocks, windows)."""
    sums: FloatArray
    """Shape (blocks, windows, components)."""


def window_sums(
    running_rows: IntArray, running: IntArray | FloatArray, first: int, windows: Sequence[int]
) -> WindowSums:
    """Sum up windows that end at `first` and at every later place of running sums."""
    ends = running_rows[first:]
    sizes = np.asarray(windows, dtype=np.int64)
    starts = running_rows.searchsorted(ends[:, None] - sizes, "right") - 1
    rows = ends[:, None] - running_rows[np.maximum(starts, 0)]
    rows = np.where((starts < 0) | (rows >= 2 * sizes), 0, rows)
    starts = np.maximum(starts, 0)
    sums = running[first:, None, :] - running[starts]
    return WindowSums(starts=starts, rows=rows, sums=sums.astype(np.float64))


class RunningSums:
    """Sums since the beginning of a stream, for as long back as the largest window needs."""

    def __init__(self, width: int, windows: Sequence[int] = WINDOWS) -> None:
        """Start with nothing seen; `width` is the number of components and bins."""
        self._windows = tuple(windows)
        self.rows = np.zeros(1, dtype=np.int64)
        self.sums = np.zeros((1, width), dtype=np.int64)

    def push(self, blocks: Sequence[BlockSums], component_count: int) -> WindowSums:
        """Take in blocks, oldest first; return the windows at the end of each."""
        rows, sums = stacked(blocks)
        self._forget_old()
        first = len(self.rows)
        self.rows = np.concatenate((self.rows, self.rows[-1] + np.cumsum(rows)))
        self.sums = np.concatenate((self.sums, self.sums[-1] + np.cumsum(sums, axis=0)))
        return window_sums(self.rows, self.sums[:, :component_count], first, self._windows)

    def restart_at(self, place: int) -> None:
        """Forget what was before a place of the running sums."""
        self.rows, self.sums = self.rows[place:], self.sums[place:]

    def _forget_old(self) -> None:
        oldest = self.rows[-1] - self._windows[-1]
        self.restart_at(max(int(self.rows.searchsorted(oldest, "right")) - 1, 0))
