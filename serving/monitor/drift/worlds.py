"""Worlds in which nothing has changed: a reference and a stream after it, drawn from a reference.

What a monitor does in many such worlds tells how often it alarms without cause. Independent rows
are drawn from the reference's rows. Where rows depend on those before them, a copula is drawn:
normal scores of numbers follow autoregressions of order 1 that have the columns' autocorrelation
times and their correlations; levels and missing values stay for a while, then are drawn anew. The
autocorrelations are drawn, too, from their own sampling error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Protocol

import numpy as np

from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.columns import (
    Column,
    FloatArray,
    IntArray,
    LevelColumn,
    NumberColumn,
    SingleArray,
)
from serving.monitor.drift.encoding import Encoder
from serving.monitor.drift.number_codec import SCORE_SCALE, NumberCodec, learn_numbers

_CELLS: Final = 10_000
_LIMIT: Final = 5.0
_NORMAL: Final = NormalDist()
_STEP: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """What a monitor sees of one."""

    reference_means: FloatArray
    """Shape (components,), unscaled."""
    running: FloatArray
    """Sums over the stream up to each block of 64 rows. Shape (blocks + 1, components)."""


class Worlds(Protocol):
    """A supply of worlds."""

    def draw(self, rng: np.random.Generator, stream_rows: int) -> World:
        """Draw one."""
        ...


class IndependentWorlds:
    """Rows are drawn from the reference's, each for itself."""

    def __init__(self, components: SingleArray) -> None:
        """Keep the reference's components, unscaled. Shape (rows, components)."""
        self._components = components

    def draw(self, rng: np.random.Generator, stream_rows: int) -> World:
        """Draw a reference of the same size, and a stream."""
        known = self._components
        count = len(known)
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        stream = known.take(rng.integers(count, size=stream_rows), axis=0)
        means = (drawn.astype(np.float32) @ known) / count
        return World(reference_means=means.astype(np.float64), running=_running(stream))


