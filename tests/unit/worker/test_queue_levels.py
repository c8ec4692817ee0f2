"""Priorities and queue policies: who goes first, who is late, and that nobody is lost."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import QueueFullError, QueueTimeoutError
from serving.monitor.statistics import FailureReason
from serving.registry.version import LevelPolicy, PriorityPolicy, TimeoutAction
from serving.worker.queue_levels import LATE, LevelQueue, Times, level_of, times_of
from tests.fakes.batching import NS_PER_S, Bench, HeldCall

DELAY = LevelPolicy(timeout_action=TimeoutAction.DELAY, default_timeout_s=1.0)
THREE = PriorityPolicy(level_count=3, default_level=2)


def busy(bench: Bench) -> HeldCall:
    """Keep the runtime busy until `finish_all`, so that what comes next waits."""
    first = HeldCall(9.0)
    bench.submit(first)
    bench.loop.turn()
    return first


def order(bench: Bench) -> list[float]:
    """Finish everything; return the first value of each batch but the one that kept it busy."""
    bench.finish_all()
    return [batch[0] for batch in bench.model.batches[1:]]


def test_a_lower_level_goes_first_and_a_level_keeps_its_order() -> None:
    """Level 1 overtakes all that waits; within a level nothing overtakes."""
    bench = Bench(max_rows=1, priorities=THREE)
    busy(bench)
    bench.submit(*[HeldCall(value, priority=int(value)) for value in (3.0, 1.0, 2.0)])
    bench.submit(HeldCall(1.5, priority=1), HeldCall(2.5))
    assert order(bench) == [1.0, 1.5, 2.0, 2.5, 3.0]


def test_levels_fill_one_batch() -> None:
    """A batch takes the first calls of the queue, whatever level they are of."""
    bench = Bench(max_rows=8, priorities=THREE)
    busy(bench)
    bench.submit(HeldCall(3.0, priority=3), HeldCall(1.0, priority=1))
    bench.finish_all()
    assert bench.model.batches == [[9.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    ("priority", "level"), [(0, 2), (1, 1), (3, 3), (4, 2), (2**64 - 1, 2)], ids=str
)
def test_no_priority_and_unknown_ones_mean_the_default_level(priority: int, level: int) -> None:
    """0 says nothing; what is above the number of levels is no level."""
    assert level_of(THREE, priority) == level


REJECT = LevelPolicy(default_timeout_s=2.0)
OPEN_DELAY = LevelPolicy(timeout_action=TimeoutAction.DELAY, may_override=True)


@pytest.mark.parametrize(
    ("policy", "asked_s", "times_s"),
    [
        pytest.param(REJECT, 0, (2, 0), id="the policy's own limit"),
        pytest.param(REJECT, 1, (1, 0), id="a caller may shorten it"),
        pytest.param(REJECT, 3, (2, 0), id="and not lengthen it"),
        pytest.param(LevelPolicy(), 0, (0, 0), id="no limit"),
        pytest.param(LevelPolicy(), 3, (3, 0), id="only the caller's"),
        pytest.param(DELAY, 0, (0, 1), id="late calls are delayed"),
        pytest.param(DELAY, 3, (3, 1), id="a caller's limit still refuses"),
        pytest.param(OPEN_DELAY, 3, (0, 3), id="unless the policy lets it delay"),
    ],
)
def test_when_a_call_has_waited_too_long(
    policy: LevelPolicy, asked_s: int, times_s: tuple[int, int]
) -> None:
    """The shorter limit counts, and the level's action is taken at it."""
    refuse_s, delay_s = times_s
    now_ns = 5
    found = times_of(policy, asked_s * NS_PER_S, now_ns)
    assert found == Times(
        refuse_s and now_ns + refuse_s * NS_PER_S, delay_s and now_ns + delay_s * NS_PER_S
    )


def test_a_delayed_call_runs_after_those_on_time_of_its_level_only() -> None:
    """DELAY refuses nobody: late calls of level 1 still go before level 2."""
    policy = PriorityPolicy(level_count=2, default_level=1, special=((1, DELAY),))
    bench = Bench(max_rows=1, priorities=policy)
    busy(bench)
    bench.submit(HeldCall(1.0), HeldCall(2.0, priority=2))
    bench.loop.pass_time(1.5)
    bench.submit(HeldCall(1.5))
    assert order(bench) == [1.5, 1.0, 2.0]
    assert bench.counted().success.count == 4


