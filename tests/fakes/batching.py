"""Working stand-ins around a batcher: a loop and threads that run by hand, a model, calls."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, EngineError
from serving.ids import VersionKey
from serving.monitor.statistics import VersionStatistics
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.version import PriorityPolicy
from serving.wire.call import InferCall
from serving.worker.admission import QueueLimits
from serving.worker.batch_plan import BatchLimits
from serving.worker.batcher import Batcher
from serving.worker.executor import Executor, Job, VersionRunner
from serving.worker.queue_levels import LevelQueue
from serving.worker.queued import QueueBytes, QueuedCall
from serving.worker.recorder import FlightRecorder
from serving.worker.run_costs import RunCosts
from serving.worker.stacking import Stacker
from serving.worker.tap import Observer

NS_PER_S = 1_000_000_000
X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
Y = TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 1))


class HandTimer:
    """A timer of `HandLoop`."""

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never fire."""
        self.is_cancelled = True


class HandLoop:
    """The parts of an event loop that a batcher uses; time and turns pass when told."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_S
        self._ready: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[int, int, HandTimer]] = []
        self._order = count()

    def clock(self) -> int:
        """Nanoseconds; every look takes one."""
        self.now_ns += 1
        return self.now_ns

    def call_soon(self, callback: Callable[..., None], *args: object) -> None:
        """Run in the next turn."""
        self._ready.append((callback, args))

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: object) -> HandTimer:
        """Run when that much time was let pass."""
        timer = HandTimer(callback, args)
        due_ns = self.now_ns + int(delay_s * NS_PER_S)
        heapq.heappush(self._timers, (due_ns, next(self._order), timer))
        return timer

    def create_future(self) -> "asyncio.Future[None]":
        """Return a future of whatever loop runs the test."""
        return asyncio.get_running_loop().create_future()

    def turn(self) -> None:
        """Run what is ready, and what that makes ready, to the end."""
        while self._ready:
            callback, args = self._ready.popleft()
            callback(*args)

    def pass_time(self, seconds: float) -> None:
        """Let time pass: due timers fire in order."""
        end_ns = self.now_ns + int(seconds * NS_PER_S)
        while self._timers and self._timers[0][0] <= end_ns:
            due_ns, _, timer = heapq.heappop(self._timers)
            self.now_ns = max(self.now_ns, due_ns)
            if not timer.is_cancelled:
                timer.callback(*timer.args)
            self.turn()
        self.now_ns = end_ns


class HandExecutor:
    """Threads that work when told."""

    def __init__(self) -> None:
        self.jobs: deque[Job[Any]] = deque()
        self.results: deque[Callable[[], None]] = deque()

    def stay_awake(self, call_count: int) -> None:
        """A loop that is turned by hand does not sleep."""

    def start(self, job: Job[Any]) -> None:
        """Queue a job."""
        self.jobs.append(job)

    def work(self) -> None:
        """Do the oldest job, as a thread would; the loop does not hear of it yet."""
        job = self.jobs.popleft()
        result = job.work(2)
        following = job.following()
        if following is not None:
            self.jobs.append(following)
        self.results.append(lambda: job.done(result, following is not None))

    def deliver(self) -> None:
        """Let the loop hear of the oldest result."""
        self.results.popleft()()

    def finish_all(self, loop: HandLoop) -> None:
        """Let everything that waits or runs come to its end."""
        loop.turn()
        while self.jobs or self.results:
            if self.jobs:
                self.work()
            self.deliver()
            loop.turn()


class DoublingModel:
    """y = 2 * x; fails on batches that contain -1, and records every batch."""

    inputs = (X,)
    outputs = (Y,)

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.extra_rows = 0
        self.is_closed = False

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Run a batch."""
        (x,) = feeds
        self.batches.append(x.ravel().tolist())
        if (x < 0).any():
            raise EngineError("negative")
        if self.extra_rows and len(x) > 1:
            return [np.zeros((len(x) + self.extra_rows, 1), np.float32)]
        return [x * 2]

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class HeldCall(QueuedCall):
    """A call that keeps its answer."""

    def __init__(
        self,
        *values: float,
        key: object = "key",
        deadline_ns: int = 0,
        priority: int = 0,
        timeout_s: float = 0.0,
        client: str = "",
    ) -> None:
        self.client = client
        raw = np.asarray(values, np.float32)
        self.call = InferCall(
            id="",
            rows=len(values),
            shapes=((len(values), 1),),
            stack_key=key,
            tensors=(raw.tobytes(),),
            outputs=(),
            timeout_s=timeout_s,
            priority=priority,
        )
        self.rows = len(values)
        self.stack_key = key
        self.size_bytes = raw.nbytes
        self.enqueued_ns = 0
        self.deadline_ns = deadline_ns
        self.has_grpc_deadline = False
        self.is_gone = False
        self.result: list[float] | None = None
        self.error: BasculeError | None = None
        self.answer_count = 0

    def header(self, name: bytes) -> bytes:
        """Return who it is, whatever the header."""
        assert name == b"client"
        return self.client.encode()

    def finish(self, outputs: Sequence[Any]) -> bool:
        """Keep the result."""
        self.answer_count += 1
        self.result = outputs[0].ravel().tolist()
        return True

    def fail(self, error: BasculeError) -> None:
        """Keep the error."""
        self.answer_count += 1
        self.error = error


