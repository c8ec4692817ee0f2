"""Fast path. The only caller of the runtime: on the loop if the run is short, else in a thread.

A thread hop costs more than a short run, so what measuring showed to be short runs on the loop
(`serving.worker.run_costs`).
Everything else takes a turn in the process-wide executor. A version has one batch outstanding at
most and jobs run first in first out, so every version gets a fair turn, and no model is entered
twice at a time.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from runtimes.contract import Array, LoadedModel
from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from serving.monitor.quality.verdict import Verdict
from serving.worker.log_fields import batch_fields
from serving.worker.queued import QueuedCall
from serving.worker.recorder import FIRST_THREAD_SLOT, SLOT_COUNT, Note
from serving.worker.stacking import OutputRowsError, Stacker

Look = Callable[[Sequence[QueuedCall], Sequence[Sequence[Array]]], list[Sequence[Array]]]
"""(calls, outputs of each) → the same outputs, with what was noticed. Never raises."""


class Screen(Protocol):
    """Judges a batch's calls together."""

    def screen(
        self, batch: Sequence[QueuedCall], feeds: Sequence[Array | None], rows: int
    ) -> Sequence[Verdict | None] | None:
        """Judge what calls ask; None: there is nothing to say of any."""

    def refusal(self, item: QueuedCall, verdict: Verdict | None) -> InvalidArgumentError | None:
        """Return what a call is refused for; None: it may run."""

    def passes(self, outputs: Sequence[Array], rows: int) -> bool:
        """Judge what calls get, all together; False: `look`. Never raises."""

    def look(
        self, batch: Sequence[QueuedCall], parts: Sequence[Sequence[Array]]
    ) -> list[Sequence[Array]]:
        """Judge what calls get, each by itself. Never raises."""

    def finishing(self, part: "Ran") -> None:
        """Know whose calls are about to be finished, up to `count`. On the loop."""

    def count(self, part: "Ran") -> None:
        """Count the calls of a run. On the loop; never raises."""


T = TypeVar("T")
log = structlog.get_logger(__name__)


class Ran(msgspec.Struct, frozen=True):
    """One run of the runtime: the calls, their outputs or why there are none, and when."""

    batch: Sequence[QueuedCall]
    rows: int
    outputs: Sequence[Sequence[Array]]
    """One entry per call; empty if it failed."""
    error: BasculeError | None
    begin_ns: int
    infer_ns: int
    split_ns: int
    look_ns: int = 0
    """How long somebody looked at the outputs; part of what a run costs, not of its phases."""
    verdicts: Sequence[Verdict | None] | None = None
    """What there is to say of each call's inputs; None: nothing, or nobody looked at them."""
    is_passed: bool = False
    """Whether nothing is to be said of the outputs either."""
    is_refused: bool = False
    """Whether `error` is about what was asked, and nothing ran."""


