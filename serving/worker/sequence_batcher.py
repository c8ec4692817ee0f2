"""The queue of a version that is served in sequences: in front of its batcher, which forms batches.

`serving.worker.sequences` decides which call may run; this is its shell: it knows the loop, the
calls and the arrays. A sequence has one call in the batcher at a time, so calls of a sequence run
in order, and those of different sequences together. The state stays with the line in host memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError
from serving.monitor.statistics import FailureReason, Phases
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.policies.sequence_policy import SequencePolicy
from serving.worker.admission import NS_PER_S, QueueLimits, expired_error, refusal
from serving.worker.answers import refused_as
from serving.worker.batcher import MIN_TIMER_S, Batcher
from serving.worker.handover import Handover, Miss, UnknownStepError
from serving.worker.queued import QueueBytes, QueuedCall
from serving.worker.sequence_stacking import SequenceId, SequenceStacker, check_id
from serving.worker.sequenced_call import SequencedCall
from serving.worker.sequences import Sequences, Step

LEFT: Final = "the client of one of its calls left before the call ran"
CLOSED: Final = "its version is unloaded or reloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParts:
    """What a sequence batcher is built of."""

    model: str
    version: int
    policy: SequencePolicy
    stacker: SequenceStacker
    batcher: Batcher
    limits: QueueLimits
    queue_bytes: QueueBytes
    statistics: StatisticsRecorder
    loop: asyncio.AbstractEventLoop
    now_ns: Callable[[], int]
    handover: Handover
    has_predecessor: bool
    """A worker or a form of the version before this one had sequences, which are gone."""


class SequenceBatcher:
    """Takes calls as a batcher does. Belongs to one event loop."""

    def __init__(self, parts: SequenceParts) -> None:
        """Know no sequence."""
        self._parts = parts
        self._batcher = parts.batcher
        self._batcher.foresees = False  # a step that it refused would end its sequence
        self._now_ns = parts.now_ns
        self._idle_ns = int(parts.policy.idle_s * NS_PER_S)
        self._book: Sequences[SequencedCall] = Sequences(
            max_sequences=parts.policy.max_sequences, idle_ns=self._idle_ns
        )
        self._calls: dict[QueuedCall, SequencedCall] = {}
        self._waiting_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._idle_waiters: list[asyncio.Future[None]] = []
        # What a predecessor knew would be silent for too long by then.
        self._loss_ends_ns = parts.now_ns() + self._idle_ns if parts.has_predecessor else 0

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""
        return self._batcher.is_running

    @property
    def queued_count(self) -> int:
        """Calls that wait."""
        return self._batcher.queued_count + self._waiting_count

    @property
    def queued_rows(self) -> int:
        """Rows that wait: one a call."""
        return self._batcher.queued_rows + self._waiting_count

    @property
    def sequence_count(self) -> int:
        """Sequences that are under way or wait."""
        return self._book.count

    @property
    def routed_sequences(self) -> list[SequenceId]:
        """Those of them that began without the name of a version."""
        return self._book.routed

    def supersede(self, sequences: Iterable[SequenceId], where: str) -> None:
        """End sequences that began anew at the worker of another version."""
        for sequence in sequences:
            self._carry_out(self._book.supersede(sequence, f"it began anew at worker {where}"))

    def submit(self, item: QueuedCall) -> None:
        """Let a call wait for its turn in its sequence.

        Raises:
            UnknownStepError: Another version's worker may have its sequence.
            InvalidArgumentError: It names no sequence, or one that has not begun.
            NotFoundError: Its sequence was lost.
            QueueFullError: It may not enter.
        """
        call = SequencedCall(self, item)
        self._check(call)
        item.enqueued_ns = self._now_ns()
        line, step = self._book.enter(call.sequence_id, call, starts=call.starts, ends=call.ends)
        call.line = line
        if call.starts:
            line.is_routed = item.is_routed
            if line.is_routed:
                self._parts.handover.begin(self._parts.model, call.sequence_id)
        self._calls[item] = call
        self._waiting_count += 1
        with self._parts.queue_bytes.lock:
            self._parts.queue_bytes.count += call.size_bytes
        self._carry_out(step)
        if not call.is_released and call.deadline_ns and item in self._calls:
            delay_s = (call.deadline_ns - self._now_ns()) / NS_PER_S
            call.timer = self._parts.loop.call_later(
                max(delay_s, MIN_TIMER_S), self._drop_late, call
            )

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call whose client left; one that runs already still moves its sequence on."""
        call = self._calls.get(item)
        if call is None or item.is_gone:
            return
        item.is_gone = True
        if not call.is_released:
            self._lose(call, LEFT, FailureReason.CANCELED)
            return
        if self._batcher.withdraw(call):
            self.settle(call, lost=LEFT)
        else:
            call.is_gone = False  # it runs, and its state is wanted

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:
        """Return what the call that is being answered spent where."""
        return self._batcher.phases_of(submitted_ns, now_ns)

    async def idle(self) -> None:
        """Return when nothing waits and nothing runs; no new calls come meanwhile.

        So sequences that have no call give their slots to those that wait.
        """
        self._is_closing = True
        self._carry_out(self._book.end_silent(CLOSED))
        while self._calls:
            waiter: asyncio.Future[None] = self._parts.loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter
        await self._batcher.idle()

    def close(self) -> None:
        """Stop the timers; there are no more calls."""
        self._batcher.close()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def shown_count(self) -> int:
        """How many of the outputs are for clients; the state is behind them."""
        return self._parts.stacker.shown_count

    def settle(self, call: SequencedCall, *, lost: str = "") -> None:
        """Take note that a call has run, or why it has not, and let the next one run."""
        del self._calls[call.item]
        if call.line is not None:
            self._carry_out(self._book.complete(call.line, self._now_ns(), lost=lost))

    def _check(self, call: SequencedCall) -> None:
        parts = self._parts
        if not call.sequence_id:
            raise InvalidArgumentError(
                f"inference request to model '{parts.model}' must specify a non-zero or non-empty "
                "correlation ID: set sequence_id, and sequence_start in its first request"
            )
        if call.rows != 1:
            raise InvalidArgumentError(
                f"inference request batch-size must be 1 for '{parts.model}', got {call.rows}: its "
                "requests are steps of sequences; send one sequence a request"
            )
        check_id(parts.policy, call.sequence_id)
        self._carry_out(self._book.expire(self._now_ns()))
        is_known = self._book.may_enter(call.sequence_id, starts=call.starts)
        if is_known and call.item.is_handed_on:  # one that began for this version by name is not it
            is_known = self._book.is_routed(call.sequence_id)
        if not is_known:
            unknown = self._unknown(call.sequence_id)
            if self._may_be_elsewhere(call.item):
                miss = Miss(parts.model, call.sequence_id, self._idle_ns)
                raise UnknownStepError(unknown, miss)
            raise unknown
        error = refusal(parts.limits, self.queued_rows, 1, parts.queue_bytes.count, call.size_bytes)
        if error is not None:
            parts.statistics.count_failure(FailureReason.REJECTED, 0)
            raise error

    def _may_be_elsewhere(self, item: QueuedCall) -> bool:
        """Whether another version's worker may have the sequence of a step.

        Not asked by a worker that took another one's place: the edge may be sending a step again
        that the other had handed on, and that has run.
        """
        has_loss = self._now_ns() < self._loss_ends_ns
        return item.is_routed and (item.is_handed_on or not has_loss)

    def _unknown(self, sequence: SequenceId) -> BasculeError:
        model = self._parts.model
        text = (
            f"inference request for sequence {sequence} to model '{model}' must specify the START "
            "flag on the first request of the sequence"
        )
        ended = self._book.ended(sequence)
        if ended is not None:
            error = NotFoundError if ended.is_lost else InvalidArgumentError
            return error(f"{text}: the one before has ended: {ended.reason}")
        if self._now_ns() < self._loss_ends_ns:
            return NotFoundError(
                f"{text}: this worker knows none of that id; it has taken the place of one that "
                "ended or of a version that was reloaded, and the state of its sequences is lost: "
                "start the sequence again"
            )
        return InvalidArgumentError(
            f"{text}: version {self._parts.version} knows none of that id here"
        )

    def _carry_out(self, step: Step[SequencedCall]) -> None:
        steps = deque((step,))
        while steps:
            step = steps.popleft()
            for call, reason in step.refused:
                self._leave_line(call)
                del self._calls[call.item]
                self._fail(call, self._ended_error(call, reason), FailureReason.OTHER)
            steps.extend(after for call in step.run if (after := self._release(call)) is not None)
            if self._is_closing and not steps:
                after_end = self._book.end_silent(CLOSED)
                steps.extend((after_end,) if after_end.run else ())
        self._watch()

    def _release(self, call: SequencedCall) -> Step[SequencedCall] | None:
        """Hand a call to the batcher; what follows if it does not take it."""
        self._leave_line(call)
        call.is_released = True
        call.stack_key = self._parts.stacker.stack_key(call)
        try:
            self._batcher.submit(call)
        except BasculeError as error:
            del self._calls[call.item]
            call.item.fail(error)
            if call.line is None:
                return None
            return self._book.complete(call.line, self._now_ns(), lost=error.message)
        return None

    def _drop_late(self, call: SequencedCall) -> None:
        late = expired_error(call)
        call.item.fail(late)
        self._lose(call, f"one of its calls waited too long: {late.message}", refused_as(late))

    def _lose(self, call: SequencedCall, why: str, reason: FailureReason) -> None:
        self._leave_line(call)
        del self._calls[call.item]
        self._fail(call, None, reason)
        if call.line is not None:
            self._carry_out(self._book.lose(call.line, call, why))

    def _fail(self, call: SequencedCall, error: BasculeError | None, reason: FailureReason) -> None:
        waited_ns = self._now_ns() - call.item.enqueued_ns
        self._parts.statistics.count_failure(reason, waited_ns, error)
        if error is not None:
            call.item.fail(error)

    def _leave_line(self, call: SequencedCall) -> None:
        self._waiting_count -= 1
        with self._parts.queue_bytes.lock:
            self._parts.queue_bytes.count -= call.size_bytes
        if call.timer is not None:
            call.timer.cancel()

    def _ended_error(self, call: SequencedCall, reason: str) -> BasculeError:
        return NotFoundError(
            f"sequence {call.sequence_id} of model '{self._parts.model}' has ended: {reason}; this "
            "request was not executed: start the sequence again"
        )

    def _watch(self) -> None:
        """See to it that silent sequences end. A timer that is set is never too late."""
        if not self._calls and self._idle_waiters:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()
        at_ns = self._book.next_expiry_ns
        if at_ns and self._timer is None:
            delay_s = max((at_ns - self._now_ns()) / NS_PER_S, MIN_TIMER_S)
            self._timer = self._parts.loop.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._carry_out(self._book.expire(self._now_ns()))
