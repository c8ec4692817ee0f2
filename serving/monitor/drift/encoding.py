"""Rows as components: every column's own, and products of pairs of numbers. Pure.

A component is a number for each row of which only the mean is watched. The products of two
columns' normal scores are what sees that a relation has changed while both columns have not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift import level_codec, number_codec
from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.columns import (
    Column,
    FloatArray,
    LevelColumn,
    NumberColumn,
    SingleArray,
)
from serving.monitor.drift.level_codec import LevelCodec, LevelReference
from serving.monitor.drift.number_codec import SCALE, SCORE_SCALE, NumberCodec, NumberReference
from serving.monitor.drift.slot_tables import Encoded, SlotTables, Sums

MAX_PAIRS: Final = 66

ColumnReference = NumberReference | LevelReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """What one number of each row says."""

    features: tuple[str, ...]
    """One column, or the two of a pair."""
    statistic: str
    is_flag: bool
    scale: int
    """The whole number that stands for 1."""

    @property
    def is_pair(self) -> bool:
        """Whether it tells of a relation."""
        return len(self.features) > 1


def choose_pairs(columns: Sequence[ColumnReference], seed: int) -> tuple[tuple[int, int], ...]:
    """Choose which pairs of columns are watched: all, or `MAX_PAIRS` drawn by the seed."""
    numbers = [
        place
        for place, column in enumerate(columns)
        if isinstance(column, NumberReference) and len(np.unique(column.cuts)) > 1
    ]
    pairs = list(combinations(numbers, 2))
    if len(pairs) <= MAX_PAIRS:
        return tuple(pairs)
    drawn = np.random.default_rng(seed).choice(len(pairs), MAX_PAIRS, replace=False)
    return tuple(pairs[place] for place in sorted(drawn.tolist()))


class Encoder:
    """Encodes rows of the columns that a reference has."""

    def __init__(
        self,
        columns: Sequence[ColumnReference],
        pairs: Sequence[tuple[int, int]],
        hidden: Mapping[str, frozenset[bytes]] | None = None,
    ) -> None:
        """Build the codecs; `hidden` are levels that count as never seen, by column."""
        self.columns = tuple(columns)
        self.pairs = tuple(pairs)
        self.hidden = hidden or {}
        self.codecs = tuple(
            NumberCodec(column)
            if isinstance(column, NumberReference)
            else LevelCodec(column, self.hidden.get(column.name, frozenset()))
            for column in columns
        )
        self.components = (
            *(c for codec in self.codecs for c in _components(codec)),
            *(_relation(columns[left].name, columns[right].name) for left, right in pairs),
        )
        self._tables = SlotTables(self.codecs, pairs)
        self.bin_starts = self._tables.bin_starts

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode rows; the columns are those of the reference, in its order."""
        numbers: list[FloatArray] = []
        levels: list[Sequence[bytes]] = []
        for codec, column in zip(self.codecs, columns, strict=True):
            if isinstance(codec, NumberCodec) and isinstance(column, NumberColumn):
                numbers.append(column.values)
            elif isinstance(codec, LevelCodec) and isinstance(column, LevelColumn):
                levels.append(column.values)
            else:
                raise InvalidArgumentError(_other_kind(column, codec))
        return self._tables.encode(numbers, levels)

    def row_components(self, encoded: Encoded) -> SingleArray:
        """Return the components of each row, whole numbers. Shape (rows, components)."""
        return self._tables.row_components(encoded)

    def sums(self, encoded: Encoded) -> Sums:
        """Add up rows by 64; the last block may have fewer."""
        return self._tables.sums(encoded)

    def blocks(self, encoded: Encoded, digest: str) -> list[BlockSums]:
        """Add up rows by 64; the last block may have fewer."""
        sums = self.sums(encoded)
        left = encoded.rows
        blocks: list[BlockSums] = []
        for components, bins in zip(sums.components, sums.bins, strict=True):
            rows = min(left, BLOCK_ROWS)
            left -= rows
            blocks.append(BlockSums(digest=digest, rows=rows, components=components, bins=bins))
        return blocks


def _other_kind(column: Column, codec: NumberCodec | LevelCodec) -> str:
    kinds = {True: "numbers", False: "levels"}
    return (
        f"column {column.name!r} has {kinds[isinstance(column, NumberColumn)]}, but its reference "
        f"{codec.reference.name!r} has {kinds[isinstance(codec, NumberCodec)]}: reduce the rows by "
        "the profile's own reductions"
    )


def _relation(left: str, right: str) -> Component:
    return Component(
        features=(left, right), statistic="relation", is_flag=False, scale=SCORE_SCALE**2
    )


def _components(codec: NumberCodec | LevelCodec) -> Iterator[Component]:
    """Name a column's components, in the order in which its codec's table has them."""
    features = (codec.reference.name,)
    if isinstance(codec, NumberCodec):
        for shape in number_codec.SHAPES:
            yield Component(features=features, statistic=shape, is_flag=False, scale=SCALE)
        for flag in number_codec.FLAGS:
            yield Component(features=features, statistic=flag, is_flag=True, scale=1)
        return
    levels = [level_codec.shown(level) for level in codec.reference.top]
    for flag in (*(f"share of {level!r}" for level in levels), *level_codec.FLAGS):
        yield Component(features=features, statistic=flag, is_flag=True, scale=1)
    for one, another in codec.contrasts:
        statistic = f"share of {levels[one]!r} against {levels[another]!r}"
        yield Component(features=features, statistic=statistic, is_flag=False, scale=1)
