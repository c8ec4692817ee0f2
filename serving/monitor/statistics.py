"""A version's counters in Triton's cut: what they are, and their sum over workers.

Definitions follow Triton's statistics extension: `queue` and `compute_*` are charged per successful
call, each call of a merged batch being charged the whole batch's duration; `batch_stats` is charged
once per execution. `success` and `queue` count cache hits, which wait for nothing; `compute_*` and
the rows of `inference_count` do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from serving.ids import VersionKey
from serving.monitor.log_counts import LogCounts
from serving.monitor.quality.report import QualityReport, merged
from serving.monitor.stages import StageTimes, merged_stages


class FailureReason(StrEnum):
    """Why a call that passed validation got no result, in Triton's words."""

    REJECTED = "REJECTED"  # the queue was full, or its time limit passed
    CANCELED = "CANCELED"  # the client left, or its deadline passed
    BACKEND = "BACKEND"  # the runtime failed
    OTHER = "OTHER"


class Phases(NamedTuple):
    """How long a call waited, and how long the parts of its run took, in nanoseconds."""

    queue_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int

    def plus(self, other: "Phases") -> "Phases":
        """Add the parts."""
        return Phases(
            self.queue_ns + other.queue_ns,
            self.input_ns + other.input_ns,
            self.infer_ns + other.infer_ns,
            self.output_ns + other.output_ns,
        )


NO_PHASES: Final = Phases(0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationSum:
    """How often something happened, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def __add__(self, other: "DurationSum") -> "DurationSum":
        """Add counts and durations."""
        return DurationSum(count=self.count + other.count, ns=self.ns + other.ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Executions of one batch size."""

    batch_rows: int
    execution_count: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0

    def __add__(self, other: "BatchStatistics") -> "BatchStatistics":
        """Add the executions of the same batch size on another worker."""
        return BatchStatistics(
            batch_rows=self.batch_rows,
            execution_count=self.execution_count + other.execution_count,
            compute_input_ns=self.compute_input_ns + other.compute_input_ns,
            compute_infer_ns=self.compute_infer_ns + other.compute_infer_ns,
            compute_output_ns=self.compute_output_ns + other.compute_output_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatistics:
    """Counters of one version since it was loaded; on the control channel they travel as JSON."""

    model: str
    version: int
    inference_count: int = 0
    """Rows of successful calls; 1 per call for a model without a batch dimension."""
    execution_count: int = 0
    """Successful runs of the runtime; a merged batch is one."""
    last_inference_ms: int = 0
    """Milliseconds since 1970 of the last execution; 0 before the first."""
    success: DurationSum = DurationSum()
    queue: DurationSum = DurationSum()
    compute_input: DurationSum = DurationSum()
    compute_infer: DurationSum = DurationSum()
    compute_output: DurationSum = DurationSum()
    cache_hit: DurationSum = DurationSum()
    """Calls answered from the response cache, and how long finding the answers took."""
    cache_miss: DurationSum = DurationSum()
    """Calls that were answered by running, and how long looking and keeping took."""
    has_cache: bool = False
    fail_ns: int = 0
    failures: Mapping[FailureReason, int]
    """Failed calls by reason; every reason is present."""
    fault_count: int = 0
    """Those of clients that were no mistake of theirs, and whose client was there."""
    batches: tuple[BatchStatistics, ...] = ()
    """By batch size, ascending."""
    pending_count: int = 0
    """Calls that were accepted and do not run yet."""
    log: LogCounts | None = None
    """What became of its predictions in the log; None: none is kept."""
    gpu_uuid: str = ""
    """Of the GPU that all of it ran on; empty: the CPU, or several."""
    quality: QualityReport | None = None
    """What its data contract has seen; None: it has none."""
    stages: tuple[StageTimes, ...] = ()
    """How long its answered calls took, by how they came."""
    began_ns: int = 0
    """When its worker began to count, on that one's clock; 0 in sums."""
    age_s: float = 0.0
    """Seconds since then; 0 in sums."""

    @property
    def key(self) -> VersionKey:
        """The version's key."""
        return VersionKey(self.model, self.version)

    @property
    def fail(self) -> DurationSum:
        """Calls that passed validation and then failed, for any reason."""
        return DurationSum(count=sum(self.failures.values()), ns=self.fail_ns)


def merge_statistics(parts: Iterable[VersionStatistics]) -> tuple[VersionStatistics, ...]:
    """Sum the counters of equal versions (over workers), ordered by model and version."""
    return merge_by_gpu(replace(part, gpu_uuid="") for part in parts)


def merge_by_gpu(parts: Iterable[VersionStatistics]) -> tuple[VersionStatistics, ...]:
    """Sum the counters of equal versions on one GPU, ordered by model, version and GPU."""
    merged: dict[tuple[VersionKey, str], VersionStatistics] = {}
    for part in parts:
        place = (part.key, part.gpu_uuid)
        known = merged.get(place)
        merged[place] = part if known is None else _sum(known, part)
    return tuple(merged[place] for place in sorted(merged))


def _sum(one: VersionStatistics, other: VersionStatistics) -> VersionStatistics:
    batches = {batch.batch_rows: batch for batch in one.batches}
    for batch in other.batches:
        known = batches.get(batch.batch_rows)
        batches[batch.batch_rows] = batch if known is None else known + batch
    return VersionStatistics(
        model=one.model,
        version=one.version,
        inference_count=one.inference_count + other.inference_count,
        execution_count=one.execution_count + other.execution_count,
        last_inference_ms=max(one.last_inference_ms, other.last_inference_ms),
        success=one.success + other.success,
        queue=one.queue + other.queue,
        compute_input=one.compute_input + other.compute_input,
        compute_infer=one.compute_infer + other.compute_infer,
        compute_output=one.compute_output + other.compute_output,
        cache_hit=one.cache_hit + other.cache_hit,
        cache_miss=one.cache_miss + other.cache_miss,
        has_cache=one.has_cache or other.has_cache,
        fail_ns=one.fail_ns + other.fail_ns,
        failures={
            reason: one.failures.get(reason, 0) + other.failures.get(reason, 0)
            for reason in FailureReason
        },
        fault_count=one.fault_count + other.fault_count,
        batches=tuple(batches[rows] for rows in sorted(batches)),
        pending_count=one.pending_count + other.pending_count,
        log=one.log + other.log if one.log and other.log else one.log or other.log,
        gpu_uuid=one.gpu_uuid,
        quality=merged(one.quality, other.quality),
        stages=merged_stages(one.stages, other.stages),
    )
