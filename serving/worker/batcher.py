"""Fast path. The queue of one version: calls in, batches out, results back to their calls.

Natural batching: it never waits while the runtime is idle (unless the policy asks for a delay) and
leaves nothing behind when it is busy. The first call of a loop turn arms one callback; the loop
runs that after it has read every socket that was readable, so those calls become one batch. Calls
that arrive while a batch runs in a thread form the next one, which that thread takes itself: a
way over the loop would leave the engine idle while replies are encoded. It is one class because
queue, timers and the running batch are one state.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from runtimes.errors import BasculeError, EngineError
from serving.errors import DeadlineError, QueueTimeoutError
from serving.monitor.statistics import NO_PHASES, FailureReason, Phases, StatisticsRecorder
from serving.worker.admission import QueueLimits, crowd_refusal, refusal
from serving.worker.batch_count import BatchCounter
from serving.worker.batch_plan import BatchLimits, Plan, next_batch
from serving.worker.executor import Executor, Job, Ran, RunCosts, VersionRunner
from serving.worker.log_fields import call_fields
from serving.worker.queue_levels import LevelQueue
from serving.worker.queued import QueueBytes, QueuedCall
from serving.worker.recorder import LOOP_SLOT
from serving.worker.tap import Observer
from serving.worker.tracing import TraceSlot

log = structlog.get_logger(__name__)

NS_PER_S: Final = 1_000_000_000
MIN_TIMER_S: Final = 0.001  # the loop's timers count milliseconds


class Batcher:
    """Queues, batches and runs the calls of one version. Belongs to one event loop.

    Threads only enter `_following`, which takes from the queue: whoever changes the queue or its
    sums holds the lock.
    """

    def __init__(  # noqa: PLR0913  the parts of one version, built in one place
        self,
        runner: VersionRunner,
        *,
        batch_limits: BatchLimits,
        queue_limits: QueueLimits,
        queue_bytes: QueueBytes,
        executor: Executor,
        statistics: StatisticsRecorder,
        costs: RunCosts,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        levels: LevelQueue | None = None,
        trace: TraceSlot | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Start idle; `levels` is the queue of a version with priorities."""
        self._counter = BatchCounter(statistics, now_ns, trace, observers)
        self._runner = runner
        self._batch_limits = batch_limits
        self._queue_limits = queue_limits
        self._queue_bytes = queue_bytes
        self._executor = executor
        self._statistics = statistics
        self._costs = costs
        self._loop = loop
        self._now_ns = now_ns
        self._is_plain = not (batch_limits.preferred_rows or batch_limits.max_delay_ns)

        self._levels = levels
        self._counts_calls = levels is not None or queue_limits.max_calls > 0
        self._queue: deque[QueuedCall] | LevelQueue = deque() if levels is None else levels
        self._queued_rows = 0
        self._is_armed = False
        self._is_running = False
        self._delay_timer: asyncio.TimerHandle | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._next_deadline_ns = 0
        self._answering: Ran | None = None
        self._idle_waiters: list[asyncio.Future[None]] = []

    @property
    def queued_count(self) -> int:
        """Calls that wait."""
        return len(self._queue)

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._queued_rows

    def submit(self, item: QueuedCall) -> None:
        """Let a call wait for its batch.

        Raises:
            QueueFullError: It may not enter.
        """
        item.enqueued_ns = self._now_ns()
        rows = item.rows
        size_bytes = item.size_bytes
        waiting = self._queue_bytes
        with waiting.lock:
            error = refusal(self._queue_limits, self._queued_rows, rows, waiting.count, size_bytes)
            if self._counts_calls and error is None:
                error = self._crowd_refusal(item)
            if error is None:
                self._queue.append(item)
                self._queued_rows += rows
                waiting.count += size_bytes
        if error is not None:
            self._statistics.count_failure(FailureReason.REJECTED, 0, error, is_copy=item.is_copy)
            raise error
        if item.deadline_ns:
            self._watch_deadline(item.deadline_ns)
        if not self._is_armed and not self._is_running:
            self._is_armed = True
            self._loop.call_soon(self._turn)

    def _crowd_refusal(self, item: QueuedCall) -> BasculeError | None:
        if self._levels is not None:
            return self._levels.admit(item, item.enqueued_ns)
        return crowd_refusal(self._queue_limits, len(self._queue))

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call whose client left; one that runs already is finished for nobody."""
        if not item.is_gone:
            self.withdraw(item)

    def withdraw(self, item: QueuedCall) -> bool:
        """Cancel a call; say whether it still waited, and so will not run."""
        item.is_gone = True
        with self._queue_bytes.lock:
            is_waiting = item in self._queue
            if is_waiting:
                self._queue.remove(item)
                self._forget(item)
        if is_waiting:
            self._fail(item, None, FailureReason.CANCELED)
            self._wake_idle_waiters()
        return is_waiting

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

    async def idle(self) -> None:
        """Return when nothing waits and nothing runs."""
        while self._queue or self._is_running:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Stop the timers; the batcher is idle and gets no more calls."""
        for timer in (self._delay_timer, self._deadline_timer):
            if timer is not None:
                timer.cancel()

    def _turn(self) -> None:
        """Form the next batch and run it here, or start it in a thread."""
        self._is_armed = False
        if self._is_running or not self._queue:
            return
        now_ns = self._now_ns()
        if self._next_deadline_ns and now_ns >= self._next_deadline_ns:
            self._expire(now_ns)
        with self._queue_bytes.lock:
            plan = self._plan(now_ns)
            rows = self._take(plan)
        batch = plan.batch
        if not batch:
            self._wait(plan.wait_until_ns - now_ns)
        elif self._costs.is_short(batch[0].stack_key, rows):
            ran = self._runner.run(batch, rows, LOOP_SLOT)
            self._learn(ran)
            self._settle(ran)
            if self._queue:
                self._arm()
            elif self._idle_waiters:
                self._wake_idle_waiters()
        else:
            self._is_running = True
            self._executor.start(self._job(batch, rows))

    def _plan(self, now_ns: int) -> Plan[QueuedCall]:
        """Choose the next batch of a queue that is not empty; no batch: wait for company."""
        queue = self._queue
        if self._levels is not None:
            self._levels.delay_late(now_ns)
        if (len(queue) == 1 and self._is_plain) or not self._runner.is_stackable:
            return Plan((next(iter(queue)),), ())
        return next_batch(queue, self._batch_limits, now_ns)

    def _take(self, plan: Plan[QueuedCall]) -> int:
        """Take a planned batch off the queue; return its rows."""
        queue = self._queue
        if not plan.skipped and len(plan.batch) == len(queue):
            queue.clear()
        else:
            for _ in range(len(plan.batch) + len(plan.skipped)):
                queue.popleft()
            queue.extendleft(reversed(plan.skipped))
        rows = 0
        size_bytes = 0
        for item in plan.batch:
            rows += item.rows
            size_bytes += item.size_bytes
        self._queued_rows -= rows
        self._queue_bytes.count -= size_bytes
        return rows

    def _wait(self, delay_ns: int) -> None:
        if self._delay_timer is None:
            delay_s = max(delay_ns / NS_PER_S, 0.0)
            self._delay_timer = self._loop.call_later(delay_s, self._end_delay)

    def _job(self, batch: Sequence[QueuedCall], rows: int) -> Job[list[Ran]]:
        runner = self._runner
        return Job(
            work=lambda slot: runner.run(batch, rows, slot),
            done=self._come_back,
            following=self._following,
        )

    def _following(self) -> Job[list[Ran]] | None:
        """Take the next batch in the thread that ended one; None: the loop shall see to it.

        What needs the loop stays with it: timers, refusals of what is late, and short runs.
        """
        if not self._is_plain:
            return None
        with self._queue_bytes.lock:
            now_ns = self._now_ns()
            if not self._queue or 0 < self._next_deadline_ns <= now_ns:
                return None
            plan = self._plan(now_ns)
            rows = sum(item.rows for item in plan.batch)
            if self._costs.is_short(plan.batch[0].stack_key, rows):
                return None
            self._take(plan)
        return self._job(plan.batch, rows)

    def _end_delay(self) -> None:
        self._delay_timer = None
        self._turn()

    def _come_back(self, ran: list[Ran], is_followed: bool) -> None:  # noqa: FBT001  a callback
        """Take a batch back from its thread; the next one starts before replies are encoded."""
        try:
            self._learn(ran)
            if not is_followed:
                self._is_running = False
                self._turn()
        finally:  # whatever became of the next batch: this one's callers have their answers
            self._settle(ran)
            self._wake_idle_waiters()

    def _learn(self, ran: list[Ran]) -> None:
        """Take in what a batch cost; failing and halving says nothing about that."""
        part = ran[0]
        if part.error is None and all(other.is_refused for other in ran[1:]):
            cost_ns = part.split_ns - part.begin_ns + part.look_ns
            self._costs.learn(part.batch[0].stack_key, part.rows, cost_ns)

    def _settle(self, ran: list[Ran]) -> None:
        """Hand out the results of a batch and count them."""
        screen = self._runner.screen
        for part in ran:
            if part.error is None:
                if screen is not None:
                    screen.finishing(part)
                self._finish(part)
            elif part.is_refused:
                self._refuse(part.batch, part.error)
            else:
                for item in part.batch:
                    self._fail(item, part.error, FailureReason.BACKEND)
            if screen is not None:
                screen.count(part)

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
                self._tell(item, EngineError("internal error; the worker's log has it"))
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

    def _fail(self, item: QueuedCall, error: BasculeError | None, reason: FailureReason) -> None:
        self._count_failure(item, error, reason)
        if error is not None and not item.is_gone:
            self._tell(item, error)

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

    def _forget(self, item: QueuedCall) -> None:
        self._queued_rows -= item.rows
        self._queue_bytes.count -= item.size_bytes

    def _arm(self) -> None:
        if not self._is_armed:
            self._is_armed = True
            self._loop.call_soon(self._turn)

    def _watch_deadline(self, deadline_ns: int) -> None:
        """See to it that a call is refused at its time, even while a batch runs."""
        if self._next_deadline_ns and self._next_deadline_ns <= deadline_ns:
            return
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._next_deadline_ns = deadline_ns
        delay_s = (deadline_ns - self._now_ns()) / NS_PER_S
        self._deadline_timer = self._loop.call_later(
            max(delay_s, MIN_TIMER_S), self._on_deadline_timer
        )

    def _on_deadline_timer(self) -> None:
        self._expire(self._now_ns())
        self._wake_idle_waiters()

    def _expire(self, now_ns: int) -> None:
        """Refuse what is too late, and watch for the next deadline."""
        self._next_deadline_ns = 0
        with self._queue_bytes.lock:
            late = [item for item in self._queue if 0 < item.deadline_ns <= now_ns]
            if late:
                on_time = [item for item in self._queue if not 0 < item.deadline_ns <= now_ns]
                self._queue.clear()
                self._queue.extend(on_time)
            for item in late:
                self._forget(item)
            deadlines = [item.deadline_ns for item in self._queue if item.deadline_ns]
        for item in late:
            if item.has_grpc_deadline:
                self._fail(item, DeadlineError("Deadline Exceeded"), FailureReason.CANCELED)
            else:
                self._fail(
                    item, QueueTimeoutError("Request timeout expired"), FailureReason.REJECTED
                )
        if deadlines:
            self._watch_deadline(min(deadlines))

    def _wake_idle_waiters(self) -> None:
        if self._idle_waiters and not self._queue and not self._is_running:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()
