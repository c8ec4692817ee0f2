"""What became of a version's calls between two looks: the numbers that guardrails compare.

Latencies are counted by bucket, eight to a doubling of the microseconds from receipt to reply, so
that a limit on a ratio is a whole number of buckets to within 9 %. Outputs are counted by bin: a
number for each value, in the values' order (`serving.monitor.output_bins`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from serving.ids import VersionKey

BUCKETS_PER_DOUBLING: Final = 8
_US: Final = 1000


def latency_bucket(duration_ns: int) -> int:
    """Return the bucket of a duration; all up to a microsecond share the first."""
    return int(math.log2(max(duration_ns, _US) / _US) * BUCKETS_PER_DOUBLING)


def bucket_end_s(bucket: int) -> float:
    """Return how long the calls of a bucket took at most, in seconds."""
    return float(2.0 ** ((bucket + 1) / BUCKETS_PER_DOUBLING) * 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityCounts:
    """What a version's data contract said of its calls: requests, not rows."""

    judged_count: int = 0
    """Requests whose inputs were judged."""
    refused_count: int = 0
    """Of these, refused."""
    answer_count: int = 0
    """Answers that were judged."""
    broken_count: int = 0
    """Of these, with a row that breaks a rule, sent or not."""

    def __add__(self, other: "QualityCounts") -> "QualityCounts":
        """Add another time's or another worker's."""
        return QualityCounts(
            judged_count=self.judged_count + other.judged_count,
            refused_count=self.refused_count + other.refused_count,
            answer_count=self.answer_count + other.answer_count,
            broken_count=self.broken_count + other.broken_count,
        )

    def __sub__(self, before: "QualityCounts") -> "QualityCounts":
        """Return what came since."""
        return QualityCounts(
            judged_count=self.judged_count - before.judged_count,
            refused_count=self.refused_count - before.refused_count,
            answer_count=self.answer_count - before.answer_count,
            broken_count=self.broken_count - before.broken_count,
        )


NOT_JUDGED: Final = QualityCounts()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficDelta:
    """What became of a version's calls in some time, on all its workers."""

    answered_count: int = 0
    fault_count: int = 0
    """Calls that failed, and not by the caller's fault."""
    latency_counts: Mapping[int, int] = field(default_factory=dict)
    """Answered calls by bucket."""
    outputs: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """By output, sampled rows by bin."""
    quality: QualityCounts = NOT_JUDGED
    """By its data contract; nothing where it has none."""

    @property
    def call_count(self) -> int:
        """Answered and failed ones."""
        return self.answered_count + self.fault_count

    def __add__(self, other: "TrafficDelta") -> "TrafficDelta":
        """Add another time's or another worker's."""
        names = sorted({*self.outputs, *other.outputs})
        return TrafficDelta(
            answered_count=self.answered_count + other.answered_count,
            fault_count=self.fault_count + other.fault_count,
            latency_counts=summed(self.latency_counts, other.latency_counts),
            outputs={
                name: summed(self.outputs.get(name, {}), other.outputs.get(name, {}))
                for name in names
            },
            quality=self.quality + other.quality,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCounters:
    """What one worker has counted of one version since it was loaded."""

    model: str
    version: int
    began_ns: int
    """On the worker's clock: a version that was loaded again has another series of numbers."""
    age_s: float = 0.0
    """Seconds since then."""
    counted: TrafficDelta = field(default_factory=TrafficDelta)

    @property
    def key(self) -> VersionKey:
        """Which version."""
        return VersionKey(self.model, self.version)


Lives = Mapping[str, tuple[TrafficCounters, ...]]
"""Life of a worker process -> what it has counted."""


def deltas(before: Lives, now: Lives, *, watched_s: float) -> dict[VersionKey, TrafficDelta]:
    """Return what happened to each version between two looks, on all workers together.

    A life that ended is left out: what it counted after the last look is lost with it. A worker
    that did not answer a look is made up for by the next; hand in what `unanswered` returns then.

    Args:
        before: At the last look.
        now: At this one.
        watched_s: Seconds since the first look: what is older than that and was not seen then is
            history, which begins to count now.
    """
    found: dict[VersionKey, TrafficDelta] = {}
    for life, series in now.items():
        known = {(one.key, one.began_ns): one.counted for one in before.get(life, ())}
        for one in series:
            base = known.get((one.key, one.began_ns))
            if base is None:
                base = TrafficDelta() if one.age_s <= watched_s else one.counted
            more = found.get(one.key, TrafficDelta())
            found[one.key] = more + _difference(one.counted, base)
    return found


def life_name(worker: str, restart_count: int) -> str:
    """Name one life of a worker: what it counts begins anew with each."""
    return f"{worker}/{restart_count}"


def unanswered(before: Lives, now: Lives) -> Lives:
    """Return what is known of lives that a look has nothing of, and that may answer the next.

    A worker that answers in another life has ended the one before: nobody needs its numbers.
    """
    reborn = {life.rpartition("/")[0] for life in now}
    return {
        life: series
        for life, series in before.items()
        if life not in now and life.rpartition("/")[0] not in reborn
    }


def _difference(now: TrafficDelta, before: TrafficDelta) -> TrafficDelta:
    return TrafficDelta(
        answered_count=now.answered_count - before.answered_count,
        fault_count=now.fault_count - before.fault_count,
        latency_counts=_less(now.latency_counts, before.latency_counts),
        outputs={
            name: left
            for name, bins in now.outputs.items()
            if (left := _less(bins, before.outputs.get(name, {})))
        },
        quality=now.quality - before.quality,
    )


def _less(now: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    left = {key: count - before.get(key, 0) for key, count in now.items()}
    return {key: count for key, count in left.items() if count}


def summed(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """Add two histograms."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
