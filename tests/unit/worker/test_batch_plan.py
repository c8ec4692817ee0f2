"""The choice of the next batch, for every queue."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from serving.worker.batch_plan import MAX_SKIPPED, BatchLimits, next_batch

MAX_ROWS = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    """A waiting call."""

    rows: int
    stack_key: str
    enqueued_ns: int


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    """Queues in order of arrival, of up to three kinds of calls."""
    kinds = draw(st.lists(st.tuples(st.integers(1, MAX_ROWS), st.sampled_from("abc")), max_size=40))
    return [Waiting(rows, key, 10 * place) for place, (rows, key) in enumerate(kinds)]


@st.composite
def limits(draw: st.DrawFn) -> BatchLimits:
    """Policies of every sort."""
    return BatchLimits(
        max_rows=MAX_ROWS,
        preferred_rows=tuple(draw(st.sets(st.integers(1, MAX_ROWS)))),
        max_delay_ns=draw(st.integers(0, 500)),
    )


@given(queues(), limits(), st.integers(0, 1000))
def test_nothing_is_lost_or_doubled(queue: list[Waiting], limits: BatchLimits, now_ns: int) -> None:
    """Batch and skipped calls are exactly the first calls of the queue."""
    plan = next_batch(queue, limits, now_ns)
    looked_at = len(plan.batch) + len(plan.skipped)
    assert (
        sorted([*plan.batch, *plan.skipped], key=lambda call: call.enqueued_ns)
        == (queue[:looked_at])
    )


@given(queues(), limits(), st.integers(0, 1000))
def test_a_batch_can_be_stacked_and_fits(
    queue: list[Waiting], limits: BatchLimits, now_ns: int
) -> None:
    """A batch has one stack key and at most the limit's rows."""
    batch = next_batch(queue, limits, now_ns).batch
    assert len({call.stack_key for call in batch}) <= 1
    assert sum(call.rows for call in batch) <= MAX_ROWS


@given(queues(), limits(), st.integers(0, 1000))
def test_order_is_kept_within_a_kind(
    queue: list[Waiting], limits: BatchLimits, now_ns: int
) -> None:
    """The batch is the front of the oldest call's kind; what is skipped stays in order."""
    plan = next_batch(queue, limits, now_ns)
    kind = [call for call in queue if call.stack_key == queue[0].stack_key] if queue else []
    assert list(plan.batch) == kind[: len(plan.batch)]
    assert list(plan.skipped) == sorted(plan.skipped, key=lambda call: call.enqueued_ns)


@given(queues(), limits())
def test_the_oldest_call_runs_when_its_delay_is_over(
    queue: list[Waiting], limits: BatchLimits
) -> None:
    """Repeating the plan with time empties every queue, oldest kind first."""
    while queue:
        oldest = queue[0]
        plan = next_batch(queue, limits, oldest.enqueued_ns + limits.max_delay_ns)
        assert plan.batch
        assert plan.batch[0] is oldest
        queue = [*plan.skipped, *queue[len(plan.batch) + len(plan.skipped) :]]


@given(queues(), limits(), st.integers(0, 1000))
def test_the_same_queue_gives_the_same_plan(
    queue: list[Waiting], limits: BatchLimits, now_ns: int
) -> None:
    """The plan depends on its arguments only."""
    assert next_batch(queue, limits, now_ns) == next_batch(queue, limits, now_ns)


def test_without_delay_it_never_waits() -> None:
    """A single call runs at once."""
    queue = [Waiting(1, "a", 0)]
    assert next_batch(queue, BatchLimits(max_rows=8), 0).batch == queue


def test_a_delay_waits_for_company() -> None:
    """A lonely young call waits until the delay of the policy is over."""
    plan = next_batch([Waiting(1, "a", 100)], BatchLimits(max_rows=8, max_delay_ns=50), 120)
    assert not plan.batch
    assert plan.wait_until_ns == 150


def test_the_delay_counts_from_the_call_that_came_first() -> None:
    """Behind one of a lower level, which came later, it waits no longer for that one."""
    queue = [Waiting(1, "a", 90), Waiting(1, "a", 60)]
    limits = BatchLimits(max_rows=8, max_delay_ns=50)
    assert next_batch(queue, limits, 109).wait_until_ns == 110
    assert next_batch(queue, limits, 110).batch == queue


def test_a_full_batch_does_not_wait() -> None:
    """The limit's rows run at once in spite of the delay."""
    queue = [Waiting(4, "a", 0), Waiting(4, "a", 1)]
    assert next_batch(queue, BatchLimits(max_rows=8, max_delay_ns=50), 2).batch == queue


def test_others_waiting_behind_end_the_wait() -> None:
    """A delay never holds up calls of another kind."""
    queue = [Waiting(1, "a", 0), Waiting(1, "b", 1)]
    plan = next_batch(queue, BatchLimits(max_rows=8, max_delay_ns=50), 2)
    assert plan.batch == queue[:1]


def test_the_largest_preferred_size_is_taken() -> None:
    """Of five rows with sizes 2 and 4 preferred, four run now and one waits."""
    queue = [Waiting(1, "a", place) for place in range(5)]
    limits = BatchLimits(max_rows=8, preferred_rows=(2, 4), max_delay_ns=50)
    plan = next_batch(queue, limits, 6)
    assert plan.batch == queue[:4]
    assert plan.skipped == queue[4:]


def test_no_batch_dimension_means_one_call_at_a_time() -> None:
    """With a limit of 0 rows every call runs alone."""
    queue = [Waiting(1, "a", 0), Waiting(1, "a", 1)]
    assert next_batch(queue, BatchLimits(max_rows=0), 2).batch == queue[:1]


def test_the_search_for_mates_is_bounded() -> None:
    """A queue of nothing but strangers costs a bounded look."""
    queue = [Waiting(1, f"kind-{place}", place) for place in range(4 * MAX_SKIPPED)]
    assert len(next_batch(queue, BatchLimits(max_rows=8), 0).skipped) <= MAX_SKIPPED + 1
