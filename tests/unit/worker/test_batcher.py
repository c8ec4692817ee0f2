"""The queue of one version, with a loop and threads that run by hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import Code, EngineError
from serving.errors import DeadlineError, QueueFullError, QueueTimeoutError
from serving.monitor.statistics import FailureReason
from serving.worker.executor import Executor
from serving.worker.queued import QueueBytes
from tests.fakes.batching import NS_PER_S, Bench, HeldCall, threaded_batcher


def test_calls_of_one_turn_become_one_batch() -> None:
    """Natural batching: what arrived in one turn of the loop runs together."""
    bench = Bench()
    calls = [HeldCall(float(value)) for value in range(3)]
    bench.submit(*calls)
    bench.finish_all()
    assert bench.model.batches == [[0.0, 1.0, 2.0]]
    assert [call.result for call in calls] == [[0.0], [2.0], [4.0]]


def test_calls_that_come_while_a_batch_runs_form_the_next() -> None:
    """A busy runtime leaves no work behind and starts the next batch at once."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    bench.submit(HeldCall(2.0), HeldCall(3.0))
    bench.finish_all()
    assert bench.model.batches == [[1.0], [2.0, 3.0]]


def test_the_thread_takes_the_next_batch_itself() -> None:
    """The engine has work before the loop hears of the batch that ended."""
    bench = Bench()
    first, second = HeldCall(1.0), HeldCall(2.0)
    bench.submit(first)
    bench.loop.turn()
    bench.submit(second)
    bench.executor.work()
    bench.executor.work()
    assert bench.model.batches == [[1.0], [2.0]]
    assert first.answer_count == second.answer_count == 0
    bench.finish_all()
    assert (first.result, second.result) == ([2.0], [4.0])


def test_a_thread_leaves_short_batches_to_the_loop() -> None:
    """Once a shape is known to be short no thread holds on to it."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.finish_all()
    bench.submit(HeldCall(*range(8)))
    bench.loop.turn()
    bench.submit(HeldCall(2.0))
    bench.executor.work()
    assert not bench.executor.jobs
    bench.finish_all()
    assert bench.model.batches[-1] == [2.0]


def test_a_thread_does_not_begin_what_is_late() -> None:
    """A call whose time has passed is refused, though a thread is free for it."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    late = HeldCall(2.0, deadline_ns=bench.loop.now_ns + 2)
    bench.submit(late)
    bench.executor.work()
    bench.finish_all()
    assert isinstance(late.error, QueueTimeoutError)
    assert bench.model.batches == [[1.0]]


def test_real_threads_lose_no_call_and_mix_none_up() -> None:
    """Calls of two versions, while their threads take batches: each gets its own answer."""

    async def scenario() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        executor = Executor(loop, thread_count=2)
        queue_bytes = QueueBytes()
        batchers = [threaded_batcher(executor, loop, queue_bytes) for _ in range(2)]
        calls = [HeldCall(float(value), key=value % 3) for value in range(4000)]
        for place, call in enumerate(calls):
            batchers[place % 2].submit(call)
            if place % 7 == 0:
                await asyncio.sleep(0)
        for batcher in batchers:
            await batcher.idle()
        executor.close(1.0)
        wrong = sum(call.result != [2 * value] for value, call in enumerate(calls))
        return wrong, queue_bytes.count + sum(batcher.queued_rows for batcher in batchers)

    assert asyncio.run(scenario()) == (0, 0)


def test_a_batch_never_exceeds_its_rows() -> None:
    """Rows are counted, not calls."""
    bench = Bench(max_rows=4)
    bench.submit(HeldCall(1, 2, 3), HeldCall(4, 5), HeldCall(6))
    bench.finish_all()
    assert bench.model.batches == [[1, 2, 3], [4, 5, 6]]


def test_kinds_that_cannot_be_stacked_take_turns() -> None:
    """A stream of one kind does not starve another."""
    bench = Bench()
    bench.submit(HeldCall(1, key="a"), HeldCall(2, key="b"), HeldCall(3, key="a"))
    bench.loop.turn()
    bench.submit(*[HeldCall(9, key="a") for _ in range(20)])
    bench.finish_all()
    assert bench.model.batches[:2] == [[1, 3], [2]]


@pytest.mark.parametrize("culprit", range(7))
def test_a_bad_item_fails_alone(culprit: int) -> None:
    """Wherever the bad item stands in the batch, its mates get their own results."""
    bench = Bench()
    values = [-1.0 if place == culprit else float(place) for place in range(7)]
    calls = [HeldCall(value) for value in values]
    bench.submit(*calls)
    bench.finish_all()
    bad = calls.pop(culprit)
    assert isinstance(bad.error, EngineError)
    assert [call.result for call in calls] == [
        [2.0 * place] for place in range(7) if place != culprit
    ]
    assert bench.counted().failures[FailureReason.BACKEND] == 1


