"""Intervals that hold the true value in 95 of 100 cases, and how each was made. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.labels.rows import FloatArray, Z

RESAMPLES: Final = 400
SEED: Final = 20_26
PORTION_ROWS: Final = 250_000
"""Rows times resamples that are in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value with its interval."""

    value: float
    low: float
    high: float
    rows: float
    """What it rests on; with weights, the number of equal rows that say as much."""


def wilson(share: float, rows: float) -> Figure | None:
    """Return a share with Wilson's score interval (JASA 22, 1927); None: of nothing."""
    if rows <= 0:
        return None
    spread = Z * Z / rows
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Figure(value=share, low=float(low), high=float(high), rows=rows)


def weighted_share(is_event: FloatArray, weight: FloatArray) -> Figure | None:
    """Return the weighted share of events, with Wilson's interval for what the weights leave."""
    total = float(weight.sum())
    if total <= 0:
        return None
    return wilson(float((weight * is_event).sum() / total), effective_rows(weight))


def weighted_mean(values: FloatArray, weight: FloatArray) -> Figure | None:
    """Return a weighted mean with the percentile interval of a bootstrap, the same each time."""
    if float(weight.sum()) <= 0:
        return None
    mean = float((weight * values).sum() / weight.sum())
    low, high = _bootstrap(values, weight)
    return Figure(value=mean, low=low, high=high, rows=effective_rows(weight))


def root_of(figure: Figure | None) -> Figure | None:
    """Return the square root of a mean and of its interval's ends."""
    if figure is None:
        return None
    ends = (float(np.sqrt(value)) for value in (figure.value, figure.low, figure.high))
    value, low, high = ends
    return Figure(value=value, low=low, high=high, rows=figure.rows)


def normal(value: float, deviation: float, rows: float) -> Figure:
    """Return a value in [0, 1] with the interval that a standard deviation gives."""
    low, high = max(0.0, value - Z * deviation), min(1.0, value + Z * deviation)
    return Figure(value=value, low=low, high=high, rows=rows)


def effective_rows(weight: FloatArray) -> float:
    """Return how many rows of equal weight say as much (Kish)."""
    squares = float((weight * weight).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def _bootstrap(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
    random = np.random.default_rng(SEED)
    rows = len(values)
    joint = weight * values
    count = max(1, min(RESAMPLES, PORTION_ROWS // rows))
    means = []
    for _ in range(-(-RESAMPLES // count)):
        chosen = random.integers(0, rows, (count, rows))
        means.append(joint[chosen].sum(axis=1) / weight[chosen].sum(axis=1))
    low, high = np.quantile(np.concatenate(means)[:RESAMPLES], (0.025, 0.975))
    return float(low), float(high)
