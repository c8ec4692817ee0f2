"""Sparse histograms, key -> count: quantiles, and random parts of them. Pure: seeds come in."""

from collections.abc import Mapping, Sequence

import numpy as np

Histogram = Mapping[int, int]


def size(histogram: Histogram) -> int:
    """Count its members."""
    return sum(histogram.values())


def quantile_key(histogram: Histogram, quantile: float) -> int:
    """Return the key that holds the quantile: the smallest with that share at or below it.

    Raises:
        ValueError: The histogram is empty.
    """
    rank = quantile * size(histogram)
    seen = 0
    for key in sorted(histogram):
        seen += histogram[key]
        if seen and seen >= rank - 1e-9:
            return key
    raise ValueError("an empty histogram has no quantile")


def thinned(histogram: Histogram, count: int, seed: Sequence[int]) -> dict[int, int]:
    """Draw that many members, without putting back; all of them if there are no more."""
    if size(histogram) <= count:
        return dict(histogram)
    keys = sorted(histogram)
    counts = [histogram[key] for key in keys]
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(
        counts, count, method="marginals"
    )
    return {key: int(part) for key, part in zip(keys, drawn, strict=True) if part}


def resampled(histogram: Histogram, count: int, seed: Sequence[int]) -> dict[int, int]:
    """Draw that many members of its law, with putting back."""
    keys = sorted(histogram)
    shares = np.asarray([histogram[key] for key in keys], dtype=np.float64)
    drawn = np.random.default_rng(seed).multinomial(count, shares / shares.sum())
    return {key: int(part) for key, part in zip(keys, drawn, strict=True) if part}


def without(histogram: Histogram, part: Histogram) -> dict[int, int]:
    """Take a part out of it."""
    left = {key: count - part.get(key, 0) for key, count in histogram.items()}
    return {key: count for key, count in left.items() if count > 0}


def grouped(histogram: Histogram, edges: Sequence[int]) -> tuple[int, ...]:
    """Count the members up to each edge and above the one before it; the last group is the rest."""
    counts = [0] * (len(edges) + 1)
    for group, count in zip(
        np.searchsorted(edges, list(histogram)), histogram.values(), strict=True
    ):
        counts[int(group)] += count
    return tuple(counts)
