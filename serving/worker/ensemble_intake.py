"""The calls of an ensemble: each goes from step to step inside this process.

A step waits in its model's own queue like any call, so steps of several calls, and calls of the
model itself, run together.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from runtimes.contract import Array
from runtimes.errors import BasculeError, Code
from serving.monitor.statistics import NO_PHASES, FailureReason, Phases
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.worker.ensemble_flow import BoundStep, Flow
from serving.worker.ensemble_plan import EnsemblePlan
from serving.worker.executor import Look
from serving.worker.quality_gate import MAX_JUDGED_INLINE_BYTES
from serving.worker.queued import QueuedCall
from serving.worker.tap import Observer, answered_alone

REASONS: Final = {
    Code.QUEUE_FULL: FailureReason.REJECTED,
    Code.QUEUE_TIMEOUT: FailureReason.REJECTED,
    Code.DEADLINE_EXCEEDED: FailureReason.CANCELED,
    Code.CANCELLED: FailureReason.CANCELED,
}


class EnsembleIntake:
    """Takes the calls of one ensemble. Belongs to one event loop."""

    def __init__(  # noqa: PLR0913  its parts, put together in one place
        self,
        plan: EnsemblePlan,
        steps: Sequence[BoundStep],
        *,
        statistics: StatisticsRecorder,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        observers: Sequence[Observer] = (),
        look: Look | None = None,
    ) -> None:
        """Start without calls.

        Args:
            plan: How tensors go.
            steps: In the order of the plan.
            statistics: The ensemble's counters.
            loop: Wakes who waits for the end of all calls.
            now_ns: The clock.
            observers: Who looks at its answered calls.
            look: Judges answers; large ones in a thread.
        """
        self._observers = tuple(observers)
        self._look = look
        self.plan = plan
        self.steps = tuple(steps)
        self.now_ns = now_ns
        self.is_private = False
        """Whether its prediction log keeps less than everything: then its steps' models log none of
        its calls."""
        self._statistics = statistics
        self._loop = loop
        self._flows: dict[QueuedCall, Flow] = {}
        self._ending = NO_PHASES
        self._idle_waiters: list[asyncio.Future[None]] = []

    @property
    def is_running(self) -> bool:
        """Whether a call goes from step to step."""
        return bool(self._flows)

    @property
    def queued_count(self) -> int:
        """Calls that wait: they do so at a step, and are counted there."""
        return 0

    @property
    def queued_rows(self) -> int:
        """Rows that wait, as above."""
        return 0

    def submit(self, item: QueuedCall) -> None:
        """Begin with the steps that need nothing but the call's inputs."""
        item.enqueued_ns = self.now_ns()
        flow = self._flows[item] = Flow(self, item)
        flow.begin()

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call whose client left, at all its steps."""
        if item.is_gone:
            return
        item.is_gone = True
        flow = self._flows.get(item)
        if flow is not None:
            flow.end()
            self._count_failure(item, FailureReason.CANCELED, None)
            self._forget(item)

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:  # noqa: ARG002  the port's
        """Return what the call that is being answered spent in its steps."""
        return self._ending

    async def idle(self) -> None:
        """Return when no accepted call is left."""
        while self._flows:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Nothing is held."""

    def finish(self, flow: "Flow", outputs: Sequence[Array]) -> None:
        """Answer a call whose steps are all done, once its answer was judged."""
        look = self._look
        if look is None or sum(each.nbytes for each in outputs) <= MAX_JUDGED_INLINE_BYTES:
            self._answer(flow, outputs)
            return
        looking = self._loop.run_in_executor(None, look, [flow.asked], [outputs])
        looking.add_done_callback(lambda looked: self._go_on(flow, looked.result()[0]))

    def _go_on(self, flow: "Flow", outputs: Sequence[Array]) -> None:
        if not flow.asked.is_gone:  # else it was counted and forgotten
            self._answer(flow, outputs)

    def _answer(self, flow: "Flow", outputs: Sequence[Array]) -> None:
        asked = flow.asked
        self._ending = flow.phases
        is_sent = asked.finish(outputs)
        self._ending = NO_PHASES
        if is_sent:
            end_ns = self.now_ns()
            self._statistics.count_composed(
                asked.rows,
                end_ns,
                end_ns - asked.enqueued_ns,
                flow.phases,
                transport=asked.transport,
            )
            for observer in self._observers:
                observer.take(answered_alone(asked, outputs, asked.enqueued_ns), end_ns)
        else:
            self._count_failure(asked, FailureReason.BACKEND, asked.refusal())
        self._forget(asked)

    def fail(self, flow: "Flow", error: BasculeError) -> None:
        """Tell the caller which step failed, and why."""
        asked = flow.asked
        self._count_failure(asked, REASONS.get(error.code, FailureReason.BACKEND), error)
        self._forget(asked)
        asked.fail(error)

    def _count_failure(
        self, asked: QueuedCall, reason: FailureReason, error: BasculeError | None
    ) -> None:
        waited_ns = self.now_ns() - asked.enqueued_ns
        self._statistics.count_failure(reason, waited_ns, error, is_copy=asked.is_copy)

    def _forget(self, asked: QueuedCall) -> None:
        self._flows.pop(asked, None)
        if not self._flows:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()
