"""Fast path. What ran, back to its calls: results, refusals and failures, and their counts."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from runtimes.errors import BasculeError, EngineError
from serving.errors import DeadlineError
from serving.monitor.statistics import NO_PHASES, FailureReason, Phases
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.worker.batch_count import BatchCounter
from serving.worker.executor import Ran, Screen
from serving.worker.log_fields import call_fields
from serving.worker.queued import QueuedCall

log = structlog.get_logger(__name__)

UNKNOWN_FAULT: Final = "internal error; the worker's log has it"


def refused_as(error: BasculeError) -> FailureReason:
    """Return what a refusal counts as: a deadline is the caller's own."""
    return FailureReason.CANCELED if isinstance(error, DeadlineError) else FailureReason.REJECTED


class Answers:
    """Answers the calls of one version. Belongs to one event loop."""

    def __init__(
        self,
        counter: BatchCounter,
        statistics: StatisticsRecorder,
        screen: Screen | None,
        now_ns: Callable[[], int],
    ) -> None:
        """Answer nobody yet."""
        self._counter = counter
        self._statistics = statistics
        self._screen = screen
        self._now_ns = now_ns
        self._answering: Ran | None = None

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:
        """Return what the call that is being answered spent where; nothing if it did not run."""
        ran = self._answering
        if ran is None or ran.begin_ns < submitted_ns:
            return NO_PHASES
        return Phases(
            ran.begin_ns - submitted_ns,
            ran.infer_ns - ran.begin_ns,
            ran.split_ns - ran.infer_ns,
            now_ns - ran.split_ns,
        )

    def settle(self, ran: list[Ran]) -> None:
        """Hand out the results of a batch and count them."""
        screen = self._screen
        for part in ran:
            if part.error is None:
                if screen is not None:
                    screen.finishing(part)
                self._finish(part)
            elif part.is_refused:
                self._refuse(part.batch, part.error)
            else:
                for item in part.batch:
                    self.fail(item, part.error, FailureReason.BACKEND)
            if screen is not None:
                screen.count(part)

    def fail(self, item: QueuedCall, error: BasculeError | None, reason: FailureReason) -> None:
        """Tell a client why there is no result, unless it left, and count it."""
        self._count_failure(item, error, reason)
        if error is not None and not item.is_gone:
            self._tell(item, error)

    def _refuse(self, batch: Sequence[QueuedCall], error: BasculeError | None) -> None:
        """Tell clients what is wrong with what they asked: no failure of the version."""
        for item in batch:
            if item.is_gone:
                self._count_failure(item, None, FailureReason.CANCELED)
            elif error is not None:
                self._tell(item, error)

    def _finish(self, part: Ran) -> None:
        rows = 0
        enqueued_ns: list[int] = []
        transports = bytearray()
        self._answering = part
        for item, outputs in zip(part.batch, part.outputs, strict=True):
            try:
                is_sent = not item.is_gone and item.finish(outputs)
            except Exception:  # process edge: one call's reply must not take its batch-mates'
                log.exception("call_not_finished", **call_fields(item))
                is_sent = False
                self._tell(item, EngineError(UNKNOWN_FAULT))
            if not is_sent:
                self._count_failure(item, item.refusal(), FailureReason.BACKEND)
                continue
            rows += item.rows
            enqueued_ns.append(item.enqueued_ns)
            transports.append(item.transport)
        self._answering = None
        try:
            self._counter.count(part, enqueued_ns, transports, rows)
        except Exception:  # process edge: the callers have their answers, the next batch waits
            log.exception("batch_not_counted")

    def _tell(self, item: QueuedCall, error: BasculeError) -> None:
        try:
            item.fail(error)
        except Exception:  # process edge, as in `_finish`
            log.exception("call_not_failed", **call_fields(item))

    def _count_failure(
        self, item: QueuedCall, error: BasculeError | None, reason: FailureReason
    ) -> None:
        reason = FailureReason.CANCELED if item.is_gone else reason
        waited_ns = self._now_ns() - item.enqueued_ns
        self._statistics.count_failure(reason, waited_ns, error, is_copy=item.is_copy)
