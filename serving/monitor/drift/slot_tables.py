"""From rows to sums of components over 64 of them: the part that costs time for every row. Pure.

A value's slot is where all that is said of it stands in its column's table. Numbers' components are
gathered and added up by a product with ones, and products of pairs by a product of the scores with
themselves; levels are counted by slot, and the counts multiplied with their tables. Whole numbers
and few rows make all of it exact, in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.columns import FloatArray, IntArray, SingleArray
from serving.monitor.drift.level_codec import LevelCodec
from serving.monitor.drift.number_codec import NumberCodec
from serving.monitor.drift.number_search import NumberSearch

_ONES = np.ones((1, BLOCK_ROWS), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Rows, as slots of the tables."""

    rows: int
    numbers: IntArray
    """Shape (columns of numbers, rows)."""
    levels: IntArray
    """Shape (columns of levels, rows)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """Sums over the rows of blocks."""

    components: IntArray
    """Shape (blocks, components)."""
    bins: IntArray
    """Rows in each bin of each column. Shape (blocks, bins)."""


class SlotTables:
    """The tables of all columns, one behind the other: numbers', then levels'."""

    def __init__(
        self, codecs: Sequence[NumberCodec | LevelCodec], pairs: Sequence[tuple[int, int]]
    ) -> None:
        """Put the columns' tables together; a slot between, of no row, has nothing."""
        self.bin_starts = _starts([int(codec.bins.max()) + 1 for codec in codecs])
        """Where each column's bins start. Shape (columns + 1,)."""
        starts = _starts([codec.table.shape[1] for codec in codecs])
        numbers = {i: codec for i, codec in enumerate(codecs) if isinstance(codec, NumberCodec)}
        levels = {i: codec for i, codec in enumerate(codecs) if isinstance(codec, LevelCodec)}
        self._search = NumberSearch([codec.grid for codec in numbers.values()])
        self._level_codecs = tuple(levels.values())
        self._none = int(self._search.slot_starts[-1])
        self._level_starts = self._none + 1 + _starts([len(c.bins) for c in levels.values()])
        slot_starts = [*self._search.slot_starts[:-1].tolist(), *self._level_starts[:-1].tolist()]
        self._bins = np.full(self._level_starts[-1], self.bin_starts[-1])
        for slot, place in zip(slot_starts, (*numbers, *levels), strict=True):
            bins = codecs[place].bins
            self._bins[slot : slot + len(bins)] = bins + self.bin_starts[place]
        width = max((codec.table.shape[1] for codec in numbers.values()), default=0)
        self._table = np.zeros((self._none + 1, width + 1), dtype=np.float32)
        """Of numbers: their components, and a last one that is their score."""
        for slot, codec in zip(slot_starts, numbers.values(), strict=False):
            self._table[slot : slot + len(codec.table), :width] = codec.table
            self._table[slot : slot + len(codec.table), width] = codec.scores
        self._number_places = (starts[list(numbers)][:, None] + np.arange(width)).reshape(-1)
        self._level_places = [(int(starts[i]), int(self.bin_starts[i])) for i in levels]
        order = {place: i for i, place in enumerate(numbers)}
        self._left = np.array([order[left] for left, _ in pairs], dtype=np.int64)
        self._right = np.array([order[right] for _, right in pairs], dtype=np.int64)
        self._pairs_start = int(starts[-1])

    def encode(self, numbers: Sequence[FloatArray], levels: Sequence[Sequence[bytes]]) -> Encoded:
        """Find the slots of rows, column by column."""
        rows = len(next(iter((*numbers, *levels)), ()))
        found = np.empty((len(levels), rows), dtype=np.int64)
        for place, (codec, values) in enumerate(zip(self._level_codecs, levels, strict=True)):
            np.add(codec.slots(values), self._level_starts[place], out=found[place])
        table: FloatArray = np.array(numbers) if numbers else np.empty((0, rows))
        return Encoded(rows=rows, numbers=self._search.slots(table), levels=found)

    def sums(self, encoded: Encoded) -> Sums:
        """Add up rows by 64; the last block may have fewer."""
        numbers = self._in_blocks(encoded.numbers)
        levels = self._in_blocks(encoded.levels)
        bins = self._counted(numbers, levels)
        out = np.empty((len(bins), self._pairs_start + len(self._left)), dtype=np.int64)
        if len(numbers):
            self._add_numbers(numbers, out)
        for codec, (component, bin_start) in zip(
            self._level_codecs, self._level_places, strict=True
        ):
            counts = bins[:, bin_start : bin_start + len(codec.table)].astype(np.float32)
            out[:, component : component + codec.table.shape[1]] = counts @ codec.table
        return Sums(components=out, bins=bins)

    def row_components(self, encoded: Encoded) -> SingleArray:
        """Return the components of each row. Shape (rows, components)."""
        out = np.empty((encoded.rows, self._pairs_start + len(self._left)), dtype=np.float32)
        found = self._table[encoded.numbers.T]
        out[:, self._number_places] = found[..., :-1].reshape(encoded.rows, -1)
        for place, (codec, (component, _)) in enumerate(
            zip(self._level_codecs, self._level_places, strict=True)
        ):
            slots = encoded.levels[place] - self._level_starts[place]
            out[:, component : component + codec.table.shape[1]] = codec.table[slots]
        scores = found[..., -1]
        out[:, self._pairs_start :] = scores[:, self._left] * scores[:, self._right]
        return out

    def _in_blocks(self, slots: IntArray) -> IntArray:
        """Cut rows into blocks; what the last one lacks has a slot with nothing in it."""
        columns, rows = slots.shape
        blocks = -(-rows // BLOCK_ROWS)
        if rows % BLOCK_ROWS:
            whole = np.full((columns, blocks * BLOCK_ROWS), self._none, dtype=np.int64)
            whole[:, :rows] = slots
            slots = whole
        return slots.reshape(columns, blocks, BLOCK_ROWS)

    def _counted(self, numbers: IntArray, levels: IntArray) -> IntArray:
        """Count rows by bin. Shape (blocks, bins)."""
        blocks = numbers.shape[1]
        width = int(self.bin_starts[-1]) + 1
        bins = self._bins.take(np.concatenate((numbers, levels)))
        bins += (np.arange(blocks) * width)[:, None]
        counts = np.bincount(bins.reshape(-1), minlength=blocks * width)
        return counts.reshape(blocks, width)[:, :-1]

    def _add_numbers(self, slots: IntArray, out: IntArray) -> None:
        found = self._table.take(slots.transpose(1, 0, 2), axis=0)
        out[:, self._number_places] = (_ONES @ found)[:, :, 0, :-1].reshape(len(out), -1)
        if self._left.size:
            scores = np.ascontiguousarray(found[..., -1])
            products = scores @ scores.transpose(0, 2, 1)
            out[:, self._pairs_start :] = products[:, self._left, self._right]


def _starts(sizes: Sequence[int]) -> IntArray:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