class Bench:
    """A batcher with everything around it, all by hand."""

    def __init__(  # noqa: PLR0913  one for each bound that a test sets
        self,
        *,
        max_rows: int = 8,
        preferred_rows: tuple[int, ...] = (),
        max_delay_s: float = 0.0,
        max_queue_rows: int = 0,
        max_queue_calls: int = 0,
        max_queue_bytes: int = 1 << 30,
        priorities: PriorityPolicy | None = None,
        observers: Sequence[Observer] = (),
        model: DoublingModel | None = None,
        costs: RunCosts | None = None,
    ) -> None:
        self.loop = HandLoop()
        self.executor = HandExecutor()
        self.model = model or DoublingModel()
        self.statistics = StatisticsRecorder(VersionKey("m", 1))
        self.queue_bytes = QueueBytes()
        self.costs = costs or RunCosts()
        self.recorder = FlightRecorder(None)
        self.runner = VersionRunner(
            self.model,
            Stacker((X,), (Y,), max_batch_rows=max_rows),
            self.recorder.note(VersionKey("m", 1)),
            self.loop.clock,
        )
        self.batcher = Batcher(
            self.runner,
            batch_limits=BatchLimits(
                max_rows=max_rows,
                preferred_rows=preferred_rows,
                max_delay_ns=int(max_delay_s * NS_PER_S),
            ),
            queue_limits=QueueLimits(
                max_rows=max_queue_rows, max_bytes=max_queue_bytes, max_calls=max_queue_calls
            ),
            queue_bytes=self.queue_bytes,
            executor=self.executor,
            statistics=self.statistics,
            costs=self.costs,
            loop=self.loop,
            now_ns=self.loop.clock,
            levels=None if priorities is None else LevelQueue(priorities),
            observers=observers,
        )

    def submit(self, *calls: HeldCall) -> None:
        """Submit calls in one turn of the loop."""
        for call in calls:
            self.batcher.submit(call)

    def finish_all(self) -> None:
        """Let everything that waits or runs come to its end."""
        self.executor.finish_all(self.loop)

    def counted(self) -> VersionStatistics:
        """Return the statistics."""
        return self.statistics.snapshot(
            now_ns=self.loop.now_ns, now_ms=1_000, pending_count=self.batcher.queued_count
        )


def threaded_batcher(
    executor: Executor, loop: asyncio.AbstractEventLoop, queue_bytes: QueueBytes
) -> Batcher:
    """Return a batcher of a doubling model whose batches run in real threads.

    Each look at its clock takes a millisecond: no run counts as short.
    """
    clock = count(step=1_000_000).__next__
    key = VersionKey("m", 1)
    runner = VersionRunner(
        DoublingModel(),
        Stacker((X,), (Y,), max_batch_rows=8),
        FlightRecorder(None).note(key),
        clock,
    )
    return Batcher(
        runner,
        batch_limits=BatchLimits(max_rows=8),
        queue_limits=QueueLimits(max_rows=0, max_bytes=1 << 30),
        queue_bytes=queue_bytes,
        executor=executor,
        statistics=StatisticsRecorder(key),
        costs=RunCosts(),
        loop=loop,
        now_ns=clock,
    )