def test_a_level_refuses_what_waited_too_long() -> None:
    """REJECT: the protocol's text, counted as rejected, and its mates go on."""
    policy = PriorityPolicy(level_count=2, default_level=1, special=((2, REJECT),))
    bench = Bench(max_rows=1, priorities=policy)
    busy(bench)
    late, patient = HeldCall(2.0, priority=2), HeldCall(1.0)
    bench.submit(late, patient)
    bench.loop.pass_time(3)
    assert isinstance(late.error, QueueTimeoutError)
    assert late.error.message == "Request timeout expired"
    assert order(bench) == [1.0]
    assert bench.counted().failures[FailureReason.REJECTED] == 1


def test_a_level_has_a_bound_of_its_own() -> None:
    """A full level refuses with its numbers; another level still takes calls."""
    policy = PriorityPolicy(
        level_count=2, default_level=1, special=((2, LevelPolicy(max_calls=1)),)
    )
    bench = Bench(max_rows=1, priorities=policy)
    busy(bench)
    bench.submit(HeldCall(2.0, priority=2), HeldCall(1.0))
    refused = HeldCall(3.0, priority=2)
    with pytest.raises(QueueFullError, match="Exceeds maximum queue size: 1 of 1 calls of prio"):
        bench.submit(refused)
    bench.batcher.cancel(refused)
    assert order(bench) == [1.0, 2.0]
    assert bench.counted().failures[FailureReason.REJECTED] == 1


def test_without_ageing_a_level_waits_for_those_before_it() -> None:
    """As Triton has it: level 1 goes first, whatever level 3 has waited."""
    bench = Bench(max_rows=1, priorities=THREE)
    busy(bench)
    bench.submit(HeldCall(3.0, priority=3))
    bench.loop.pass_time(3600)
    bench.submit(HeldCall(1.0, priority=1))
    assert order(bench) == [1.0, 3.0]


def test_ageing_ends_the_wait_for_calls_that_keep_coming() -> None:
    """A call goes up a level each time, behind those that are there; nothing overtakes it then."""
    bench = Bench(max_rows=1, priorities=replace(THREE, ageing_s=1.0))
    busy(bench)
    bench.submit(HeldCall(3.0, priority=3), HeldCall(2.0, priority=2))
    bench.loop.pass_time(1.5)
    bench.submit(HeldCall(1.0, priority=1), HeldCall(2.5, priority=2))
    bench.loop.pass_time(1.0)
    bench.submit(HeldCall(1.5, priority=1))
    assert order(bench) == [1.0, 1.5, 2.0, 3.0, 2.5]


def test_a_call_that_has_gone_up_can_leave() -> None:
    """It is found in the level where it is."""
    bench = Bench(max_rows=1, priorities=replace(THREE, ageing_s=1.0))
    busy(bench)
    gone = HeldCall(3.0, priority=3)
    bench.submit(gone, HeldCall(2.0, priority=2))
    bench.loop.pass_time(1.5)
    bench.executor.work()
    bench.batcher.cancel(gone)
    assert order(bench) == [2.0]
    assert bench.batcher.queued_rows == 0


def test_a_plain_queue_can_be_bounded_in_calls() -> None:
    """Calls are counted, whatever their rows; the one that runs does not count."""
    bench = Bench(max_queue_calls=1)
    busy(bench)
    bench.submit(HeldCall(1.0, 2.0, 3.0))
    with pytest.raises(QueueFullError, match="Exceeds maximum queue size: 1 of 1 calls wait"):
        bench.submit(HeldCall(4.0))
    assert order(bench) == [1.0]


def test_kinds_that_cannot_be_stacked_keep_their_places() -> None:
    """What a batch has looked past stays at the head of its level."""
    bench = Bench(priorities=THREE)
    busy(bench)
    bench.submit(
        HeldCall(1.0, key="a"), HeldCall(2.0, key="b"), HeldCall(3.0, key="a"), HeldCall(4.0)
    )
    bench.finish_all()
    assert bench.model.batches == [[9.0], [1.0, 3.0], [2.0], [4.0]]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(0, 20)),
        st.tuples(st.just("pass"), st.integers(1, 4)),
        st.tuples(st.just("refill")),
        st.tuples(st.just("put back"), st.integers(1, 3)),
    ),
    max_size=60,
)
PROPERTY = PriorityPolicy(level_count=3, default_level=2, default=OPEN_DELAY)