class VersionRunner:
    """Runs the batches of one version and isolates what fails."""

    def __init__(
        self,
        model: LoadedModel,
        stacker: Stacker,
        note: Note,
        now_ns: Callable[[], int],
        look: Look | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Take the loaded model, a clock in nanoseconds, and who looks at outputs, or at all."""
        self.screen = screen
        self._model = model
        self._stacker = stacker
        self._note = note
        self._now_ns = now_ns
        self._look = look
        self._is_blind = look is None and screen is None
        self.is_stackable = True
        """False once running calls together showed that the outputs do not follow the batch."""

    def run(self, batch: Sequence[QueuedCall], rows: int, slot: int) -> list[Ran]:
        """Run a batch; if it fails, halve it until only the culprit fails. Never raises.

        Args:
            batch: Calls that may be stacked.
            rows: Their rows in all.
            slot: The flight recorder's slot of this thread.
        """
        self._note.begin(slot)
        try:
            return self._run(batch, rows)
        finally:
            self._note.end(slot)

    def _run(
        self,
        batch: Sequence[QueuedCall],
        rows: int,
        verdicts: Sequence[Verdict | None] | None = None,
        begin_ns: int = 0,
    ) -> list[Ran]:
        """Run calls; verdicts: they were screened from `begin_ns` on, and said was this."""
        clock = self._now_ns
        begin_ns = infer_ns = begin_ns or clock()
        error: BasculeError
        try:
            feeds = self._stacker.feeds(batch, rows)
            if self.screen is not None and verdicts is None:
                found = self.screen.screen(batch, feeds, rows)
                if found is not None:
                    return self._run_screened(self.screen, batch, found, begin_ns)
            infer_ns = clock()
            outputs = self._model.run(feeds)
            split_ns = clock()
            parts = self._stacker.split(batch, rows, outputs)
        except BasculeError as expected:
            error = expected
        except Exception:  # process edge: whatever an engine throws is one batch's failure
            log.exception("run_failed", **batch_fields(batch))
            error = EngineError("internal error while the model ran; the worker's log has it")
        else:
            is_passed = self.screen is not None and self.screen.passes(outputs, rows)
            if not is_passed:
                parts = self._looked(batch, parts)
            look_ns = 0 if self._is_blind else clock() - split_ns
            times = (begin_ns, infer_ns, split_ns, look_ns)
            return [Ran(batch, rows, parts, None, *times, verdicts, is_passed)]
        if len(batch) == 1:
            return [Ran(batch, rows, (), error, begin_ns, infer_ns, clock(), 0, verdicts)]
        return self._run_halves(batch, rows, verdicts, error)

    def _looked(
        self, batch: Sequence[QueuedCall], parts: list[Sequence[Array]]
    ) -> list[Sequence[Array]]:
        if self.screen is not None:
            return self.screen.look(batch, parts)
        return parts if self._look is None else self._look(batch, parts)

    def _run_halves(
        self,
        batch: Sequence[QueuedCall],
        rows: int,
        verdicts: Sequence[Verdict | None] | None,
        error: BasculeError,
    ) -> list[Ran]:
        if isinstance(error, OutputRowsError):
            self.is_stackable = False
        half = len(batch) // 2
        first_rows = sum(item.rows for item in batch[:half])
        first, rest = (None, None) if verdicts is None else (verdicts[:half], verdicts[half:])
        return [
            *self._run(batch[:half], first_rows, first),
            *self._run(batch[half:], rows - first_rows, rest),
        ]

    def _run_screened(
        self,
        screen: Screen,
        batch: Sequence[QueuedCall],
        verdicts: Sequence[Verdict | None],
        begin_ns: int,
    ) -> list[Ran]:
        """Refuse the calls that a rule rejects, and run the others together."""
        refused: list[Ran] = []
        kept: list[QueuedCall] = []
        said: list[Verdict | None] = []
        for item, verdict in zip(batch, verdicts, strict=True):
            error = screen.refusal(item, verdict)
            if error is None:
                kept.append(item)
                said.append(verdict)
                continue
            times = (begin_ns, begin_ns, begin_ns, 0)
            refused.append(Ran([item], item.rows, (), error, *times, [verdict], is_refused=True))
        rows = sum(item.rows for item in kept)
        return [*(self._run(kept, rows, said, begin_ns) if kept else ()), *refused]


def _nothing() -> None:
    """No job follows."""


def _sleep(_call_count: int) -> None:
    """Nobody waits for what may follow."""


class Job(msgspec.Struct, Generic[T], frozen=True):
    """Work for a thread. None of its parts may raise."""

    work: Callable[[int], T]
    """Runs in the thread, which tells its slot of the flight recorder."""
    done: Callable[[T, bool], None]
    """Gets on the loop what `work` returned, and whether another job follows."""
    following: "Callable[[], Job[T] | None]" = _nothing
    """Asked in the thread, after the work, for the next job: it queues up before the loop knows."""


class Executor:
    """The process's threads for runs that are too long for the loop.

    Threads are started when jobs wait and none is idle, up to the limit: a worker that hosts one
    version never has more than one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread_count: int | None = None,
        stay_awake: Callable[[int], None] = _sleep,
    ) -> None:
        """Start nothing yet.

        Args:
            loop: Where results are delivered.
            thread_count: Limit; by default one per CPU.
            stay_awake: Told after each run on the loop how many calls it had: others may follow.
        """
        self.stay_awake = stay_awake
        wanted = thread_count or len(os.sched_getaffinity(0))
        self._limit = max(1, min(wanted, SLOT_COUNT - FIRST_THREAD_SLOT))
        self._loop = loop
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._outstanding_count = 0

    def start(self, job: Job[Any]) -> None:
        """Run a job in a thread."""
        self._outstanding_count += 1
        if len(self._threads) < min(self._limit, self._outstanding_count):
            slot = FIRST_THREAD_SLOT + len(self._threads)
            # A daemon: a model that hangs in native code must not keep a stopped worker alive.
            thread = threading.Thread(target=self._work, args=(slot,), daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    async def call(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in a thread, or raise what it raises."""
        future: asyncio.Future[T] = self._loop.create_future()

        def attempt(_: int) -> Callable[[], None]:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  carried over to the caller
                caught = error
                return lambda: None if future.done() else future.set_exception(caught)
            return lambda: None if future.done() else future.set_result(result)

        self.start(Job(work=attempt, done=lambda settle, _: settle()))
        return await future

    def close(self, timeout_s: float) -> bool:
        """End the threads after what is queued; waits no longer than told for each.

        Returns:
            Whether they have ended; one that runs native code cannot be interrupted.
        """
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, slot: int) -> None:
        while (job := self._jobs.get()) is not None:
            result = job.work(slot)
            try:
                following = job.following()
            except Exception:  # process edge: what has run must reach the loop
                log.exception("next_job_not_found")
                following = None
            if following is not None:
                self._jobs.put(following)
            self._loop.call_soon_threadsafe(self._finish, job, result, following is not None)

    def _finish(self, job: Job[T], result: T, is_followed: bool) -> None:  # noqa: FBT001  callback
        if not is_followed:
            self._outstanding_count -= 1
        job.done(result, is_followed)
