"""What goes on record with the changes of a rollout: written by the engine, read by reports.

One `Kept` for each change, as JSON. All of it describes the time before the change. What a change
cannot know is left empty, and what an older Bascule wrote lacks what this one added.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.monitor.sequential import Counted
from serving.monitor.traffic import NOT_JUDGED, QualityCounts, TrafficDelta, bucket_end_s
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.record import Rollout
from serving.registry.version import ServedVersion
from serving.rollout.engine.findings import Finding
from serving.rollout.engine.guardrails import Watch
from serving.rollout.engine.histograms import Histogram, quantile_key, size
from serving.rollout.engine.label_signs import NO_LABELS, LabelCounts

MAX_SAMPLES: Final = 120
"""Of one state; more are joined in pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What became of one version's calls in some time."""

    call_count: int = 0
    fault_count: int = 0
    p50_s: float | None = None
    """Latencies; None: there was no call, or nobody counted them."""
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Both versions between two moments, in seconds since the rollout was recorded."""

    from_s: float
    until_s: float
    candidate: Arm
    live: Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers that guardrails judged by: since the first call, or since the flip."""

    candidate: Arm
    live: Arm
    candidate_quantile_s: float | None = None
    """Latency at the quantile that the guardrail compares."""
    live_quantile_s: float | None = None
    is_live_before: bool
    """The live version's are from before the flip."""
    rows: Counted
    """Mismatched, of the compared ones."""
    worse_windows: int
    """In which the candidate's latency was over the allowed ratio."""
    better_windows: int
    tie_windows: int
    restart_count: int
    first_rss_bytes: int
    """Memory of the candidate's worker when calls began; 0: not known, or not its own."""
    rss_bytes: int
    candidate_quality: QualityCounts = NOT_JUDGED
    live_quality: QualityCounts = NOT_JUDGED
    labels: LabelCounts = NO_LABELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What goes on record with a change."""

    verdict: str = ""
    findings: tuple[Finding, ...] = ()
    watch: Watch | None = None
    """What a controller that is started again goes on from."""
    figures: Figures | None = None
    samples: tuple[Sample, ...] = ()
    """Of the state that ends with the change, or of what was seen of it since the controller's
    start."""
    comparison: ComparisonReport | None = None
    """Of copied calls, in all; None: no call was copied."""
    forecast: Forecast | None = None
    """With the first change: what was foreseen."""
    served: ServedVersion | None = None
    """When the candidate is loaded: what its worker says of it."""
    live_served: ServedVersion | None = None
    """Likewise, of the version before."""

    def encoded(self) -> str:
        """Write it as JSON."""
        return msgspec.json.encode(self).decode()


def decoded_kept(text: str) -> Kept:
    """Read what `Kept.encoded` wrote; empty text is nothing kept."""
    return msgspec.json.decode(text, type=Kept) if text else Kept()


def readable_kept(text: str) -> Kept:
    """Read what was kept; what is damaged, or of another release, is nothing and says so."""
    try:
        return decoded_kept(text)
    except ValueError as error:  # msgspec's: to go on with the rest is better than not at all
        return Kept(verdict=f"what was recorded cannot be read here: {error}")


def foreseen(forecast: Forecast) -> str:
    """Write what goes on record with the start of a rollout."""
    return Kept(forecast=forecast).encoded()


def as_loaded(snapshot: Snapshot, rollout: Rollout) -> str:
    """Write what goes on record when a candidate is loaded: how its worker describes it."""
    old = rollout.from_version
    return Kept(
        served=_served(snapshot, rollout.candidate),
        live_served=None if old is None else _served(snapshot, VersionKey(rollout.model, old)),
    ).encoded()


def figures_of(watch: Watch, quantile: float) -> Figures:
    """Return the numbers of a watch, and latencies at a quantile."""
    signs = watch.latency
    return Figures(
        candidate=_arm(watch.candidate_calls, signs.candidate),
        live=_arm(watch.live_calls, signs.live),
        candidate_quantile_s=_latency(signs.candidate, quantile),
        live_quantile_s=_latency(signs.live, quantile),
        is_live_before=watch.baseline is not None,
        rows=watch.rows,
        worse_windows=signs.worse_count,
        better_windows=signs.better_count,
        tie_windows=signs.tie_count,
        restart_count=watch.restart_count,
        first_rss_bytes=watch.first_rss_bytes,
        rss_bytes=watch.rss_bytes,
        candidate_quality=watch.quality.candidate,
        live_quality=watch.quality.live,
        labels=watch.labels.counts,
    )


def arm_of(traffic: TrafficDelta) -> Arm:
    """Return what became of a version's calls in a window."""
    return _arm(Counted(traffic.fault_count, traffic.call_count), traffic.latency_counts)


def with_sample(samples: tuple[Sample, ...], sample: Sample) -> tuple[Sample, ...]:
    """Add a sample; when there are too many, neighbours are joined."""
    if len(samples) >= MAX_SAMPLES:
        samples = tuple(map(_joined, samples[::2], samples[1::2]))
    return (*samples, sample)


def _joined(one: Sample, other: Sample) -> Sample:
    return Sample(
        from_s=one.from_s,
        until_s=other.until_s,
        candidate=_both(one.candidate, other.candidate),
        live=_both(one.live, other.live),
    )


def _both(one: Arm, other: Arm) -> Arm:
    """Join two times: of a quantile the larger one is kept, so that no slow time is lost."""
    return Arm(
        call_count=one.call_count + other.call_count,
        fault_count=one.fault_count + other.fault_count,
        p50_s=_larger(one.p50_s, other.p50_s),
        p95_s=_larger(one.p95_s, other.p95_s),
        p99_s=_larger(one.p99_s, other.p99_s),
    )


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _arm(calls: Counted, latencies: Histogram) -> Arm:
    return Arm(
        call_count=calls.all_count,
        fault_count=calls.event_count,
        p50_s=_latency(latencies, 0.5),
        p95_s=_latency(latencies, 0.95),
        p99_s=_latency(latencies, 0.99),
    )


def _latency(latencies: Histogram, quantile: float) -> float | None:
    return bucket_end_s(quantile_key(latencies, quantile)) if size(latencies) else None


def _served(snapshot: Snapshot, key: VersionKey) -> ServedVersion | None:
    record = snapshot.versions.get(key)
    return None if record is None else record.served
