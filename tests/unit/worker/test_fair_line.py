"""Clients that share a queue: none waits for what another has piled up."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import LevelPolicy, PriorityPolicy
from serving.worker.fair_line import FORGET_OVER, FairLine
from serving.worker.queue_levels import LevelQueue
from tests.fakes.batching import Bench, HeldCall
from tests.fakes.timed_batching import Arrival, ExactCosts, simulate

FAIR = PriorityPolicy(level_count=1, default_level=1, client_header="client")
TWO_LEVELS = replace(FAIR, level_count=2, default_level=2)


def busy(policy: PriorityPolicy, max_rows: int = 8) -> Bench:
    """Return a queue behind a batch that runs."""
    bench = Bench(max_rows=max_rows, priorities=policy, costs=ExactCosts(lambda _: 1))
    bench.submit(HeldCall(0.0))
    bench.loop.turn()
    return bench


def test_a_flood_does_not_make_others_wait() -> None:
    """A thousand calls of one client wait; another one's single calls are in the next batch."""
    bench = busy(FAIR)
    bench.submit(*[HeldCall(1.0, client="flood") for _ in range(1000)])
    for _ in range(5):
        single = HeldCall(2.0, client="single")
        bench.submit(single)
        for _ in range(2):  # the batch that runs, and the next
            bench.executor.work()
            bench.executor.deliver()
        assert single.result == [4.0]
    bench.finish_all()
    assert sum(map(len, bench.model.batches)) == 1006


def test_clients_take_turns_by_rows() -> None:
    """Calls of four rows count as four calls of one."""
    bench = busy(FAIR)
    bench.submit(*[HeldCall(*[1.0] * 4, client="tall") for _ in range(4)])
    bench.submit(*[HeldCall(2.0, client="small") for _ in range(16)])
    bench.finish_all()
    assert [sorted(batch) for batch in bench.model.batches[1:]] == [[1.0] * 4 + [2.0] * 4] * 4


def test_one_client_alone_keeps_its_order() -> None:
    """As without fair shares."""
    bench = busy(FAIR, max_rows=1)
    bench.submit(*[HeldCall(float(value), client="only") for value in range(1, 9)])
    bench.finish_all()
    assert [batch[0] for batch in bench.model.batches] == [float(value) for value in range(9)]


def test_levels_come_before_shares() -> None:
    """A client takes turns with those of its own level only."""
    bench = busy(TWO_LEVELS, max_rows=1)
    bench.submit(*[HeldCall(1.0, client="flood", priority=1) for _ in range(3)])
    bench.submit(HeldCall(2.0, client="single", priority=2))
    bench.finish_all()
    assert [batch[0] for batch in bench.model.batches[1:]] == [1.0, 1.0, 1.0, 2.0]


def test_kinds_that_were_looked_past_keep_their_turns() -> None:
    """What could not be stacked with the first call leads the next batch."""
    bench = busy(FAIR)
    bench.submit(HeldCall(1.0, client="one"), HeldCall(2.0, key="other", client="two"))
    bench.submit(HeldCall(3.0, client="three"), HeldCall(4.0, client="one"))
    bench.finish_all()
    assert bench.model.batches[1:] == [[1.0, 3.0, 4.0], [2.0]]


def test_calls_that_were_looked_past_are_not_ahead_of_who_comes_later() -> None:
    """A flood that waits behind a call of another kind still shares with others."""
    queue = LevelQueue(FAIR)
    other = entered(queue, HeldCall(0.0, key="other", client="c"))
    flood = [entered(queue, HeldCall(1.0, client="flood")) for _ in range(100)]
    taken = [queue.popleft() for _ in range(101)]
    assert taken[0] is other
    queue.extendleft(reversed(taken[1:]))
    assert list(queue) == flood
    single = entered(queue, HeldCall(2.0, client="single"))
    assert list(queue)[:2] == [flood[0], single]


def test_who_gives_calls_up_is_not_served_later_for_them() -> None:
    """A client's next call comes as early as if those had never come."""
    line = FairLine(b"client")
    line.append(HeldCall(5.0, client="other"))
    given_up = [HeldCall(1.0, client="a") for _ in range(1000)]
    for call in given_up:
        line.append(call)
    for call in given_up:
        line.remove(call)
    late = HeldCall(9.0, client="a")
    line.append(late)
    for _ in range(20):
        line.append(HeldCall(6.0, client="other"))
    assert list(line).index(late) == 1


def test_a_call_given_up_lets_none_of_its_client_overtake() -> None:
    """What a client sent later comes later, however much it gave up before that."""
    line = FairLine(b"client")
    tall, small = HeldCall(*[1.0] * 100, client="a"), HeldCall(2.0, client="a")
    line.append(tall)
    line.append(small)
    line.remove(tall)
    later = HeldCall(3.0, client="a")
    line.append(later)
    assert list(line) == [small, later]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "leave", "take", "put back"]), st.integers(0, 50)),
    max_size=60,
)


