"""Who is refused because he would come too late, in simulated time."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import DeadlineError, QueueTimeoutError
from serving.registry.version import PriorityPolicy
from serving.worker.forecast import Forecast
from serving.worker.run_costs import RunCosts
from tests.fakes.batching import Bench
from tests.fakes.timed_batching import Arrival, ExactCosts, SimulatedCall, simulate

MAX_ROWS = 4


def in_order(
    gaps_ms: list[tuple[int, Arrival]],
) -> list[Arrival]:
    """Place calls one after the other."""
    at_ms = 0
    placed = []
    for gap_ms, arrival in gaps_ms:
        at_ms += gap_ms
        placed.append(replace(arrival, at_ms=at_ms))
    return placed


def traffic(kinds: str, *, may_be_callers: bool) -> st.SearchStrategy[list[Arrival]]:
    """Calls of these kinds; deadlines lie between the moments at which something happens."""
    call = st.builds(
        Arrival,
        at_ms=st.just(0),
        rows=st.integers(1, MAX_ROWS),
        kind=st.sampled_from(kinds),
        span_ms=st.one_of(st.just(0.0), st.integers(0, 40).map(lambda ms: ms + 0.5)),
        is_callers=st.booleans() if may_be_callers else st.just(value=False),
    )
    return st.lists(st.tuples(st.integers(0, 4), call), min_size=1, max_size=30).map(in_order)


COSTS = st.builds(
    lambda fixed, each: lambda rows: fixed + each * rows, st.integers(1, 10), st.integers(0, 4)
)


@given(traffic("ab", may_be_callers=True), COSTS)
def test_nobody_is_refused_who_would_have_been_in_time(
    arrivals: list[Arrival], cost_ms: Callable[[int], int]
) -> None:
    """With exact costs: without its deadline, a refused call had begun, or ended, after it.

    Unless another one gave its place up: calls of another kind that came later were before it.
    """
    fates = simulate(arrivals, cost_ms=cost_ms)
    refused = [place for place, fate in enumerate(fates) if fate.was_refused]
    for place in refused[:3]:
        patient = list(arrivals)
        patient[place] = replace(arrivals[place], span_ms=0.0)
        again = simulate(patient, cost_ms=cost_ms)
        if any(fate.error and not fate.was_refused for fate in again):
            continue
        is_callers = arrivals[place].is_callers
        came_ms = again[place].ended_ms if is_callers else again[place].begun_ms
        assert came_ms > arrivals[place].at_ms + arrivals[place].span_ms


@given(traffic("a", may_be_callers=False), COSTS)
def test_who_is_accepted_begins_in_time(
    arrivals: list[Arrival], cost_ms: Callable[[int], int]
) -> None:
    """With exact costs and calls of one kind nobody waits in vain."""
    fates = simulate(arrivals, cost_ms=cost_ms)
    for arrival, fate in zip(arrivals, fates, strict=True):
        assert fate.was_refused == (fate.error is not None)
        if not fate.was_refused and arrival.span_ms:
            assert fate.begun_ms <= arrival.at_ms + arrival.span_ms


def overload(count: int, *, span_ms: float, is_callers: bool = False) -> list[Arrival]:
    """Four calls of a row each 5 ms; a run of four takes 10."""
    return [
        Arrival(at_ms=at // 4 * 5, span_ms=span_ms, is_callers=is_callers) for at in range(count)
    ]


def test_overload_is_refused_at_once_and_the_runtime_is_never_idle() -> None:
    """Half of twice the capacity is refused when it comes, and all others are answered."""
    arrivals = overload(400, span_ms=50.5)
    fates = simulate(arrivals, cost_ms=lambda _: 10)
    refused = [(arrival, fate) for arrival, fate in zip(arrivals, fates, strict=True) if fate.error]
    assert all(fate.was_refused for _, fate in refused)
    assert all(fate.told_ms - arrival.at_ms < 0.5 for arrival, fate in refused)
    assert 170 < len(refused) < 200
    assert isinstance(refused[0][1].error, QueueTimeoutError)
    assert "Request timeout expired: it may wait 50.5 ms, and would wait" in str(
        refused[0][1].error
    )


def test_a_callers_deadline_is_for_the_answer() -> None:
    """Who can begin in time and not end is refused, with the protocol's words and code."""
    arrivals = [Arrival(at_ms=0), Arrival(at_ms=1, span_ms=15.5, is_callers=True)]
    fates = simulate(arrivals, cost_ms=lambda _: 10)
    assert fates[1].was_refused
    assert isinstance(fates[1].error, DeadlineError)
    assert str(fates[1].error).startswith("Deadline Exceeded: it has 15.5 ms left")
    assert str(fates[1].error).endswith("nothing was executed")
    in_time = [arrivals[0], replace(arrivals[1], span_ms=19.5)]
    assert simulate(in_time, cost_ms=lambda _: 10)[1].error is None


def test_the_refusal_says_when_the_queue_is_through() -> None:
    """In whole seconds, at least one."""
    busy = [Arrival(at_ms=0) for _ in range(5)]
    late = [Arrival(at_ms=1, span_ms=0.5)]
    error = simulate(busy + late, cost_ms=lambda _: 3_200, max_rows=1)[-1].error
    assert isinstance(error, QueueTimeoutError)
    assert error.retry_after_s == 16


