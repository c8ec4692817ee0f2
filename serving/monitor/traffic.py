"""What became of a version's calls between two looks: the numbers that guardrails compare.

Latencies are counted by bucket, eight to a doubling of the microseconds from receipt to reply, so
that a limit on a ratio is a whole number of buckets to within 9 %. Outputs are counted by bin: a
number for each value, in the values' order (`serving.monitor.output_bins`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKETS_PER_DOUBLING: Final = 8
_US: Final = 1000


def latency_bucket(duration_ns: int) -> int:
    """Return the bucket of a duration; all up to a microsecond share the first."""
    return int(math.log2(max(duration_ns, _US) / _US) * BUCKETS_PER_DOUBLING)


def bucket_end_s(bucket: int) -> float:
    """Return how long the calls of a bucket took at most, in seconds."""
    return float(2.0 ** ((bucket + 1) / BUCKETS_PER_DOUBLING) * 1e-6)


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
        )


def summed(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """Add two histograms."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