class CorrelatedWorlds:
    """Rows depend on those before them as the reference's do."""

    def __init__(self, encoder: Encoder, columns: Sequence[Column], times: Sequence[float]) -> None:
        """Fit the copula; `times` are the columns' autocorrelation times."""
        self._encoder = encoder
        self._columns = columns
        self._rows = len(columns[0].values)
        self._scales = np.array([c.scale for c in encoder.components])
        self._carry = np.array([(time - 1.0) / (time + 1.0) for time in times])
        self._numbers = [i for i, c in enumerate(columns) if isinstance(c, NumberColumn)]
        self._sorted = {i: _present(columns[i]) for i in self._numbers}
        scores = np.linspace(-_LIMIT, _LIMIT, _CELLS)
        self._ranks = np.array([_NORMAL.cdf(score) for score in scores])
        self._correlations = _correlations([_scores(encoder, columns, i) for i in self._numbers])

    def draw(self, rng: np.random.Generator, stream_rows: int) -> World:
        """Draw a reference of the same size, learn it, and draw a stream some time later."""
        error = np.sqrt((1.0 - self._carry**2) / self._rows)
        carry = np.clip(self._carry + error * rng.standard_normal(len(error)), 0.0, 0.999)
        reference = self._columns_of(rng, self._rows, carry)
        stream = self._columns_of(rng, stream_rows, carry)
        encoder = Encoder(
            [
                learn_numbers(drawn.name, drawn.role, drawn.values)
                if isinstance(drawn, NumberColumn)
                else known
                for drawn, known in zip(reference, self._encoder.columns, strict=True)
            ],
            self._encoder.pairs,
            self._encoder.hidden,
        )
        return World(
            reference_means=self._sums(encoder, reference).sum(axis=0) / self._rows,
            running=_accumulated(self._sums(encoder, stream)[: stream_rows // BLOCK_ROWS]),
        )

    def _sums(self, encoder: Encoder, columns: Sequence[Column]) -> FloatArray:
        """Add up components by blocks. Shape (blocks, components), unscaled."""
        sums: FloatArray = encoder.sums(encoder.encode(columns)).components / self._scales
        return sums

    def _columns_of(
        self, rng: np.random.Generator, rows: int, carry: FloatArray
    ) -> Sequence[Column]:
        scores = _autoregression(rng, rows, carry[self._numbers], self._correlations)
        cells = ((scores + _LIMIT) * (_CELLS / (2 * _LIMIT))).astype(np.int64)
        ranks = self._ranks.take(cells, mode="clip")
        drawn: list[Column] = list(self._columns)
        for place, column in enumerate(self._columns):
            if isinstance(column, LevelColumn):
                origin = _staying(rng, rows, carry[place], self._rows)
                values = [column.values[row] for row in origin.tolist()]
                drawn[place] = LevelColumn(name=column.name, values=values, role=column.role)
                continue
            numbers = self._sorted[place]
            of_column = ranks[:, self._numbers.index(place)]
            found = _quantiles(numbers, of_column)
            if 0 < numbers.size < self._rows:
                found[np.isnan(column.values[_staying(rng, rows, carry[place], self._rows)])] = (
                    np.nan
                )
            drawn[place] = NumberColumn(name=column.name, values=found, role=column.role)
        return drawn


def _quantiles(numbers: FloatArray, ranks: FloatArray) -> FloatArray:
    if not numbers.size:
        return np.full(len(ranks), np.nan)
    return numbers.take((ranks * numbers.size).astype(np.int64), mode="clip")


def _running(stream: SingleArray) -> FloatArray:
    blocks = len(stream) // BLOCK_ROWS
    shape = (blocks, BLOCK_ROWS, stream.shape[1])
    ones = np.ones((1, BLOCK_ROWS), dtype=np.float32)
    sums = (ones @ stream[: blocks * BLOCK_ROWS].reshape(shape))[:, 0]
    return _accumulated(sums)


def _accumulated(sums: SingleArray | FloatArray) -> FloatArray:
    none = np.zeros((1, sums.shape[1]))
    return np.concatenate((none, np.cumsum(sums, axis=0, dtype=np.float64)))


def _present(column: Column) -> FloatArray:
    values = np.asarray(column.values, dtype=np.float64)
    return np.sort(values[~np.isnan(values)])


def _scores(encoder: Encoder, columns: Sequence[Column], place: int) -> FloatArray:
    codec, column = encoder.codecs[place], columns[place]
    assert isinstance(codec, NumberCodec)  # noqa: S101  both are of one column
    assert isinstance(column, NumberColumn)  # noqa: S101
    return codec.scores[codec.slots(column.values)].astype(np.float64) / SCORE_SCALE


def _correlations(scores: Sequence[FloatArray]) -> FloatArray:
    """Return the correlations of normal scores; a column that is constant has none."""
    count = len(scores)
    if not count:
        return np.zeros((0, 0))
    centred = np.stack([one - one.mean() for one in scores])
    norms = np.sqrt((centred**2).sum(axis=1))
    result: FloatArray = (centred @ centred.T) / np.maximum(np.outer(norms, norms), 1e-12)
    np.fill_diagonal(result, 1.0)
    return result


def _autoregression(
    rng: np.random.Generator, rows: int, carry: FloatArray, correlations: FloatArray
) -> FloatArray:
    """Draw correlated standard normal columns, each an AR(1). Shape (rows, columns)."""
    noise = rng.standard_normal((rows, len(carry)))
    noise[0] = noise[0] @ _root(correlations).T
    noise[1:] = noise[1:] @ _root(correlations * (1.0 - np.outer(carry, carry))).T
    powers = np.maximum(carry, 1e-4) ** np.arange(1, _STEP + 1)[:, None]
    before = np.zeros(len(carry))
    for start in range(0, rows, _STEP):
        part = noise[start : start + _STEP]
        known = powers[: len(part)]
        part[:] = known * (before + np.cumsum(part / known, axis=0))
        before = part[-1]
    return noise


def _root(covariances: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(covariances)
    root: FloatArray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _staying(rng: np.random.Generator, rows: int, carry: float, count: int) -> IntArray:
    """Draw rows of `count`, where each row repeats the one before it with probability `carry`."""
    is_new = rng.random(rows) >= carry
    is_new[0] = True
    latest = np.maximum.accumulate(np.where(is_new, np.arange(rows), 0))
    return rng.integers(count, size=rows)[latest]
