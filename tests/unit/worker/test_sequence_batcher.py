"""Calls of sequences on their way: order, state, company, and every way to be lost."""

import asyncio

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError, QueueFullError
from serving.monitor.statistics import FailureReason
from tests.fakes.batching import NS_PER_S
from tests.fakes.sequence_bench import SequenceBench, StepCall
from tests.fakes.timed_batching import ExactCosts


def test_a_sequence_runs_in_order_on_its_own_state() -> None:
    """Calls that come at once run one after the other; each result is its client's only."""
    bench = SequenceBench()
    steps = [StepCall(7, 1, start=True), StepCall(7, 2), StepCall(7, 3, end=True)]
    bench.submit(*steps)
    bench.finish_all()
    assert [step.result for step in steps] == [[1], [3], [6]]
    assert bench.model.batches == [[1], [2], [3]]


def test_sequences_share_a_batch() -> None:
    """Steps of different sequences run together, each on its own state."""
    bench = SequenceBench()
    first = [StepCall(n, n, start=True) for n in (1, 2, 3)]
    second = [StepCall(n, 10, end=True) for n in (1, 2, 3)]
    bench.submit(*first, *second)
    bench.finish_all()
    assert bench.model.batches == [[1, 2, 3], [10, 10, 10]]
    assert [step.result for step in second] == [[11], [12], [13]]


def test_start_begins_anew_while_a_sequence_is_under_way() -> None:
    """Nothing of the state before is left."""
    bench = SequenceBench()
    again = StepCall("a", 5, start=True)
    bench.submit(StepCall("a", 100, start=True), again)
    bench.finish_all()
    assert again.result == [5]


def test_a_failed_step_ends_its_sequence_only() -> None:
    """What waits behind it is refused with the reason, later steps too; its company goes on."""
    bench = SequenceBench()
    bad, behind = StepCall(1, -1, start=True), StepCall(1, 2)
    other = StepCall(2, 4, start=True)
    bench.submit(bad, behind, other)
    bench.finish_all()
    assert other.result == [4]
    assert isinstance(behind.error, NotFoundError)
    assert "negative" in behind.error.message
    with pytest.raises(NotFoundError, match="one of its calls failed: negative"):
        bench.submit(StepCall(1, 2))
    assert bench.counted().failures[FailureReason.BACKEND] == 1
    assert [call.answer_count for call in (bad, behind, other)] == [1, 1, 1]


def test_a_step_whose_client_left_before_it_ran_ends_the_sequence() -> None:
    """Its state would lack a step, whether the call waited in its line or in the batcher."""
    bench = SequenceBench()
    running, waiting, behind = StepCall(1, 1, start=True), StepCall(1, 2), StepCall(1, 3)
    bench.submit(running, waiting, behind)
    bench.batcher.cancel(waiting)
    bench.finish_all()
    assert running.result == [1]
    assert isinstance(behind.error, NotFoundError)
    assert waiting.answer_count == 0
    with pytest.raises(NotFoundError, match="client of one of its calls left"):
        bench.submit(StepCall(1, 3))
    queued = StepCall(2, 1, start=True)
    bench.submit(queued)
    bench.batcher.cancel(queued)
    with pytest.raises(NotFoundError, match="client of one of its calls left"):
        bench.submit(StepCall(2, 3))
    assert bench.queue_bytes.count == 0


def test_a_start_whose_client_left_while_it_waited_ends_what_it_was_to_begin_anew() -> None:
    """No step of either sequence may come any more: the slot is the next one's at once."""
    bench = SequenceBench(max_sequences=1)
    running, again = StepCall(1, 1, start=True), StepCall(1, 2, start=True)
    other = StepCall(2, 5, start=True)
    bench.submit(running, again, other)
    bench.batcher.cancel(again)
    bench.finish_all()
    assert running.result == [1]
    assert other.result == [5]
    with pytest.raises(NotFoundError, match="client of one of its calls left"):
        bench.submit(StepCall(1, 3))


def test_a_step_whose_client_left_while_it_ran_moves_the_state_on() -> None:
    """It has run: the next step finds its state."""
    bench = SequenceBench()
    first, second = StepCall(1, 1, start=True), StepCall(1, 2)
    bench.submit(first, second)
    bench.loop.turn()
    bench.batcher.cancel(first)
    bench.finish_all()
    assert first.answer_count == 0
    assert second.result == [3]
    assert bench.counted().failures[FailureReason.CANCELED] == 1


