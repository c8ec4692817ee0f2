"""Fast path. Counts a batch that was answered, and shows it to whoever looks at answered calls."""

from collections.abc import Callable, Sequence

from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.worker.executor import Ran
from serving.worker.tap import Observer
from serving.worker.tracing import Moments, TraceSlot


class BatchCounter:
    """Counts for one version. Belongs to the loop's thread."""

    __slots__ = ("_now_ns", "_observers", "_statistics", "_trace", "_traffic")

    def __init__(
        self,
        statistics: StatisticsRecorder,
        now_ns: Callable[[], int],
        trace: TraceSlot | None,
        observers: Sequence[Observer],
    ) -> None:
        """Take the counters, the clock, and who looks besides."""
        self._statistics = statistics
        self._traffic = statistics.traffic
        self._now_ns = now_ns
        self._trace = trace
        self._observers = tuple(observers)

    def count(
        self, part: Ran, enqueued_ns: Sequence[int], transports: bytearray, rows: int
    ) -> None:
        """Count a batch.

        Args:
            part: What ran.
            enqueued_ns: When the calls came that were answered.
            transports: How these came.
            rows: Theirs.
        """
        phases_ns = (part.begin_ns, part.infer_ns, part.split_ns, self._now_ns())
        self._statistics.count_execution(part.rows, phases_ns)
        self._statistics.count_successes(len(enqueued_ns), rows, sum(enqueued_ns), phases_ns)
        self._traffic.count_answered(enqueued_ns, transports, phases_ns)
        if self._traffic.sampler is not None:
            self._traffic.sample(part.outputs[0])
        trace = self._trace
        if trace is not None and trace.tracer is not None:
            trace.tracer.take(trace.key, part.batch, Moments(*phases_ns))
        if self._observers:
            for observer in self._observers:
                observer.take(part, phases_ns[3])
