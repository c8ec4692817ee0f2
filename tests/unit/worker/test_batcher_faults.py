"""What a defect of ours does to the calls of a batch that ran, and to those behind it."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from runtimes.errors import Code
from serving.errors import QueueTimeoutError
from serving.monitor.traffic_recorder import OutputSampler
from serving.worker.executor import Executor, Job
from serving.worker.http_exchange import HttpExchange
from tests.fakes.batching import NS_PER_S, Bench, HeldCall


class UnsentCall(HeldCall):
    """A call whose reply cannot be written for a reason that nobody thought of."""

    def finish(self, outputs: Sequence[Any]) -> bool:  # noqa: ARG002  it breaks before
        """Break."""
        raise RuntimeError("no reply")


class SilentCall(UnsentCall):
    """A call that cannot even be told so."""

    def fail(self, error: object) -> None:  # noqa: ARG002  likewise
        """Break."""
        raise RuntimeError("no error")


class BrokenSampler(OutputSampler):
    """Counts that cannot be kept."""

    def take(self, outputs: object) -> None:  # noqa: ARG002  it breaks before
        """Break."""
        raise RuntimeError("no count")


@pytest.mark.parametrize("culprit", [UnsentCall(2.0), SilentCall(2.0)])
@pytest.mark.parametrize("place", ["thread", "loop"])
def test_a_reply_that_breaks_is_one_calls_failure(culprit: UnsentCall, place: str) -> None:
    """Its mates have their answers, its caller INTERNAL, and later calls are answered."""
    bench = Bench()
    if place == "loop":  # a shape that is known to be short
        bench.submit(HeldCall(0.0), HeldCall(0.0), HeldCall(0.0))
        bench.finish_all()
    before, after, later = HeldCall(1.0), HeldCall(3.0), HeldCall(4.0)
    with capture_logs() as logs:
        bench.submit(before, culprit, after)
        bench.finish_all()
        bench.submit(later)
        bench.finish_all()
    assert [call.result for call in (before, after, later)] == [[2.0], [6.0], [8.0]]
    if not isinstance(culprit, SilentCall):
        assert culprit.error is not None
        assert culprit.error.code is Code.INTERNAL
    assert [line["event"] for line in logs if line.get("exc_info")] == [
        "call_not_finished",
        *(["call_not_failed"] if isinstance(culprit, SilentCall) else []),
    ]
    assert bench.counted().failures


def test_a_batch_that_cannot_be_counted_holds_nobody_up() -> None:
    """Callers have their answers, and the batch behind is run and answered."""
    bench = Bench()
    bench.statistics.traffic.sampler = BrokenSampler(["y"], has_rows=True)
    first, second = HeldCall(1.0), HeldCall(2.0)
    with capture_logs() as logs:
        bench.submit(first)
        bench.loop.turn()
        bench.submit(second)
        bench.finish_all()
    assert (first.result, second.result) == ([2.0], [4.0])
    assert [line["event"] for line in logs] == ["batch_not_counted", "batch_not_counted"]
    asyncio.run(asyncio.wait_for(bench.batcher.idle(), 90))


def test_a_batch_that_ran_is_answered_though_the_next_cannot_be_planned() -> None:
    """A defect in forming a batch is not one of the batch before."""
    bench = Bench()
    first = HeldCall(1.0)
    bench.submit(first)
    bench.loop.turn()
    bench.submit(HeldCall(2.0, key=[]), HeldCall(3.0, key=[]))  # a key that cannot be one
    job = bench.executor.jobs.popleft()
    ran = job.work(2)
    with pytest.raises(TypeError):
        job.done(ran, False)  # noqa: FBT003  a callback
    assert first.result == [2.0]


def test_a_thread_outlives_what_breaks_while_it_looks_for_its_next_job() -> None:
    """The result of what ran reaches the loop, and the thread takes other jobs."""

    def broken() -> Job[int] | None:
        raise RuntimeError("no next job")

    async def scenario() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        executor = Executor(loop, thread_count=1)
        first: asyncio.Future[int] = loop.create_future()
        executor.start(
            Job(work=lambda _: 1, done=lambda got, _: first.set_result(got), following=broken)
        )
        second = executor.call(lambda: 2)
        found = (await asyncio.wait_for(first, 90), await asyncio.wait_for(second, 90))
        executor.close(1.0)
        return found

    assert asyncio.run(scenario()) == (1, 2)


def test_a_reply_that_cannot_be_compressed_is_answered() -> None:
    """The caller gets INTERNAL, not silence."""

    class Lined(HttpExchange):
        __slots__ = ("sent",)

        def _send(self, reply: Sequence[Any]) -> None:
            self.sent = b"".join(reply)

    async def scenario() -> bytes:
        desk = SimpleNamespace(failed=None)
        exchange = Lined(desk, None, {}, keep_alive=True)  # type: ignore[arg-type]  # unused
        packed: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        packed.set_exception(MemoryError("no room"))
        exchange._on_packed(packed)  # noqa: SLF001  the callback of a thread
        return exchange.sent

    with capture_logs() as logs:
        assert asyncio.run(scenario()).startswith(b"HTTP/1.1 500 ")
    assert [line["event"] for line in logs] == ["reply_not_packed"]


def test_a_turn_whose_only_call_is_late_ends_where_calls_run_alone() -> None:
    """As after outputs that did not follow the batch: there is nothing left to plan."""
    bench = Bench()
    bench.runner.is_stackable = False
    late = HeldCall(1.0, deadline_ns=bench.loop.now_ns + 1)
    bench.submit(late)
    bench.loop.now_ns += NS_PER_S
    bench.loop.turn()
    assert isinstance(late.error, QueueTimeoutError)
    assert bench.model.batches == []
