"""How much one worker has to do for a version: what the number of workers is chosen by. Pure.

A worker says sums; two of them a little apart make a `Load`. How many calls were in the worker at
a time follows from how long the answered ones stayed, added up (Little's law), so a moment's look
decides nothing; calls that wait or run are looked at twice, since those of a long batch are not
answered yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from serving.ids import VersionKey
from serving.monitor.traffic import bucket_end_s, summed

TAIL: Final = 0.99
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLoad:
    """What one worker says of one version."""

    model: str
    version: int
    began_ns: int
    """On the worker's clock: another beginning, another series of sums."""
    at_ns: int
    """When this was said, on the same clock."""
    open_count: int
    """Calls that wait now, and one for a batch that runs."""
    answered_count: int
    failed_count: int
    present_ns: int
    """Of all answered calls, from receipt to reply, added up."""
    busy_ns: int
    """Time in which batches ran."""
    latency_counts: Mapping[int, int] = field(default_factory=dict)
    """Answered calls by `serving.monitor.traffic.latency_bucket`."""

    @property
    def key(self) -> VersionKey:
        """Which version."""
        return VersionKey(self.model, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What workers had to do lately, together."""

    calls: float = 0.0
    """In them at a time, waiting or running."""
    busy: float = 0.0
    """Workers' worth of time in which batches ran: 1.5 is three of them, each busy by a half."""
    answered_count: int = 0
    failed_count: int = 0
    latency_counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether nobody called."""
        return not (self.calls or self.answered_count or self.failed_count)

    @property
    def p99_s(self) -> float:
        """How long 99 % of the answered calls took at most; 0: none was answered."""
        left = TAIL * self.answered_count
        for bucket in sorted(self.latency_counts):
            left -= self.latency_counts[bucket]
            if left <= 0:
                return bucket_end_s(bucket)
        return 0.0


def load_of(said: Sequence[VersionLoad]) -> Load | None:
    """Return what one worker had to do from the first to the last of what it said; None: too few.

    Args:
        said: In its order, of one beginning.
    """
    if len(said) < 2 or said[-1].at_ns <= said[0].at_ns:  # noqa: PLR2004  a difference needs two
        return None
    first, last = said[0], said[-1]
    span_ns = last.at_ns - first.at_ns
    before = first.latency_counts
    counts = {bucket: n - before.get(bucket, 0) for bucket, n in last.latency_counts.items()}
    answered_count = last.answered_count - first.answered_count
    # A call that began before the span counts for the span at most.
    present = min((last.present_ns - first.present_ns) / span_ns, answered_count)
    return Load(
        calls=max(present, float(min(said[-2].open_count, last.open_count))),
        busy=min((last.busy_ns - first.busy_ns) / span_ns, 1.0),
        answered_count=answered_count,
        failed_count=last.failed_count - first.failed_count,
        latency_counts={bucket: count for bucket, count in counts.items() if count},
    )


def together(loads: Iterable[Load]) -> Load:
    """Add up what several workers had to do."""
    total = Load()
    for one in loads:
        total = Load(
            calls=total.calls + one.calls,
            busy=total.busy + one.busy,
            answered_count=total.answered_count + one.answered_count,
            failed_count=total.failed_count + one.failed_count,
            latency_counts=summed(total.latency_counts, one.latency_counts),
        )
    return total


def lately(said: Sequence[VersionLoad], new: VersionLoad, span_s: float) -> tuple[VersionLoad, ...]:
    """Add what a worker says now, and forget what is older than a span or of another beginning."""
    oldest_ns = new.at_ns - span_s * _NS_PER_S
    kept = [one for one in said if one.began_ns == new.began_ns and one.at_ns < new.at_ns]
    while len(kept) > 1 and kept[1].at_ns <= oldest_ns:
        kept.pop(0)
    return (*kept, new)