@given(OPERATIONS)
def test_each_client_is_served_in_order_of_arrival(drawn: list[tuple[str, int]]) -> None:
    """Whoever leaves, is taken or is put back meanwhile."""
    line, came, taken = FairLine(b"client"), dict[int, int](), list[HeldCall]()
    for what, number in drawn:
        waiting = list(line)
        if what == "come":
            call = HeldCall(*[1.0] * (1 + number % 7), client="abc"[number % 3])
            came[id(call)] = len(came)
            line.append(call)
            taken.clear()
        elif what == "put back" and taken:
            line.appendleft(taken.pop())
        elif what == "take" and waiting:
            taken.append(line.popleft())
        elif what == "leave" and waiting:
            line.remove(waiting[number % len(waiting)])
        for client in (b"a", b"b", b"c"):
            numbers = [came[id(one)] for one in line if one.header(b"client") == client]
            assert numbers == sorted(numbers)


def entered(queue: LevelQueue, call: HeldCall) -> HeldCall:
    """Let a call wait."""
    assert queue.admit(call, 0) is None
    queue.append(call)
    return call


def test_a_call_that_leaves_takes_nobody_elses_place() -> None:
    """It does not run, and all others do."""
    bench = busy(FAIR, max_rows=1)
    calls = [HeldCall(float(at), client="ab"[at % 2]) for at in range(1, 7)]
    bench.submit(*calls)
    bench.batcher.cancel(calls[2])
    bench.finish_all()
    assert sorted(batch[0] for batch in bench.model.batches[1:]) == [1.0, 2.0, 4.0, 5.0, 6.0]
    assert bench.batcher.queued_rows == 0


def test_clients_that_are_through_are_forgotten() -> None:
    """A name for each call does not make the worker grow."""
    line = FairLine(b"client")
    for name in range(10_000):
        line.append(HeldCall(1.0, client=str(name)))
        line.popleft()
    assert line.known_count <= FORGET_OVER + 2


TRAFFIC = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.builds(
            Arrival,
            at_ms=st.just(0),
            rows=st.integers(1, 4),
            span_ms=st.one_of(st.just(0.0), st.integers(0, 60).map(lambda ms: ms + 0.5)),
            client=st.sampled_from("abc"),
            priority=st.integers(1, 2),
        ),
    ),
    min_size=1,
    max_size=30,
)

UNFILLED = [
    (gap_ms, Arrival(at_ms=0, rows=rows, span_ms=span_ms, client=client, priority=1))
    for gap_ms, rows, span_ms, client in (
        (0, 1, 0.0, "a"), (1, 3, 0.0, "a"), (0, 1, 0.5, "a"),
        (0, 1, 0.0, "a"), (1, 2, 0.0, "b"), (0, 1, 10.5, "a"),
    )
]  # fmt: skip
"""The batch before the last call's has no call that fits its last row."""


@given(TRAFFIC, st.integers(1, 10))
@example(UNFILLED, 4)
def test_no_client_is_refused_who_would_have_been_in_time(
    drawn: list[tuple[int, Arrival]], fixed_ms: int
) -> None:
    """With exact costs, levels and shares: without its deadline, it had begun after it."""
    at_ms, arrivals = 0, []
    for gap_ms, arrival in drawn:
        at_ms += gap_ms
        arrivals.append(replace(arrival, at_ms=at_ms))

    def cost_ms(rows: int) -> int:
        return fixed_ms + rows

    fates = simulate(arrivals, cost_ms=cost_ms, priorities=TWO_LEVELS)
    refused = [place for place, fate in enumerate(fates) if fate.was_refused]
    for place in refused[:3]:
        patient = list(arrivals)
        patient[place] = replace(arrivals[place], span_ms=0.0)
        again = simulate(patient, cost_ms=cost_ms, priorities=TWO_LEVELS)
        if not any(fate.error and not fate.was_refused for fate in again):
            assert again[place].begun_ms > arrivals[place].at_ms + arrivals[place].span_ms


def fair(value: str, more: str = "") -> PriorityPolicy | None:
    """Return the levels of a model that shares its queue."""
    parameter = f'parameters {{ key: "fair_share_header" value {{ string_value: "{value}" }} }}'
    return parse_config(parameter + more, model="m").policy.queue.priorities


def test_the_configuration_names_the_header() -> None:
    """Names of headers know no case; the default queue policy is that of the one level."""
    levels = "dynamic_batching { default_queue_policy { default_timeout_microseconds: 1000000 } }"
    assert fair("X-API-Key", levels) == PriorityPolicy(
        level_count=1,
        default_level=1,
        default=LevelPolicy(default_timeout_s=1.0),
        client_header="x-api-key",
    )


@pytest.mark.parametrize("value", ["", "two words", "ab:c", "-x", "x" * 65])
def test_what_is_no_header_is_refused(value: str) -> None:
    """The message says what would be one."""
    with pytest.raises(InvalidArgumentError, match="such as x-api-key"):
        fair(value)