def test_a_silent_sequence_ends() -> None:
    """After the limit its next step is refused, and told why."""
    bench = SequenceBench(idle_s=2.0)
    bench.submit(StepCall(1, 1, start=True))
    bench.finish_all()
    bench.loop.pass_time(1.5)
    step = StepCall(1, 1)
    bench.submit(step)
    bench.finish_all()
    assert step.result == [2]
    bench.loop.pass_time(2.5)
    with pytest.raises(InvalidArgumentError, match=r"START flag.*no call came for 2 s"):
        bench.submit(StepCall(1, 1))


def test_a_sequence_without_a_slot_waits_for_one() -> None:
    """Until another one ends, or has been silent for too long; late calls are refused meanwhile."""
    bench = SequenceBench(max_sequences=1, idle_s=2.0)
    bench.submit(StepCall(1, 1, start=True))
    late = StepCall(2, 1, start=True, deadline_ns=bench.deadline_ns(1.0))
    waiting = StepCall(3, 5, start=True)
    bench.submit(late, waiting)
    bench.finish_all()
    assert bench.batcher.queued_count == 2
    bench.loop.pass_time(1.5)
    assert late.error is not None
    assert late.error.message == "Request timeout expired"
    bench.loop.pass_time(1.0)
    bench.finish_all()
    assert waiting.result == [5]
    assert late.answer_count == 1
    assert bench.queue_bytes.count == 0


def test_a_step_is_not_refused_for_what_is_foreseen() -> None:
    """That would end its sequence: it waits, and is answered if there is time after all."""
    bench = SequenceBench(costs=ExactCosts(lambda _: 10_000))
    bench.submit(StepCall(1, 1, start=True))
    bench.finish_all()
    bench.submit(StepCall(2, 5, start=True))
    bench.loop.turn()  # another sequence's step runs, for ten seconds as it seems
    step = StepCall(1, 2, deadline_ns=bench.deadline_ns(0.5))
    bench.submit(step)
    bench.finish_all()
    assert step.result == [3]


def test_the_wait_in_a_line_is_time_in_the_queue() -> None:
    """Statistics count it from when the call came."""
    bench = SequenceBench(max_sequences=1, idle_s=2.0)
    bench.submit(StepCall(1, 1, start=True), StepCall(2, 1, start=True))
    bench.finish_all()
    bench.loop.pass_time(3.0)
    bench.finish_all()
    counted = bench.counted()
    assert counted.success.count == 2
    assert counted.queue.ns >= 2 * NS_PER_S


def test_what_waits_in_lines_is_bounded() -> None:
    """The queue's limit counts calls that wait for their turn, too; the sequence goes on."""
    bench = SequenceBench(max_queue_rows=2)
    last = StepCall(1, 3)
    bench.submit(StepCall(1, 1, start=True), StepCall(1, 2))
    with pytest.raises(QueueFullError):
        bench.submit(last)
    bench.finish_all()
    bench.submit(last)
    bench.finish_all()
    assert last.result == [6]


def test_calls_that_are_no_steps_are_refused() -> None:
    """No id, more than one row, no START: the client is told what is missing."""
    bench = SequenceBench()
    for call, said in (
        (StepCall(0, 1), "non-zero or non-empty correlation ID"),
        (StepCall("", 1), "non-zero or non-empty correlation ID"),
        (StepCall(1, 1, 2, start=True), "batch-size must be 1"),
        (StepCall(1, 1), "must specify the START flag"),
        (StepCall("ü" * 65, 1, start=True), "has 130 bytes as UTF-8: at most 128"),
    ):
        with pytest.raises(InvalidArgumentError, match=said):
            bench.submit(call)
    bench.submit(StepCall("ü" * 64, 1, start=True))


def test_a_successor_says_that_the_state_is_lost() -> None:
    """For as long as a sequence of its predecessor could be alive; then it is unknown."""
    bench = SequenceBench(has_predecessor=True, idle_s=10.0)
    with pytest.raises(NotFoundError, match="state of its sequences is lost"):
        bench.submit(StepCall(1, 1))
    bench.loop.pass_time(11.0)
    with pytest.raises(InvalidArgumentError, match="START flag"):
        bench.submit(StepCall(1, 1))


def test_a_version_that_closes_finishes_what_it_accepted() -> None:
    """Sequences that have no call give their slots to those that wait."""
    bench = SequenceBench(max_sequences=1, idle_s=1000.0)
    bench.submit(StepCall(1, 1, start=True))
    bench.finish_all()
    waiting = [StepCall(2, 2, start=True), StepCall(3, 3, start=True)]
    bench.submit(*waiting)

    async def close() -> None:
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            closing = group.create_task(bench.batcher.idle())
            await asyncio.sleep(0)
            bench.finish_all()
            await closing

    asyncio.run(close())
    bench.batcher.close()
    assert [call.result for call in waiting] == [[2], [3]]
