"""Fast path. The queue of one version: calls in, batches out (`answers.py` has the way back).

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
from typing import Any, Final

from runtimes.errors import BasculeError
from serving.monitor.statistics import FailureReason, Phases
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.worker.admission import (
    NS_PER_S,
    QueueLimits,
    crowd_refusal,
    expired_error,
    hopeless_error,
    late_refusal,
    refusal,
)
from serving.worker.answers import Answers, refused_as
from serving.worker.batch_count import BatchCounter
from serving.worker.batch_plan import BatchLimits, Plan, next_batch
from serving.worker.executor import Executor, Job, Ran, VersionRunner
from serving.worker.forecast import Forecast, Outlook, outlook_behind
from serving.worker.queue_levels import LevelQueue
from serving.worker.queued import QueueBytes, QueuedCall
from serving.worker.recorder import LOOP_SLOT
from serving.worker.run_costs import RunCosts
from serving.worker.tap import Observer
from serving.worker.tracing import TraceSlot

MIN_TIMER_S: Final = 0.001  # the loop's timers count milliseconds
DOUBT_EVERY: Final = 32
"""Of so many calls that could begin in time but not end, one enters, and so is measured anew."""


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
        counter = BatchCounter(statistics, now_ns, trace, observers)
        self._answers = Answers(counter, statistics, runner.screen, now_ns)
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
        self.foresees = True
        self._forecast: Forecast[QueuedCall] | None = None
        """Kept while calls with a deadline wait; made when the first comes."""
        self._busy: tuple[int, Any, int] = (0, None, 0)
        """Since when which kind runs with how many rows, while `_is_running`."""
        self._doubt_count = 0
        self._delay_timer: asyncio.TimerHandle | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._next_deadline_ns = 0
        self._idle_waiters: list[asyncio.Future[None]] = []

    @property
    def queued_count(self) -> int:
        """Calls that wait."""
        return len(self._queue)

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._queued_rows

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""
        return self._is_running

    def submit(self, item: QueuedCall) -> None:
        """Let a call wait for its batch.

        Raises:
            QueueFullError: There is no room for it.
            QueueTimeoutError: It would have to wait for longer than it may.
            DeadlineError: It could not be answered by its caller's deadline.
        """
        item.enqueued_ns = self._now_ns()
        rows = item.rows
        size_bytes = item.size_bytes
        waiting = self._queue_bytes
        with waiting.lock:
            error = refusal(self._queue_limits, self._queued_rows, rows, waiting.count, size_bytes)
            if self._counts_calls and error is None:
                error = self._crowd_refusal(item)
            if (item.deadline_ns or self._forecast is not None) and error is None:
                error = self._foresee(item)
            if error is None:
                self._queue.append(item)
                self._queued_rows += rows
                waiting.count += size_bytes
        if error is not None:
            self._statistics.count_failure(refused_as(error), 0, error, is_copy=item.is_copy)
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

    def _foresee(self, item: QueuedCall) -> BasculeError | None:
        """Refuse a call that would come too late; take others into the forecast."""
        if not self.foresees or not (self._queue or self._is_running):
            return None  # it begins at once, and nothing is foreseen for an empty queue
        now_ns = item.enqueued_ns
        max_rows = self._batch_limits.max_rows
        if self._levels is not None:
            rows, free_ns = self._levels.rows_before(item), self._free_at_ns(now_ns)
            outlook = outlook_behind(item, rows, max_rows, self._costs, free_ns)
            return self._late_refusal(item, outlook, now_ns)
        forecast = self._forecast
        if forecast is None:
            forecast = self._forecast = Forecast(max_rows, self._costs, self._queue)
        if item.deadline_ns:
            outlook = forecast.outlook(item, self._free_at_ns(now_ns))
            if (error := self._late_refusal(item, outlook, now_ns)) is not None:
                return error
        forecast.enter(item)
        return None

    def _late_refusal(self, item: QueuedCall, outlook: Outlook, now_ns: int) -> BasculeError | None:
        """Refuse what comes too late, but now and then measure whether it does."""
        error = late_refusal(item, outlook, now_ns)
        if error is None or outlook.begin_ns >= item.deadline_ns:
            return error
        self._doubt_count += 1
        return error if self._doubt_count % DOUBT_EVERY else None

    def _free_at_ns(self, now_ns: int) -> int:
        """When the runtime can begin with what waits, as far as is known."""
        if not self._is_running:
            return now_ns
        began_ns, stack_key, rows = self._busy
        return max(now_ns, began_ns + self._costs.expected_ns(stack_key, rows))

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
            self._answers.fail(item, None, FailureReason.CANCELED)
            self._wake_idle_waiters()
        return is_waiting

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:
        """Return what the call that is being answered spent where; nothing if it did not run."""
        return self._answers.phases_of(submitted_ns, now_ns)

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
        now_ns = self._now_ns()
        if self._next_deadline_ns and now_ns >= self._next_deadline_ns:
            self._expire(now_ns)
        if self._is_running or not self._queue:
            return
        with self._queue_bytes.lock:
            plan = self._plan(now_ns)
            rows = self._take(plan)
        batch = plan.batch
        if not batch:
            self._wait(plan.wait_until_ns - now_ns)
        elif self._costs.is_short(batch[0].stack_key, rows):
            ran = self._runner.run(batch, rows, LOOP_SLOT)
            self._executor.stay_awake(len(batch))
            self._learn(ran)
            self._answers.settle(ran)
            if self._queue:
                self._arm()
            elif self._idle_waiters:
                self._wake_idle_waiters()
        else:
            self._is_running = True
            self._busy = (now_ns, batch[0].stack_key, rows)
            self._executor.start(self._job(batch, rows))

    def _plan(self, now_ns: int) -> Plan[QueuedCall]:
        """Choose the next batch of a queue that is not empty; no batch: wait for company."""
        queue = self._queue
        if self._levels is not None:
            self._levels.delay_late(now_ns)
            self._levels.raise_aged(now_ns)
        if (len(queue) == 1 and self._is_plain) or not self._runner.is_stackable:
            return Plan((next(iter(queue)),), ())
        return next_batch(queue, self._batch_limits, now_ns)

    def _take(self, plan: Plan[QueuedCall]) -> int:
        """Take a planned batch off the queue; return its rows."""
        queue = self._queue
        if not plan.skipped and len(plan.batch) == len(queue):
            queue.clear()
            self._forecast = None
        else:
            if self._forecast is not None and plan.batch and not self._forecast.begin(plan.batch):
                self._forecast = None
            for _ in range(len(plan.batch) + len(plan.skipped)):
                queue.popleft()
            queue.extendleft(reversed(plan.skipped))
        rows = size_bytes = 0
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
            stack_key = plan.batch[0].stack_key
            if self._costs.is_short(stack_key, rows):
                return None
            self._take(plan)
            self._busy = (now_ns, stack_key, rows)
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
            self._drop_hopeless()
        finally:  # whatever became of the next batch: this one's callers have their answers
            self._answers.settle(ran)
            self._wake_idle_waiters()

    def _learn(self, ran: list[Ran]) -> None:
        """Take in what a batch cost; failing and halving says nothing about that."""
        part = ran[0]
        if part.error is None and all(other.is_refused for other in ran[1:]):
            cost_ns = part.split_ns - part.begin_ns + part.look_ns
            self._costs.learn(part.batch[0].stack_key, part.rows, cost_ns)

    def _forget(self, item: QueuedCall) -> None:
        self._forecast = None
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
        delay_s = max((deadline_ns - self._now_ns()) / NS_PER_S, MIN_TIMER_S)
        self._deadline_timer = self._loop.call_later(delay_s, self._on_deadline_timer)

    def _on_deadline_timer(self) -> None:
        self._expire(self._now_ns())
        self._wake_idle_waiters()

    def _expire(self, now_ns: int) -> None:
        """Refuse what is too late, and watch for the next deadline."""
        self._next_deadline_ns = 0
        with self._queue_bytes.lock:
            late = [item for item in self._queue if 0 < item.deadline_ns <= now_ns]
            self._take_out(late)
            deadlines = [item.deadline_ns for item in self._queue if item.deadline_ns]
        for item in late:
            error = expired_error(item)
            self._answers.fail(item, error, refused_as(error))
        if deadlines:
            self._watch_deadline(min(deadlines))

    def _drop_hopeless(self) -> None:
        """Refuse what cannot be in time any more, however fast all before it runs."""
        with self._queue_bytes.lock:
            if self._forecast is None or not self._is_running:
                return
            began_ns, stack_key, rows = self._busy
            now_ns = self._now_ns()
            free_at_ns = max(now_ns, began_ns + self._costs.least_ns(stack_key, rows))
            late = self._forecast.hopeless(free_at_ns)
            self._take_out([item for item, _ in late])
        for item, outlook in late:
            error = hopeless_error(item, outlook, now_ns)
            self._answers.fail(item, error, refused_as(error))

    def _take_out(self, late: Sequence[QueuedCall]) -> None:
        """Take calls off the queue that will not run; the lock is held."""
        if late:
            gone = set(late)
            kept = [item for item in self._queue if item not in gone]
            self._queue.clear()
            self._queue.extend(kept)
        for item in late:
            self._forget(item)

    def _wake_idle_waiters(self) -> None:
        if self._idle_waiters and not self._queue and not self._is_running:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()
