"""Windows of latencies become signs: the larger arm is thinned, the ratio is whole buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.engine.histograms import (
    Histogram,
    grouped,
    quantile_key,
    resampled,
    size,
    thinned,
    without,
)
from serving.rollout.engine.latency_signs import LatencyLimit, LatencySigns, closed, waited

LIMIT = LatencyLimit(quantile=0.95, ratio=1.5)
histograms = st.dictionaries(st.integers(-50, 50), st.integers(1, 30), min_size=1, max_size=8)


@given(histograms, st.integers(0, 300), st.integers(0, 9))
def test_thinning_draws_members_without_putting_back(
    histogram: dict[int, int], count: int, seed: int
) -> None:
    """So many, or all; no more of a key than there are; the same ones for the same seed."""
    part = thinned(histogram, count, (seed,))

    assert size(part) == min(count, size(histogram))
    assert all(part[key] <= histogram[key] for key in part)
    assert part == thinned(histogram, count, (seed,))
    assert size(without(histogram, part)) == size(histogram) - size(part)


@given(histograms, st.integers(1, 100))
def test_resampling_draws_from_the_same_keys(histogram: dict[int, int], count: int) -> None:
    """As many as one likes."""
    drawn = resampled(histogram, count, (1,))

    assert size(drawn) == count
    assert drawn.keys() <= histogram.keys()


@given(histograms, st.floats(0.01, 0.99))
def test_a_quantile_is_the_sorted_members(histogram: dict[int, int], quantile: float) -> None:
    """The smallest member that so many are not above."""
    members = sorted(key for key, count in histogram.items() for _ in range(count))

    found = quantile_key(histogram, quantile)

    assert sum(member <= found for member in members) >= quantile * len(members) - 1e-6
    assert sum(member < found for member in members) < quantile * len(members) + 1e-6


def test_an_empty_histogram_has_no_quantile() -> None:
    """Nor does it pretend to."""
    with pytest.raises(ValueError, match="no quantile"):
        quantile_key({}, 0.5)


@given(histograms, st.lists(st.integers(-60, 60), unique=True, max_size=4).map(sorted))
def test_groups_hold_every_member(histogram: dict[int, int], edges: list[int]) -> None:
    """Each up to its edge, above the edge before."""
    groups = grouped(histogram, edges)

    assert sum(groups) == size(histogram)
    for at, edge in enumerate(edges):
        assert sum(groups[: at + 1]) == sum(n for key, n in histogram.items() if key <= edge)


@pytest.mark.parametrize(("ratio", "buckets"), [(1.5, 5), (2.0, 8), (1.0, 0), (1.01, 1)])
def test_a_ratio_is_rounded_up_to_buckets(ratio: float, buckets: int) -> None:
    """A candidate that is slower by the allowed ratio is never over the limit."""
    assert LatencyLimit(quantile=0.5, ratio=ratio).bucket_count == buckets


def test_a_rare_quantile_needs_more_calls() -> None:
    """Of twenty calls none is above the 99th percentile."""
    assert LIMIT.arm_count == 20
    assert LatencyLimit(quantile=0.99, ratio=2).arm_count == 100


def window(rng: np.random.Generator, mean: float, count: int) -> Histogram:
    """Calls whose buckets are spread around a mean."""
    keys, counts = np.unique(rng.normal(mean, 5.0, count).round().astype(int), return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("calls", [(40, 360), (200, 200), (300, 30)], ids=str)
def test_arms_at_the_limit_are_exchangeable(calls: tuple[int, int]) -> None:
    """If the candidate is slower by the allowed ratio, worse and better windows are as frequent.

    However unequal the arms are, and though both move together from window to window.
    """
    rng = np.random.default_rng(5)
    signs = LatencySigns()
    for _ in range(400):
        level = rng.normal(100.0, 10.0)
        candidate = window(rng, level + LIMIT.bucket_count, calls[0])
        signs = waited(signs, 1.0, candidate, window(rng, level, calls[1]))
        signs = closed(signs, LIMIT, baseline=None, seed=3)

    decided = signs.worse_count + signs.better_count
    assert decided + signs.tie_count == 400
    assert abs(signs.worse_count - signs.better_count) < 3 * decided**0.5


def test_a_window_without_enough_calls_stays_open() -> None:
    """It goes on growing; nothing of it is lost."""
    signs = waited(LatencySigns(), 1.0, {5: 19}, {5: 400})
    signs = closed(signs, LIMIT, baseline=None, seed=0)
    assert (signs.tie_count, signs.waiting_candidate) == (0, {5: 19})

    signs = closed(waited(signs, 1.0, {10: 1}, {}), LIMIT, baseline=None, seed=0)

    assert (signs.tie_count + signs.better_count, signs.waiting_candidate) == (1, {})
    assert signs.candidate == {5: 19, 10: 1}
