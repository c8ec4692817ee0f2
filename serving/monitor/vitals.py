"""What one worker says of a version's calls and contract, for whoever looks at all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.ids import VersionKey
from serving.monitor.quality.report import QualityReport
from serving.monitor.traffic import TrafficCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionVitals:
    """One version in one worker, since it was loaded there."""

    traffic: TrafficCounters
    """Without outputs."""
    quality: QualityReport | None = None
    """Its contract's window; without rules and samples. None: it has no contract."""
    at_ns: int = 0
    """When this was said, on the worker's clock."""
    busy_ns: int = 0
    """Time in which its batches ran, since it was loaded there."""
    busy: float | None = None
    """Share of the last seconds in which its batches ran; None: it has not been heard of for long
    enough. Who asks the worker reckons it (`lately`)."""

    @property
    def key(self) -> VersionKey:
        """Which version."""
        return self.traffic.key


def lately(
    past: Sequence[Sequence[VersionVitals]], new: Sequence[VersionVitals]
) -> tuple[VersionVitals, ...]:
    """Return what a worker says now, with how busy it has been since the first of what it said.

    Args:
        past: What the same worker said before, each time of all its versions; not empty.
        new: What it says now.
    """
    first = {(one.key, one.traffic.began_ns): one for one in past[0]}
    return tuple(_with_share(first.get((one.key, one.traffic.began_ns)), one) for one in new)


def _with_share(before: VersionVitals | None, now: VersionVitals) -> VersionVitals:
    if before is None or now.at_ns <= before.at_ns:
        return now
    share = (now.busy_ns - before.busy_ns) / (now.at_ns - before.at_ns)
    return replace(now, busy=min(share, 1.0))


def of_the_window(report: QualityReport) -> QualityReport:
    """Leave out what rates are not made of: it is long."""
    return replace(report, rules=(), missing=())
