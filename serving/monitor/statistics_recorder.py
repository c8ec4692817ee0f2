"""Counts one version's calls in Triton's cut. Fast path: called once per batch.

It reads no clock of its own.
"""

from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.monitor.load import VersionLoad
from serving.monitor.log_counts import LogTally
from serving.monitor.stages import HTTP
from serving.monitor.statistics import (
    BatchStatistics,
    DurationSum,
    FailureReason,
    Phases,
    VersionStatistics,
)
from serving.monitor.traffic_recorder import TrafficRecorder


class _BatchSums:
    """Running sums of one batch size."""

    __slots__ = ("execution_count", "infer_ns", "input_ns", "output_ns")

    def __init__(self) -> None:
        self.execution_count = 0
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0


class StatisticsRecorder:
    """Counts what one worker does with one version.

    All instants are nanoseconds of one monotonic clock that the caller reads.
    """

    def __init__(self, key: VersionKey, *, began_ns: int = 0) -> None:
        """Start at zero."""
        self._key = key
        self.traffic = TrafficRecorder(began_ns)
        """The same calls, as guardrails and histograms look at them."""
        self._inference_count = 0
        self._success_count = 0
        self._success_ns = 0
        self._queue_ns = 0
        self._input_ns = 0
        self._infer_ns = 0
        self._output_ns = 0
        self._last_end_ns = 0
        self._fail_ns = 0
        self._failures = dict.fromkeys(FailureReason, 0)
        self._batches: dict[int, _BatchSums] = {}
        self.has_cache = False
        """Whether a response cache stands before the version."""
        self._hit_count = 0
        self._hit_ns = 0
        self._miss_count = 0
        self._miss_ns = 0
        self.log: LogTally | None = None
        """Of its predictions; None: none is logged."""

    def count_execution(self, batch_rows: int, phases_ns: tuple[int, int, int, int]) -> None:
        """Count one successful run of the runtime.

        Args:
            batch_rows: Rows that ran together.
            phases_ns: When the inputs began to be put together, when the runtime began, when it
                ended, and when the replies were handed over.
        """
        begin_ns, infer_ns, split_ns, end_ns = phases_ns
        sums = self._batches.get(batch_rows)
        if sums is None:
            sums = self._batches[batch_rows] = _BatchSums()
        sums.execution_count += 1
        sums.input_ns += infer_ns - begin_ns
        sums.infer_ns += split_ns - infer_ns
        sums.output_ns += end_ns - split_ns
        self._last_end_ns = end_ns

    def count_successes(
        self, call_count: int, rows: int, enqueued_sum_ns: int, phases_ns: tuple[int, int, int, int]
    ) -> None:
        """Count the calls of one execution that were answered.

        Args:
            call_count: How many.
            rows: Their rows in all.
            enqueued_sum_ns: Sum of the instants at which they entered the queue.
            phases_ns: As in `count_execution`.
        """
        begin_ns, infer_ns, split_ns, end_ns = phases_ns
        self._inference_count += rows
        self._success_count += call_count
        self._success_ns += call_count * end_ns - enqueued_sum_ns
        self._queue_ns += call_count * begin_ns - enqueued_sum_ns
        self._input_ns += call_count * (infer_ns - begin_ns)
        self._infer_ns += call_count * (split_ns - infer_ns)
        self._output_ns += call_count * (end_ns - split_ns)

    def count_composed(
        self, rows: int, end_ns: int, duration_ns: int, phases: Phases, *, transport: int = HTTP
    ) -> None:
        """Count a call of an ensemble that was answered: one execution, composed of its steps'.

        Args:
            rows: Of the call; 1 without a batch dimension.
            end_ns: When its reply was handed over.
            duration_ns: From receipt to then.
            phases: The sums over its steps.
            transport: How it came. A copy is no client's, and so left out of the traffic.
        """
        begin_ns = end_ns - phases.input_ns - phases.infer_ns - phases.output_ns
        moments_ns = (begin_ns, begin_ns + phases.input_ns, end_ns - phases.output_ns, end_ns)
        self.count_execution(rows, moments_ns)
        self._inference_count += rows
        self._success_count += 1
        self._success_ns += duration_ns
        self._queue_ns += phases.queue_ns
        self._input_ns += phases.input_ns
        self._infer_ns += phases.infer_ns
        self._output_ns += phases.output_ns
        self.traffic.count_alone(transport, duration_ns, *phases)

    def count_failure(
        self,
        reason: FailureReason,
        duration_ns: int,
        error: BasculeError | None = None,
        *,
        is_copy: bool = False,
    ) -> None:
        """Count a call that passed validation and got no result.

        Args:
            reason: In Triton's words.
            duration_ns: From receipt to the refusal.
            error: What its caller was told; None: a fault of ours, or nobody was told.
            is_copy: Of another version's call: left out of the traffic.
        """
        self._failures[reason] += 1
        self._fail_ns += duration_ns
        if reason is not FailureReason.CANCELED and not is_copy:
            self.traffic.count_failure(error)

    def count_hit(self, lookup_ns: int, duration_ns: int, transport: int = HTTP) -> None:
        """Count a call that was answered from the cache: a success that nothing was run for.

        Args:
            lookup_ns: How long finding the answer took.
            duration_ns: From receipt to the handing over of the reply.
            transport: As in `count_composed`.
        """
        self._hit_count += 1
        self._hit_ns += lookup_ns
        self._success_ns += duration_ns
        self.traffic.count_alone(transport, duration_ns)

    def count_miss(self, duration_ns: int) -> None:
        """Count an answered call that the cache did not know, and what the cache took of it."""
        self._miss_count += 1
        self._miss_ns += duration_ns

    @property
    def busy_ns(self) -> int:
        """Time in which batches ran, since the version was loaded."""
        batches = self._batches.values()
        return sum(sums.input_ns + sums.infer_ns + sums.output_ns for sums in batches)

    def load(self, *, now_ns: int, waiting_count: int, is_running: bool) -> VersionLoad:
        """Return how much there is to do: less than `snapshot`, and asked for more often."""
        calls = self.traffic.calls(self._key, now_ns)
        return VersionLoad(
            model=self._key.model,
            version=self._key.version,
            began_ns=calls.began_ns,
            at_ns=now_ns,
            open_count=waiting_count + is_running,
            failed_count=sum(self._failures.values()),
            answered_count=calls.counted.answered_count,
            present_ns=self._success_ns,
            busy_ns=self.busy_ns,
            latency_counts=calls.counted.latency_counts,
        )

    def snapshot(self, *, now_ns: int, now_ms: int, pending_count: int) -> VersionStatistics:
        """Return the counters as they are.

        Args:
            now_ns: The monotonic clock now.
            now_ms: The wall clock now, in milliseconds since 1970.
            pending_count: Calls that wait in the version's queue.
        """
        count = self._success_count
        answered = count + self._hit_count
        age_ms = (now_ns - self._last_end_ns) // 1_000_000
        return VersionStatistics(
            model=self._key.model,
            version=self._key.version,
            inference_count=self._inference_count,
            execution_count=sum(sums.execution_count for sums in self._batches.values()),
            last_inference_ms=now_ms - age_ms if self._last_end_ns else 0,
            success=DurationSum(count=answered, ns=self._success_ns),
            queue=DurationSum(count=answered, ns=self._queue_ns),
            compute_input=DurationSum(count=count, ns=self._input_ns),
            compute_infer=DurationSum(count=count, ns=self._infer_ns),
            compute_output=DurationSum(count=count, ns=self._output_ns),
            cache_hit=DurationSum(count=self._hit_count, ns=self._hit_ns),
            cache_miss=DurationSum(count=self._miss_count, ns=self._miss_ns),
            has_cache=self.has_cache,
            fail_ns=self._fail_ns,
            failures=dict(self._failures),
            fault_count=self.traffic.fault_count,
            batches=tuple(
                BatchStatistics(
                    batch_rows=rows,
                    execution_count=sums.execution_count,
                    compute_input_ns=sums.input_ns,
                    compute_infer_ns=sums.infer_ns,
                    compute_output_ns=sums.output_ns,
                )
                for rows, sums in sorted(self._batches.items())
            ),
            pending_count=pending_count,
            log=None if self.log is None else self.log.counts(),
            stages=self.traffic.counted_stages(),
            began_ns=self.traffic.began_ns,
            age_s=(now_ns - self.traffic.began_ns) / 1e9,
        )
