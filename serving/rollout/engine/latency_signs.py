"""Is a latency quantile of the candidate more than so many times the live version's? Pure.

Calls gather until both arms have enough. The bigger arm is then thinned to the other's count, so
that both quantiles are of equally many calls, and the candidate's, divided by the allowed ratio, is
compared with the live version's. If the candidate is slower by exactly that ratio, the arms are
exchangeable: worse and better windows are equally likely, and if it is faster, worse ones are
rarer. One window is one sign, however many calls it has: calls that are slow together, as in a
burst, count once. The ratio is rounded up to whole buckets (9 %), which keeps the exchange exact.

After the flip of a blue-green rollout there is no live arm in the same time. Its calls from before
the flip are then drawn on again for each window. That compares before with after: it is not
randomised, and a day that became slower for both counts against the candidate.

Slow times of one arm alone that outlast many windows are what the test finds; it cannot tell an
unlucky machine from a slow version.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

from serving.monitor.sequential import Evidence, sign_excess
from serving.monitor.traffic import BUCKETS_PER_DOUBLING, summed
from serving.rollout.engine.histograms import Histogram, quantile_key, resampled, size, thinned

MIN_ARM_COUNT: Final = 20
"""Calls of each arm in a window; more for quantiles that so few do not have."""
MIN_WINDOW_S: Final = 0.75
"""Shorter ones would count one burst several times. Looks once a second are a window each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySigns:
    """What is known of it by now."""

    evidence: Evidence = field(default_factory=Evidence)
    worse_count: int = 0
    """Windows."""
    better_count: int = 0
    tie_count: int = 0
    waiting_s: float = 0.0
    waiting_candidate: Histogram = field(default_factory=dict)
    """Of the window that is not closed yet, by bucket."""
    waiting_live: Histogram = field(default_factory=dict)
    candidate: Histogram = field(default_factory=dict)
    """Since the start, for reports."""
    live: Histogram = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimit:
    """Which quantile is compared, and how much slower it may be."""

    quantile: float
    ratio: float

    @property
    def bucket_count(self) -> int:
        """The ratio in buckets, rounded up."""
        return math.ceil(math.log2(self.ratio) * BUCKETS_PER_DOUBLING - 1e-9)

    @property
    def arm_count(self) -> int:
        """Calls of each arm that a window needs."""
        return max(MIN_ARM_COUNT, math.ceil(1 / (1 - self.quantile) - 1e-9))


def waited(
    signs: LatencySigns, duration_s: float, candidate: Histogram, live: Histogram
) -> LatencySigns:
    """Add what came to the open window."""
    return replace(
        signs,
        waiting_s=signs.waiting_s + duration_s,
        waiting_candidate=summed(signs.waiting_candidate, candidate),
        waiting_live=summed(signs.waiting_live, live),
        candidate=summed(signs.candidate, candidate),
        live=summed(signs.live, live),
    )


def closed(
    signs: LatencySigns, limit: LatencyLimit, *, baseline: Histogram | None, seed: int
) -> LatencySigns:
    """Close the window if it has enough, and count its sign.

    Args:
        signs: Before.
        limit: What is compared.
        baseline: Calls of the live version from before the flip; None: it serves still.
        seed: Of the watch; with the count of windows it decides which calls are drawn.
    """
    live = signs.waiting_live if baseline is None else baseline
    count = min(size(signs.waiting_candidate), size(live))
    if baseline is not None and size(baseline) >= limit.arm_count:
        count = size(signs.waiting_candidate)
    if count < limit.arm_count or signs.waiting_s < MIN_WINDOW_S:
        return signs
    number = signs.worse_count + signs.better_count + signs.tie_count
    draw = thinned if baseline is None else resampled
    candidate = thinned(signs.waiting_candidate, count, (seed, number, 0))
    others = draw(live, count, (seed, number, 1))
    difference = (
        quantile_key(candidate, limit.quantile)
        - limit.bucket_count
        - quantile_key(others, limit.quantile)
    )
    is_worse, is_better = difference > 0, difference < 0
    return replace(
        signs,
        evidence=sign_excess(signs.evidence, worse_count=is_worse, better_count=is_better),
        worse_count=signs.worse_count + is_worse,
        better_count=signs.better_count + is_better,
        tie_count=signs.tie_count + (not is_worse and not is_better),
        waiting_s=0.0,
        waiting_candidate={},
        waiting_live={},
    )