def test_outputs_that_do_not_follow_the_rows_are_never_split() -> None:
    """Such a version runs one call at a time from then on, and nobody gets a wrong row."""
    bench = Bench()
    bench.model.extra_rows = 1
    calls = [HeldCall(1.0), HeldCall(2.0)]
    bench.submit(*calls)
    bench.finish_all()
    assert [call.result for call in calls] == [[2.0], [4.0]]
    bench.submit(HeldCall(3.0), HeldCall(4.0))
    bench.finish_all()
    assert bench.model.batches[-2:] == [[3.0], [4.0]]


def test_outputs_of_a_single_call_that_do_not_follow_its_rows_are_an_error() -> None:
    """The error names the output and the shape."""
    bench = Bench()
    bench.model.extra_rows = 1
    call = HeldCall(1.0, 2.0)
    bench.submit(call)
    bench.finish_all()
    assert call.error is not None
    assert "output 'y' has shape [3, 1] for a batch of 2 rows" in call.error.message


def test_a_full_queue_refuses_and_runs_nothing() -> None:
    """The bound counts rows that wait; a refused call was not executed."""
    bench = Bench(max_queue_rows=2)
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    bench.submit(HeldCall(2.0, 3.0))
    late = HeldCall(4.0)
    with pytest.raises(QueueFullError, match="Exceeds maximum queue size: 2 of 2 rows"):
        bench.submit(late)
    bench.finish_all()
    assert bench.model.batches == [[1.0], [2.0, 3.0]]
    assert late.answer_count == 0
    assert bench.counted().failures[FailureReason.REJECTED] == 1


def test_waiting_bytes_are_bounded_over_all_queues() -> None:
    """Bytes are counted in the whole process and given back when a batch starts."""
    bench = Bench(max_queue_bytes=8)
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    bench.submit(HeldCall(2.0, 3.0))
    with pytest.raises(QueueFullError, match="8 of 8 bytes"):
        bench.submit(HeldCall(4.0))
    bench.finish_all()
    assert bench.queue_bytes.count == 0
    bench.submit(HeldCall(4.0))


def test_a_cancelled_call_leaves_the_queue() -> None:
    """It does not run, gives its place back, and is never answered."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    gone, stays = HeldCall(2.0), HeldCall(3.0)
    bench.submit(gone, stays)
    bench.batcher.cancel(gone)
    bench.finish_all()
    assert bench.model.batches == [[1.0], [3.0]]
    assert gone.answer_count == 0
    assert bench.queue_bytes.count == bench.batcher.queued_rows == 0
    assert bench.counted().failures[FailureReason.CANCELED] == 1


def test_cancelling_a_running_call_spares_its_mates() -> None:
    """The batch that it runs in goes on; its result is dropped."""
    bench = Bench()
    gone, stays = HeldCall(1.0), HeldCall(2.0)
    bench.submit(gone, stays)
    bench.loop.turn()
    bench.batcher.cancel(gone)
    bench.finish_all()
    assert gone.answer_count == 0
    assert stays.result == [4.0]


def test_a_late_call_is_refused_while_a_batch_runs() -> None:
    """Its time limit is answered at its time, not when the runtime is free."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    late = HeldCall(2.0, deadline_ns=bench.loop.now_ns + NS_PER_S)
    patient = HeldCall(3.0)
    bench.submit(late, patient)
    bench.loop.pass_time(2)
    assert isinstance(late.error, QueueTimeoutError)
    bench.finish_all()
    assert bench.model.batches == [[1.0], [3.0]]
    assert patient.result == [6.0]


def test_a_callers_deadline_is_its_own_error() -> None:
    """A gRPC deadline gives DEADLINE_EXCEEDED, not the queue's refusal."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    late = HeldCall(2.0, deadline_ns=bench.loop.now_ns + NS_PER_S)
    late.has_grpc_deadline = True
    bench.submit(late)
    bench.loop.pass_time(2)
    assert isinstance(late.error, DeadlineError)
    assert late.error.code is Code.DEADLINE_EXCEEDED
    assert late.error.message == "Deadline Exceeded"


def test_deadlines_are_met_in_any_order() -> None:
    """A shorter deadline that comes later is answered first."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    long = HeldCall(2.0, deadline_ns=bench.loop.now_ns + 5 * NS_PER_S)
    short = HeldCall(3.0, deadline_ns=bench.loop.now_ns + NS_PER_S)
    bench.submit(long, short)
    bench.loop.pass_time(2)
    assert (short.answer_count, long.answer_count) == (1, 0)
    bench.loop.pass_time(4)
    assert long.answer_count == 1


