"""Rows that a reference would call normal, and one column of them that it should not. Pure.

A reference has no rows, only what its components are in the mean. So components are drawn around
those, and one column's are those of values that really pass its encoder. All is drawn by a seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.columns import Column, FloatArray, IntArray, LevelColumn, NumberColumn
from serving.monitor.drift.encoding import ColumnReference
from serving.monitor.drift.level_codec import is_utf8
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.profile import Profile

Change = Callable[[NumberColumn | LevelColumn, np.random.Generator], NumberColumn | LevelColumn]
"""Makes normal values those that should ring."""

UNSEEN: Final = b"\x1enever seen in a reference"
STRANGE: Final = b"\xff" + UNSEEN
"""Likewise, and no UTF-8."""
CHANGED_SHARE: Final = 0.1
SHIFT_SDS: Final = 1.0


class MadeUpRows:
    """Blocks of rows."""

    def __init__(self, profile: Profile, seed: int) -> None:
        """Prepare.

        Args:
            profile: The reference.
            seed: The same seed gives the same rows.
        """
        self._profile = profile
        self._encoder = profile.encoder
        self._rng = np.random.default_rng(seed)
        components = self._encoder.components
        self._scales = np.array([one.scale for one in components], np.float64)
        self._is_flag = np.array([one.is_flag for one in components])
        self._starts = self._encoder.bin_starts

    def normal(self, blocks: int) -> Iterator[BlockSums]:
        """Draw rows as the reference has them."""
        for _ in range(blocks):
            yield self._block()

    def changed(self, place: int, change: Change, blocks: int) -> Iterator[BlockSums]:
        """Draw rows of which one column is not as the reference has it.

        Args:
            place: The column.
            change: What is done to its values.
            blocks: How many.
        """
        reference, shares = self._profile.columns[place], shares_of(self._profile, place)
        own = self._own_components(place)
        bins = slice(int(self._starts[place]), int(self._starts[place + 1]))
        for _ in range(blocks):
            block = self._block()
            drawn = self._values(reference, shares, BLOCK_ROWS)
            seen = self._encoded(place, change(drawn, self._rng))
            block.components[own] = seen.components[own]
            block.bins[bins] = seen.bins[bins]
            yield block

    def _block(self) -> BlockSums:
        baseline, rng = self._profile.baseline, self._rng
        means, spread = baseline.means * BLOCK_ROWS, baseline.sds * np.sqrt(BLOCK_ROWS)
        sums: FloatArray = rng.normal(means, spread)
        flags = np.clip(baseline.means[self._is_flag], 0.0, 1.0)
        sums[self._is_flag] = rng.binomial(BLOCK_ROWS, flags)
        components: IntArray = np.rint(sums * self._scales).astype(np.int64)
        bins = np.zeros(int(self._starts[-1]), np.int64)
        for place in range(len(self._profile.columns)):
            chosen = slice(int(self._starts[place]), int(self._starts[place + 1]))
            bins[chosen] = _shared(self._profile.bins[chosen], rng)
        return BlockSums(
            digest=self._profile.digest, rows=BLOCK_ROWS, components=components, bins=bins
        )

    def _own_components(self, place: int) -> IntArray:
        """Return which components tell of one column alone."""
        name = self._profile.columns[place].name
        return np.flatnonzero([one.features == (name,) for one in self._encoder.components])

    def _encoded(self, place: int, changed: Column) -> BlockSums:
        """Encode one column's values; all others have none."""
        rows = len(changed.values)
        columns = [
            changed if at == place else _nothing(reference, rows)
            for at, reference in enumerate(self._profile.columns)
        ]
        encoded = self._encoder.encode(columns)
        return next(iter(self._encoder.blocks(encoded, self._profile.digest)))

    def _values(
        self, reference: ColumnReference, shares: "Shares", rows: int
    ) -> NumberColumn | LevelColumn:
        """Draw values of a column as often as the reference has them, missing ones among them."""
        if isinstance(reference, NumberReference):
            cuts = reference.cuts if len(reference.cuts) else np.zeros(1)
            values = np.where(
                self._rng.random(rows) < shares.missing, np.nan, self._rng.choice(cuts, rows)
            )
            return NumberColumn(name=reference.name, role=reference.role, values=values)
        levels = (*reference.levels, UNSEEN, STRANGE, b"")
        drawn = self._rng.choice(len(levels), rows, p=shares.levels).tolist()
        return LevelColumn(
            name=reference.name, role=reference.role, values=[levels[at] for at in drawn]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of a column's rows in the reference."""

    missing: float
    """0 also where all are: nothing could be done to them."""
    unseen: float = 0.0
    levels: FloatArray | None = None
    """Of each level, of levels never seen, of such that are not UTF-8, and of missing ones."""


def shares_of(profile: Profile, place: int) -> Shares:
    """Read off a column's bins how its rows are shared out; those of numbers end with missing."""
    reference, starts = profile.columns[place], profile.encoder.bin_starts
    bins = profile.bins[int(starts[place]) : int(starts[place + 1])]
    whole = max(int(bins.sum()), 1)
    if isinstance(reference, NumberReference):
        missing = float(bins[-1]) / whole
        return Shares(missing=missing if missing < 1 else 0.0)
    top = len(reference.top)
    other, unseen, missing_rows, strange_other, strange = bins[top:].tolist()
    are_text = np.array([is_utf8(level) for level in reference.levels[top:]], bool)
    texts = int(are_text.sum())
    each, each_strange = other / max(texts, 1), strange_other / max(len(are_text) - texts, 1)
    rest = np.where(are_text, each, each_strange)
    counts = np.concatenate((bins[:top], rest, (unseen, strange, missing_rows)))
    counts[-1] += not counts.any()
    shares = counts / counts.sum()
    return Shares(missing=float(shares[-1]), unseen=float(shares[-3] + shares[-2]), levels=shares)


def shifted(reference: NumberReference) -> Change:
    """Return what moves numbers by a standard deviation; constant ones by some."""
    step = SHIFT_SDS * reference.sd or max(1.0, abs(reference.mean))

    def change(column: NumberColumn | LevelColumn, _: np.random.Generator) -> NumberColumn:
        values = np.asarray(column.values, np.float64) + step
        return NumberColumn(name=column.name, role=column.role, values=values)

    return change


def with_level(level: bytes, before: float) -> Change:
    """Return what puts a level into a part of all rows.

    Args:
        level: Which.
        before: The share of rows that have it, or are as good as it.
    """

    def change(
        column: NumberColumn | LevelColumn, rng: np.random.Generator
    ) -> NumberColumn | LevelColumn:
        is_changed = (rng.random(len(column.values)) < _part(before)).tolist()
        values = [
            level if new else bytes(old) for old, new in zip(column.values, is_changed, strict=True)
        ]
        return LevelColumn(name=column.name, role=column.role, values=values)

    return change


def with_missing(before: float) -> Change:
    """Return what takes the values of a part of all rows away; `before`: the share without one."""

    def change(
        column: NumberColumn | LevelColumn, rng: np.random.Generator
    ) -> NumberColumn | LevelColumn:
        is_gone = rng.random(len(column.values)) < _part(before)
        if isinstance(column, NumberColumn):
            values = np.where(is_gone, np.nan, column.values)
            return NumberColumn(name=column.name, role=column.role, values=values)
        kept = [b"" if gone else old for old, gone in zip(column.values, is_gone, strict=True)]
        return LevelColumn(name=column.name, role=column.role, values=kept)

    return change


def _part(before: float) -> float:
    """Return of which share of any rows `CHANGED_SHARE` of all are changed by it."""
    return min(1.0, CHANGED_SHARE / (1.0 - before)) if before < 1 else 1.0


def _nothing(reference: ColumnReference, rows: int) -> Column:
    if isinstance(reference, NumberReference):
        return NumberColumn(
            name=reference.name, role=reference.role, values=np.full(rows, np.nan, np.float64)
        )
    return LevelColumn(name=reference.name, role=reference.role, values=[b""] * rows)


def _shared(counts: IntArray, rng: np.random.Generator) -> IntArray:
    total = int(counts.sum())
    if not total:
        return np.zeros(len(counts), np.int64)
    drawn: IntArray = rng.multinomial(BLOCK_ROWS, counts / total).astype(np.int64)
    return drawn