def test_nobody_is_refused_for_costs_that_nobody_knows() -> None:
    """A kind that has not run may be fast: its calls wait for their deadline."""
    arrivals = [Arrival(at_ms=0), Arrival(at_ms=1, span_ms=2.5)]
    fates = simulate(arrivals, cost_ms=lambda _: 10, costs=RunCosts())
    assert not fates[1].was_refused
    assert str(fates[1].error) == "Request timeout expired"


def test_who_cannot_be_in_time_any_more_is_told_so_early() -> None:
    """Runs take five times what was known: the last of the queue need not wait for their limit."""
    costs = RunCosts()
    for _ in range(2):
        costs.learn("a", 4, 10_000_000)
    arrivals = [Arrival(at_ms=0, span_ms=100.5) for _ in range(40)]
    fates = simulate(arrivals, cost_ms=lambda _: 50, costs=costs)
    dropped = [fate for fate in fates if fate.error is not None]
    assert not any(fate.was_refused for fate in dropped)
    early = [fate for fate in dropped if fate.told_ms < 100]
    assert early
    assert all("nothing was executed" in str(fate.error) for fate in early)
    assert all(fate.begun_ms < 0 for fate in dropped)
    assert [fate.error for fate in fates[:12]] == [None] * 12


@given(traffic("ab", may_be_callers=True), COSTS, st.integers(1, 9))
def test_nobody_is_dropped_who_could_still_be_in_time(
    arrivals: list[Arrival], cost_ms: Callable[[int], int], tenths: int
) -> None:
    """By costs that are taken for less than they are: without its deadline it had missed it."""

    def less_ms(rows: int) -> int:
        return cost_ms(rows) * tenths // 10

    costs = ExactCosts(less_ms)
    for place, fate in enumerate(simulate(arrivals, cost_ms=cost_ms, costs=costs)):
        due_ms = arrivals[place].at_ms + arrivals[place].span_ms
        if fate.error is None or fate.was_refused or fate.told_ms >= due_ms:
            continue
        patient = list(arrivals)
        patient[place] = replace(arrivals[place], span_ms=0.0)
        again = simulate(patient, cost_ms=cost_ms, costs=costs)
        others = [*again[:place], *again[place + 1 :]]
        if not any(other.error and not other.was_refused for other in others):
            came_ms = again[place].ended_ms if arrivals[place].is_callers else again[place].begun_ms
            assert came_ms > due_ms


def test_an_overestimated_cost_is_measured_again() -> None:
    """Who can begin at once is never refused, whatever a run is said to take."""
    costs = RunCosts()
    costs.learn("a", 1, 10_000_000_000)
    alone = Arrival(at_ms=0, span_ms=20.5, is_callers=True)
    assert simulate([alone], cost_ms=lambda _: 10, costs=costs)[0].error is None
    assert costs.expected_ns("a", 1) < 10_000_000_000


def test_one_slow_first_run_refuses_nobody_for_long() -> None:
    """Batches of a size that ran once, disturbed: what half as many rows cost bounds it."""
    costs = RunCosts()
    for rows in (1, 2, 4):
        costs.learn("a", rows, 5_000_000)
    costs.learn("a", 8, 3_000_000_000)
    arrivals = [Arrival(at_ms=at // 3, span_ms=1000.0, is_callers=True) for at in range(900)]
    fates = simulate(arrivals, cost_ms=lambda _: 5, costs=costs, max_rows=16)
    assert not any(fate.error for fate in fates)


def test_a_size_whose_batches_are_refused_is_measured_again() -> None:
    """Nothing smaller is known, and the runtime is never idle: some enter all the same."""
    costs = RunCosts()
    costs.learn("a", 8, 3_000_000_000)
    others = [Arrival(at_ms=at * 10, rows=8, kind="b") for at in range(600)]
    callers = [
        Arrival(at_ms=at * 10 + 2, rows=8, span_ms=100.0, is_callers=True) for at in range(600)
    ]
    arrivals = sorted([*others, *callers], key=lambda one: one.at_ms)
    fates = simulate(arrivals, cost_ms=lambda _: 5, costs=costs, max_rows=8)
    late = [fate for fate in fates if fate.error is not None]
    assert len(late) < 40
    assert costs.expected_ns("a", 8) < 100_000_000


def test_who_is_dropped_is_in_nobodys_way() -> None:
    """Two batches are late one behind the other: without the first the second is in time."""
    first, second = (
        SimulatedCall(name, Arrival(at_ms=0, span_ms=span_ms, is_callers=True), Bench())
        for name, span_ms in enumerate((150.0, 250.0))
    )
    begin_ns = first.deadline_ns - 50_000_000
    forecast = Forecast(1, ExactCosts(lambda _: 100), [first, second])
    assert [call for call, _ in forecast.hopeless(begin_ns)] == [first]


@pytest.mark.parametrize(("priority", "is_refused"), [(1, False), (2, True)])
def test_only_what_goes_before_counts(priority: int, is_refused: bool) -> None:  # noqa: FBT001
    """A call of the first level does not wait for those of the second."""
    levels = PriorityPolicy(level_count=2, default_level=2)
    waiting = [Arrival(at_ms=0) for _ in range(40)]
    late = Arrival(at_ms=1, span_ms=30.5, priority=priority)
    fates = simulate([*waiting, late], cost_ms=lambda _: 10, priorities=levels)
    assert fates[-1].was_refused is is_refused
    assert (fates[-1].error is not None) is is_refused
