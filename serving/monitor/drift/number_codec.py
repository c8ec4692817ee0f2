"""Numbers as components: where a value lies in its reference, and three flags.

A value becomes its mid-rank `u` in (at most) 512 quantiles of the reference, and this the first
four Legendre polynomials of `2u - 1`: they see location, scale, skew and tails. So components are
bounded, have no unit, and no outlier can move them far. What is missing counts 0 there.

Components are whole numbers, in units of 1/`SCALE`, and small enough for sums of 64 rows to be
exact in single precision, in any order.
"""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np

from serving.monitor.drift.columns import FloatArray, IntArray, Role, SingleArray

SCALE: Final = 1024
SCORE_SCALE: Final = 64
MAX_CUTS: Final = 512
MAX_BINS: Final = 64
SHAPES: Final = ("location", "scale", "skew", "tails")
FLAGS: Final = ("missing", "infinite", "outside")
SCORE_LIMIT: Final = 2.5
TAIL_SHARE: Final = 0.001
"""A value is outside if it is beyond this quantile of the reference, on either side. The rate of a
new minimum is never zero, that of this quantile is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberReference:
    """What is kept of a column of numbers."""

    name: str
    role: Role
    cuts: FloatArray
    """Quantiles in order, `MAX_CUTS` at most. Shape (cuts,); none if no value was finite."""
    low: float
    high: float
    """Beyond these a value is outside."""
    mean: float
    sd: float
    """Of the finite values."""


def learn_numbers(name: str, role: Role, values: FloatArray) -> NumberReference:
    """Summarise a column of the reference."""
    finite = np.sort(values[np.isfinite(values)])
    if not finite.size:
        none = np.empty(0)
        return NumberReference(
            name=name, role=role, cuts=none, low=-np.inf, high=np.inf, mean=0.0, sd=0.0
        )
    count = min(MAX_CUTS, finite.size)
    places = ((np.arange(count) + 0.5) / count * finite.size).astype(np.int64)
    low, high = np.quantile(finite, (TAIL_SHARE, 1 - TAIL_SHARE))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(finite.mean()), float(finite.std())
    return NumberReference(
        name=name,
        role=role,
        cuts=finite[places],
        low=float(low),
        high=float(high),
        mean=mean if np.isfinite(mean) else float(np.median(finite)),
        sd=sd if np.isfinite(sd) else 0.0,
    )


class NumberCodec:
    """Turns values into components, bins and normal scores, all by tables."""

    def __init__(self, reference: NumberReference) -> None:
        """Build the tables; their last entry is that of a missing value."""
        self.reference = reference
        count = len(reference.cuts)
        self._missing = 2 * count + 1
        self._cuts = np.concatenate((reference.cuts, [np.inf]))
        right = reference.cuts.searchsorted(self._cuts, "right")
        self._ties = reference.cuts.searchsorted(self._cuts) + right
        ranks = np.arange(2 * count + 1) / max(2 * count, 1)
        self._table = np.zeros((len(SHAPES), 2 * count + 2), dtype=np.float32)
        self._table[:, :-1] = np.rint(SCALE * _legendre(2 * ranks - 1))
        self._scores = np.zeros(2 * count + 2, dtype=np.float32)
        self._scores[:-1] = np.rint(SCORE_SCALE * np.array(_normal_scores(2 * count)))
        self.bin_count = min(MAX_BINS, max(count, 1))
        self._bins = np.full(2 * count + 2, self.bin_count, dtype=np.int64)
        self._bins[:-1] = np.minimum((ranks * self.bin_count).astype(np.int64), self.bin_count - 1)

    @property
    def component_count(self) -> int:
        """How many components a value has."""
        return len(SHAPES) + len(FLAGS)

    def places(self, values: FloatArray) -> IntArray:
        """Find the values' places in the tables. Shape (rows,), as the values."""
        left = self._cuts.searchsorted(values)
        is_tied = self._cuts.take(left, mode="clip") == values
        places = np.where(is_tied, self._ties.take(left, mode="clip"), 2 * left)
        places[np.isnan(values)] = self._missing
        return places

    def encode(self, values: FloatArray, out: SingleArray) -> IntArray:
        """Fill the components of shape (components, rows); return the places."""
        places = self.places(values)
        self._table.take(places, axis=1, out=out[: len(SHAPES)], mode="clip")
        is_finite = np.isfinite(values)
        reference = self.reference
        out[6] = ((values < reference.low) | (values > reference.high)) & is_finite
        out[4:6] = 0.0
        if not is_finite.all():
            out[4] = np.isnan(values)
            out[5] = np.isinf(values)
        return places

    def scores(self, places: IntArray) -> SingleArray:
        """Return clipped normal scores in units of 1/SCORE_SCALE; 0 where a value is missing."""
        return self._scores[places]

    def bins(self, places: IntArray) -> IntArray:
        """Return the bin of each value; the last one, `bin_count`, is that of missing values."""
        return self._bins[places]


def bin_edges(reference: NumberReference, bin_count: int) -> FloatArray:
    """Return where the bins of a column end, the first one's begin included."""
    if not reference.cuts.size:
        return np.zeros(bin_count + 1)
    places = np.linspace(0, len(reference.cuts) - 1, bin_count + 1)
    return np.interp(places, np.arange(len(reference.cuts)), reference.cuts)


@cache
def _normal_scores(last: int) -> tuple[float, ...]:
    """Return the clipped normal scores of the ranks 0/last ... last/last."""
    inner = NormalDist()
    ranks = [min(max(rank / max(last, 1), 1e-4), 1 - 1e-4) for rank in range(last + 1)]
    return tuple(min(max(inner.inv_cdf(r), -SCORE_LIMIT), SCORE_LIMIT) for r in ranks)


def _legendre(x: FloatArray) -> FloatArray:
    """Return the orthonormal Legendre polynomials 1 to 4. Shape (4, places)."""
    square = x * x
    return np.stack(
        (
            np.sqrt(3.0) * x,
            np.sqrt(5.0) * (3 * square - 1) / 2,
            np.sqrt(7.0) * (5 * square - 3) * x / 2,
            3.0 * (35 * square * square - 30 * square + 3) / 8,
        )
    )
