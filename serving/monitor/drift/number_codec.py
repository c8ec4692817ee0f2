"""Numbers as components: where a value lies in its reference, and three flags.

A value becomes its mid-rank `u` in (at most) 256 quantiles of the reference, and this the first
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
MAX_CUTS: Final = 256
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
    low, high = _ends(finite)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(finite.mean()), float(finite.std())
    return NumberReference(
        name=name,
        role=role,
        cuts=finite[places],
        low=low,
        high=high,
        mean=mean if np.isfinite(mean) else float(finite[finite.size // 2]),
        sd=sd if np.isfinite(sd) else 0.0,
    )


def _ends(ordered: FloatArray) -> tuple[float, float]:
    """Return the quantiles beyond which a value is outside, by halves if differences overflow."""
    is_huge = max(-ordered[0], ordered[-1]) > np.finfo(np.float64).max / 2
    half = 0.5 if is_huge else 1.0
    low, high = np.quantile(ordered * half, (TAIL_SHARE, 1 - TAIL_SHARE)) / half
    return float(low), float(high)


class NumberCodec:
    """Turns values into slots of tables, which have all that is said of a value.

    There is a slot for each point of a grid (the cuts, where the reference's range ends, and the
    infinities), one before each, and a last one for what is missing.
    """

    def __init__(self, reference: NumberReference) -> None:
        """Build the tables."""
        self.reference = reference
        cuts = reference.cuts
        count = len(cuts)
        low = max(-np.inf, reference.low)  # what is NaN is no end
        high = min(np.inf, reference.high)
        self.grid: FloatArray = np.unique(np.concatenate((cuts, [low, high, -np.inf, np.inf])))
        last = 2 * len(self.grid)
        doubled: IntArray = np.zeros(last, dtype=np.int64)
        doubled[0::2] = 2 * cuts.searchsorted(self.grid)
        doubled[1::2] = cuts.searchsorted(self.grid) + cuts.searchsorted(self.grid, "right")
        ranks = doubled / max(2 * count, 1)
        self.table: SingleArray = np.zeros((last + 1, len(SHAPES) + len(FLAGS)), dtype=np.float32)
        """The components of each slot. Shape (slots, components)."""
        self.table[:last, : len(SHAPES)] = np.rint(SCALE * _legendre(2 * ranks - 1)).T
        missing, infinite, outside = self.table.T[len(SHAPES) :]
        missing[last] = infinite[[1, last - 1]] = 1
        lowest, highest = self.grid.searchsorted((low, high)).tolist()
        outside[2 : 2 * lowest + 1] = outside[2 * highest + 2 : last - 1] = 1
        self.scores: SingleArray = np.zeros(last + 1, dtype=np.float32)
        """Clipped normal scores in units of 1/SCORE_SCALE; 0 where a value is missing."""
        known = np.array(_normal_scores(2 * count))
        self.scores[:last] = np.rint(SCORE_SCALE * known).take(doubled)
        self.last_bin = min(MAX_BINS, max(count, 1))
        """That of missing values."""
        self.bins: IntArray = np.full(last + 1, self.last_bin, dtype=np.int64)
        """The bin of each slot."""
        bins = (ranks * self.last_bin).astype(np.int64)
        self.bins[:last] = np.minimum(bins, self.last_bin - 1)

    def slots(self, values: FloatArray) -> IntArray:
        """Find the values' slots. Shape (rows,), as the values."""
        left = self.grid.searchsorted(values)
        is_at = self.grid.take(left, mode="clip") == values
        left *= 2
        left += is_at
        return left


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
