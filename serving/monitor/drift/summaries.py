"""A column in a window and in the reference, as people speak of it, from its bins. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.drift import level_codec
from serving.monitor.drift.columns import FloatArray, IntArray
from serving.monitor.drift.level_codec import LevelReference
from serving.monitor.drift.number_codec import NumberReference, bin_edges

TOP_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSummary:
    """A column of numbers; what lies beyond the reference's range counts as at its end."""

    mean: float
    p05: float
    p50: float
    p95: float
    missing: float
    """Share of rows."""
    median_end: str = ""
    """`or more`, `or less`: most rows are as the reference's outermost, or beyond them. How far, is
    not counted: the median is that far at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSummary:
    """A column of levels."""

    top_levels: tuple[tuple[str, float], ...]
    """The most frequent and their shares."""
    other: float
    never_seen: float
    missing: float


def summarise_numbers(reference: NumberReference, bins: IntArray) -> NumberSummary:
    """Summarise a column by its bins, that of missing values being the last."""
    counts, missing = bins[:-1], int(bins[-1])
    edges = bin_edges(reference, len(counts))
    share = missing / max(int(bins.sum()), 1)
    present = int(counts.sum())
    if not present:
        return NumberSummary(mean=np.nan, p05=np.nan, p50=np.nan, p95=np.nan, missing=share)
    middles = (edges[1:] + edges[:-1]) / 2
    reached = np.concatenate(([0.0], np.cumsum(counts) / present))
    low, middle, high = np.interp((0.05, 0.5, 0.95), reached, edges).tolist()
    end, middle = _median_end(counts, edges) or ("", middle)
    return NumberSummary(
        mean=float((counts * middles).sum() / present),
        p05=low,
        p50=middle,
        p95=high,
        missing=share,
        median_end=end,
    )


def _median_end(counts: IntArray, edges: FloatArray) -> tuple[str, float] | None:
    """Return on which side most rows are in the outermost bin, and where that begins."""
    if len(counts) < 2 or 2 * counts[[0, -1]].max() <= counts.sum():  # noqa: PLR2004  two ends
        return None
    return ("or less", float(edges[1])) if counts[0] > counts[-1] else ("or more", float(edges[-2]))


def summarise_levels(reference: LevelReference, bins: IntArray) -> LevelSummary:
    """Summarise a column by its bins, those of its codec's slots."""
    shares = bins / max(int(bins.sum()), 1)
    top = len(reference.top)
    names = [level_codec.shown(level) for level in reference.top]
    ranked = sorted(zip(names, shares[:top].tolist(), strict=True), key=lambda one: -one[1])
    return LevelSummary(
        top_levels=tuple(ranked[:TOP_SHOWN]),
        other=float(shares[top] + shares[top + 3]),
        never_seen=float(shares[top + 1] + shares[top + 4]),
        missing=float(shares[top + 2]),
    )


def wasserstein_ratio(reference: NumberReference, before: IntArray, after: IntArray) -> float:
    """Return how far a column's values moved on average, in standard deviations of the reference.

    The distance is of the binned distributions, within the reference's range: at least that far.
    """
    edges = bin_edges(reference, len(before) - 1)
    gap = np.abs(_cumulated(before[:-1]) - _cumulated(after[:-1]))[:-1]
    middles = (edges[1:] + edges[:-1]) / 2
    moved = float((gap * np.diff(middles)).sum())
    return moved / reference.sd if reference.sd > 0 else float(moved > 0)


def largest_share_change(before: IntArray, after: IntArray) -> float:
    """Return by how much the share of a level changed, of the one that changed most."""
    shares = before / max(int(before.sum()), 1) - after / max(int(after.sum()), 1)
    return float(np.abs(shares).max())


def _cumulated(counts: IntArray) -> FloatArray:
    return np.cumsum(counts) / max(int(counts.sum()), 1)
