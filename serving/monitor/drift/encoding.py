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
from serving.monitor.drift.columns import Column, IntArray, LevelColumn, NumberColumn, SingleArray
from serving.monitor.drift.level_codec import LevelCodec, LevelReference
from serving.monitor.drift.number_codec import SCALE, SCORE_SCALE, NumberCodec, NumberReference

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Rows as components and bins."""

    components: SingleArray
    """Whole numbers. Shape (components, rows)."""
    bins: IntArray
    """Which bin each column's value is in, counted over all columns. Shape (columns, rows)."""

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.components.shape[1])


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
        self._left = np.array([left for left, _ in pairs], dtype=np.int64)
        self._right = np.array([right for _, right in pairs], dtype=np.int64)
        self.components = (
            *(c for codec in self.codecs for c in _components(codec)),
            *(
                Component(
                    features=(columns[left].name, columns[right].name),
                    statistic="relation",
                    is_flag=False,
                    scale=SCORE_SCALE**2,
                )
                for left, right in pairs
            ),
        )
        sizes = [_bin_count(codec) for codec in self.codecs]
        self.bin_starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode rows; the columns are those of the reference, in its order."""
        rows = len(columns[0].values) if columns else 0
        out = np.empty((len(self.components), rows), dtype=np.float32)
        scores = np.zeros((len(self.codecs), rows), dtype=np.float32)
        bins = np.empty((len(self.codecs), rows), dtype=np.int64)
        end = 0
        for place, (codec, column) in enumerate(zip(self.codecs, columns, strict=True)):
            part = out[end : end + codec.component_count]
            end += codec.component_count
            if isinstance(codec, NumberCodec) and isinstance(column, NumberColumn):
                places = codec.encode(column.values, part)
                scores[place] = codec.scores(places)
                bins[place] = codec.bins(places)
            elif isinstance(codec, LevelCodec) and isinstance(column, LevelColumn):
                bins[place] = codec.encode(column.values, part)
            else:
                raise InvalidArgumentError(_other_kind(column, codec))
        if len(self._left):
            np.multiply(scores[self._left], scores[self._right], out=out[end:])
        bins += self.bin_starts[:-1, None]
        return Encoded(components=out, bins=bins)

    def blocks(self, encoded: Encoded, digest: str) -> list[BlockSums]:
        """Add up rows by 64; the last block may have fewer."""
        whole = encoded.rows // BLOCK_ROWS * BLOCK_ROWS
        parts = [(0, whole, BLOCK_ROWS), (whole, encoded.rows, encoded.rows - whole)]
        return [
            block
            for begin, end, rows in parts
            if end > begin
            for block in self._sums(encoded, slice(begin, end), rows, digest)
        ]

    def _sums(self, encoded: Encoded, chosen: slice, rows: int, digest: str) -> Iterator[BlockSums]:
        components = encoded.components[:, chosen]
        bins = encoded.bins[:, chosen]
        count = components.shape[1] // rows
        sums = components.reshape(len(components), count, rows).sum(axis=2).T.astype(np.int64)
        width = int(self.bin_starts[-1])
        shifted = bins + np.repeat(np.arange(count) * width, rows)
        filled = np.bincount(shifted.reshape(-1), minlength=count * width).reshape(count, width)
        for block in range(count):
            yield BlockSums(digest=digest, rows=rows, components=sums[block], bins=filled[block])


def _other_kind(column: Column, codec: NumberCodec | LevelCodec) -> str:
    kinds = {True: "numbers", False: "levels"}
    return (
        f"column {column.name!r} has {kinds[isinstance(column, NumberColumn)]}, but its reference "
        f"{codec.reference.name!r} has {kinds[isinstance(codec, NumberCodec)]}: reduce the rows by "
        "the profile's own reductions"
    )


def _bin_count(codec: NumberCodec | LevelCodec) -> int:
    """Return how many bins a column has, that of missing values included."""
    return codec.bin_count + 1 if isinstance(codec, NumberCodec) else codec.component_count


def _components(codec: NumberCodec | LevelCodec) -> Iterator[Component]:
    """Name a column's components, in the order in which its codec fills them."""
    features = (codec.reference.name,)
    if isinstance(codec, NumberCodec):
        for shape in number_codec.SHAPES:
            yield Component(features=features, statistic=shape, is_flag=False, scale=SCALE)
        flags: Sequence[str] = number_codec.FLAGS
    else:
        levels = [level_codec.shown(level) for level in codec.reference.top]
        flags = [*(f"share of {level!r}" for level in levels), *level_codec.FLAGS]
    for flag in flags:
        yield Component(features=features, statistic=flag, is_flag=True, scale=1)