def test_a_call_that_is_too_late_on_arrival_does_not_run() -> None:
    """Late in the queue is late, also with an idle runtime."""
    bench = Bench()
    late = HeldCall(1.0, deadline_ns=1)
    bench.submit(late)
    bench.finish_all()
    assert late.error is not None
    assert bench.model.batches == []


def test_short_runs_stay_on_the_loop() -> None:
    """What measuring showed to be short needs no thread."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.finish_all()
    call = HeldCall(2.0)
    bench.submit(call)
    bench.loop.turn()
    assert not bench.executor.jobs
    assert call.result == [4.0]


def test_a_delay_gathers_company() -> None:
    """With a delay in the policy a lonely call waits for that long, and no longer."""
    bench = Bench(max_delay_s=1.0)
    calls = [HeldCall(1.0), HeldCall(2.0)]
    bench.submit(calls[0])
    bench.loop.turn()
    bench.loop.pass_time(0.5)
    bench.submit(calls[1])
    bench.loop.turn()
    assert bench.model.batches == []
    bench.loop.pass_time(0.6)
    bench.finish_all()
    assert bench.model.batches == [[1.0, 2.0]]


def test_statistics_follow_tritons_definitions() -> None:
    """Two calls of one and seven rows in one batch: success 2, rows 8, one execution of 8."""
    bench = Bench()
    bench.submit(HeldCall(1.0), HeldCall(*range(7)))
    bench.finish_all()
    counted = bench.counted()
    assert (counted.success.count, counted.inference_count, counted.execution_count) == (2, 8, 1)
    assert [batch.batch_rows for batch in counted.batches] == [8]
    parts_ns = (
        counted.queue.ns
        + counted.compute_input.ns
        + counted.compute_infer.ns
        + counted.compute_output.ns
    )
    assert 0 < parts_ns <= counted.success.ns


def test_idle_waits_for_all_that_was_accepted() -> None:
    """Unloading waits for what runs and for what waits behind it."""

    async def scenario() -> list[int]:
        bench = Bench(max_rows=1)
        calls = [HeldCall(1.0), HeldCall(2.0)]
        bench.submit(*calls)
        bench.loop.turn()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bench.batcher.idle())
            await asyncio.sleep(0)
            assert not waiting.done()
            bench.finish_all()
        return [call.answer_count for call in calls]

    assert asyncio.run(scenario()) == [1, 1]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.lists(st.sampled_from([-1.0, 1.0, 2.0]), min_size=1, max_size=4),
            st.sampled_from("ab"),
            st.integers(0, 3),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("turn")),
        st.tuples(st.just("work")),
        st.tuples(st.just("deliver")),
        st.tuples(st.just("pass"), st.floats(0, 2)),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_every_call_gets_exactly_its_own_answer(actions: list[tuple[object, ...]]) -> None:
    """Whatever happens in whatever order: one answer each, computed from the call's own rows."""
    bench = Bench(max_rows=4, max_queue_rows=12)
    calls: list[TracedCall] = []
    for action in actions:
        _act(bench, calls, action)
    bench.finish_all()
    for call in calls:
        assert call.answer_count == (0 if call.is_gone and call.result is None else 1)
        if call.result is not None:
            assert call.result == [2 * value for value in call.values]
        if call.error is not None and isinstance(call.error, EngineError):
            assert -1.0 in call.values
    assert bench.batcher.queued_rows == bench.queue_bytes.count == 0


class TracedCall(HeldCall):
    """A call that remembers what it asked."""

    def __init__(self, values: list[float], key: str, deadline_ns: int) -> None:
        super().__init__(*values, key=key, deadline_ns=deadline_ns)
        self.values = values


def _act(bench: Bench, calls: list[TracedCall], action: tuple[object, ...]) -> None:
    match action:
        case ("submit", values, key, delay_s):
            deadline_ns = bench.loop.now_ns + delay_s * NS_PER_S if delay_s else 0
            call = TracedCall(values, key, deadline_ns)
            try:
                bench.submit(call)
            except QueueFullError:
                return
            calls.append(call)
        case ("cancel", place) if calls:
            call = calls[place % len(calls)]
            if not call.answer_count:
                bench.batcher.cancel(call)
        case ("work",) if bench.executor.jobs:
            bench.executor.work()
        case ("deliver",) if bench.executor.results:
            bench.executor.deliver()
        case ("pass", seconds):
            bench.loop.pass_time(seconds)
        case _:
            bench.loop.turn()
