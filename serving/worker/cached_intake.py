"""Stands in front of a version's batcher where its policy asks for a response cache."""

from collections.abc import Callable, Sequence

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.monitor.statistics import FailureReason, Phases
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.worker.intake import Intake
from serving.worker.queued import QueuedCall
from serving.worker.response_cache import CacheKey, ResponseCache, call_digest
from serving.worker.tap import Observer, answered_alone


class MissedCall(QueuedCall):
    """A call whose answer was not kept yet: it waits for its batch in the caller's place."""

    __slots__ = ("_cached", "_caller", "key", "lookup_ns")

    def __init__(self, asked: QueuedCall, key: CacheKey, cached: "CachedIntake") -> None:
        """Stand for a call."""
        self._caller = asked
        self.key = key
        self.lookup_ns = 0
        self._cached = cached
        self.call = asked.call
        self.rows = asked.rows
        self.stack_key = asked.stack_key
        self.size_bytes = asked.size_bytes
        self.deadline_ns = asked.deadline_ns
        self.has_grpc_deadline = asked.has_grpc_deadline
        self.is_gone = False

    @property
    def asked(self) -> QueuedCall:
        """The caller's call."""
        return self._caller

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Answer the caller, and keep the answer."""
        return self._cached.answer(self, outputs)

    @property
    def is_copy(self) -> bool:  # type: ignore[override]  # it stands for the other call
        """Whether no client asked."""
        return self.asked.is_copy

    @property
    def transport(self) -> int:  # type: ignore[override]  # it stands for the other call
        """How that one came."""
        return self.asked.transport

    def refusal(self) -> BasculeError | None:
        """Return what the caller was told."""
        return self.asked.refusal()

    def fail(self, error: BasculeError) -> None:
        """Tell the caller; errors are not kept."""
        self._cached.forget(self)
        self.asked.fail(error)


class CachedIntake:
    """Answers what was answered before, without the queue; hands everything else on."""

    def __init__(
        self,
        intake: Intake,
        cache: ResponseCache,
        statistics: StatisticsRecorder,
        now_ns: Callable[[], int],
        observers: Sequence[Observer] = (),
    ) -> None:
        """Take the parts.

        Args:
            intake: What answers a call that is not kept.
            cache: The process's answers.
            statistics: The version's counters.
            now_ns: The clock.
            observers: Who looks at calls that were answered without running.
        """
        self._observers = tuple(observers)
        self._intake = intake
        self._cache = cache
        self._owner = cache.new_owner()
        self._statistics = statistics
        self._now_ns = now_ns
        self._missed: dict[QueuedCall, MissedCall] = {}
        statistics.has_cache = True

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""
        return self._intake.is_running

    @property
    def queued_count(self) -> int:
        """Calls that wait."""
        return self._intake.queued_count

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._intake.queued_rows

    def submit(self, item: QueuedCall) -> None:
        """Answer a call at once, or let it wait.

        Raises:
            BasculeError: It may not enter the queue.
        """
        begin_ns = self._now_ns()
        key = CacheKey(self._owner, call_digest(item.call))
        outputs = self._cache.get(key)
        if outputs is not None:
            self._hit(item, outputs, begin_ns)
            return
        missed = MissedCall(item, key, self)
        missed.lookup_ns = self._now_ns() - begin_ns
        self._missed[item] = missed  # before it is handed on: it may be answered at once
        try:
            self._intake.submit(missed)
        except BaseException:
            self.forget(missed)
            raise

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call whose client left."""
        missed = self._missed.pop(item, None)
        item.is_gone = True
        if missed is not None:
            self._intake.cancel(missed)

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:
        """Return what the call that is being answered spent where; nothing for a kept answer."""
        return self._intake.phases_of(submitted_ns, now_ns)

    async def idle(self) -> None:
        """Return when no accepted call is left."""
        await self._intake.idle()

    def close(self) -> None:
        """Forget the version's answers."""
        self._cache.drop(self._owner)
        self._intake.close()

    def answer(self, missed: MissedCall, outputs: Sequence[Array]) -> bool:
        """Finish a call that was not kept; say whether its reply could be sent."""
        self.forget(missed)
        if not missed.asked.finish(outputs):
            return False
        begin_ns = self._now_ns()
        self._cache.put(missed.key, outputs)
        self._statistics.count_miss(missed.lookup_ns + self._now_ns() - begin_ns)
        return True

    def forget(self, missed: MissedCall) -> None:
        """Let go of a call that has its answer."""
        self._missed.pop(missed.asked, None)

    def _hit(self, item: QueuedCall, outputs: Sequence[Array], begin_ns: int) -> None:
        item.enqueued_ns = begin_ns
        found_ns = self._now_ns()
        is_sent = item.finish(outputs)
        end_ns = self._now_ns()
        if is_sent:
            lookup_ns, whole_ns = found_ns - begin_ns, end_ns - begin_ns
            self._statistics.count_hit(lookup_ns, whole_ns, item.transport)
            for observer in self._observers:
                observer.take(answered_alone(item, outputs, found_ns), end_ns)
        else:
            refusal = item.refusal()
            self._statistics.count_failure(
                FailureReason.BACKEND, end_ns - begin_ns, refusal, is_copy=item.is_copy
            )