class Reference:
    """The same queue as a list that is sorted anew after every step."""

    def __init__(self) -> None:
        self.queue = LevelQueue(PROPERTY)
        self.waiting: list[HeldCall] = []
        self.now_ns = NS_PER_S

    def expected(self) -> list[HeldCall]:
        """By level, on time before late, in order of arrival."""
        return sorted(self.waiting, key=lambda c: (c.level, c.delay_at_ns == LATE))

    def act(self, step: tuple[object, ...]) -> None:
        """Carry out one step on both."""
        name, number, *more = (*step, 0)
        assert isinstance(number, int)
        if name == "add":
            assert isinstance(more[0], int)
            self.add(HeldCall(1.0, priority=number, timeout_s=float(more[0])))
        elif name == "take":
            self.drop(self.queue.popleft() for _ in range(min(number, len(self.queue))))
        elif name == "remove" and number < len(self.waiting):
            self.queue.remove(self.waiting[number])
            self.drop([self.waiting[number]])
        elif name == "pass":
            self.now_ns += number * NS_PER_S
            self.late()
        else:
            self.refill(number or len(self.queue))

    def add(self, call: HeldCall) -> None:
        """Let a call wait in both."""
        assert self.queue.admit(call, self.now_ns) is None
        self.queue.append(call)
        self.waiting.append(call)

    def drop(self, calls: Iterable[object]) -> None:
        """Forget calls that the queue gave away."""
        for call in calls:
            assert call is self.expected()[0] or call not in self.queue
            self.waiting = [one for one in self.waiting if one is not call]

    def late(self) -> None:
        """Those that become late go behind those that are late already."""
        before = {id(call) for call in self.waiting if call.delay_at_ns == LATE}
        self.queue.delay_late(self.now_ns)
        new = [c for c in self.waiting if c.delay_at_ns == LATE and id(c) not in before]
        due = {id(c) for c in new}
        self.waiting = [c for c in self.waiting if id(c) not in due] + new

    def refill(self, count: int) -> None:
        """Take from the front and put back, as the batcher does with what it looked past."""
        taken = [self.queue.popleft() for _ in range(min(count, len(self.queue)))]
        self.queue.extendleft(reversed(taken))


@given(STEPS)
def test_no_call_is_lost_and_the_order_holds(steps: list[tuple[object, ...]]) -> None:
    """Whatever happens: exactly the waiting calls, by level, on time first, in order of arrival."""
    both = Reference()
    for step in steps:
        both.act(step)
        assert list(both.queue) == both.expected()
        assert len(both.queue) == len(both.waiting)
        assert all(call in both.queue for call in both.waiting)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 2), st.booleans()),
        max_size=30,
    )
)
def test_every_call_is_answered_once(calls: list[tuple[int, str, int, bool]]) -> None:
    """With levels, delays, bounds and a preferred size: each call has one answer of its own."""
    policy = PriorityPolicy(
        level_count=4, default_level=3, default=DELAY, special=((1, REJECT), (4, OPEN_DELAY))
    )
    bench = Bench(max_rows=4, preferred_rows=(3,), max_delay_s=0.5, priorities=policy)
    made = []
    for value, (priority, key, timeout_s, passes) in enumerate(calls):
        call = HeldCall(float(value), key=key, priority=priority, timeout_s=float(timeout_s))
        bench.submit(call)
        made.append(call)
        if passes:
            bench.loop.pass_time(0.7)
    bench.loop.pass_time(10)
    bench.finish_all()
    assert [call.answer_count for call in made] == [1] * len(made)
    answered = [(c.result, [2.0 * n]) for n, c in enumerate(made) if c.error is None]
    assert all(found == expected for found, expected in answered)
    assert bench.batcher.queued_rows == bench.queue_bytes.count == 0
    counted = bench.counted()
    assert counted.success.count + counted.fail.count == len(made)


def entered(queue: LevelQueue, call: HeldCall) -> HeldCall:
    """Let a call wait."""
    assert queue.admit(call, 0) is None
    queue.append(call)
    return call


class Kind:
    """What calls can be stacked by."""


def take(queue: LevelQueue, call: HeldCall) -> None:
    """Take the second of two waiting calls; the first goes behind it and stays."""
    queue.extend([queue.popleft()])
    assert queue.popleft() is call


@pytest.mark.parametrize("leave", [take, LevelQueue.remove], ids=["taken", "left"])
def test_a_kind_of_which_none_waits_is_forgotten(
    leave: Callable[[LevelQueue, HeldCall], None],
) -> None:
    """Also where the level never empties: callers choose shapes, and the worker must not grow."""
    queue, kind = LevelQueue(THREE), Kind()
    known = weakref.ref(kind)
    entered(queue, HeldCall(1.0))
    leave(queue, entered(queue, HeldCall(2.0, key=kind)))
    del kind
    assert len(queue) == 1
    assert known() is None
