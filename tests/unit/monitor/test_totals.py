"""Sums over workers that Prometheus can read as counters."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ids import VersionKey
from serving.monitor.statistics import DurationSum, VersionStatistics
from serving.monitor.totals import MAX_AWAY, Totals

KEY = VersionKey("m", 1)


def said(
    count: int, *, began_ns: int = 1, age_s: float = 1.0, pending: int = 0
) -> list[VersionStatistics]:
    """What a worker says of one version."""
    return [
        VersionStatistics(
            model="m",
            version=1,
            success=DurationSum(count=count, ns=count),
            failures={},
            pending_count=pending,
            began_ns=began_ns,
            age_s=age_s,
        )
    ]


def total(totals: Totals, answers: Mapping[str, list[VersionStatistics]]) -> int:
    """The sum of the answered calls."""
    return sum(item.success.count for item in totals.take(answers, {KEY}))


def test_a_restarted_worker_leaves_what_it_had_counted() -> None:
    """The sum goes on from there."""
    totals = Totals()
    assert total(totals, {"a": said(100), "b": said(50)}) == 150
    assert total(totals, {"a": said(3, began_ns=9), "b": said(60)}) == 163


def test_a_worker_that_does_not_answer_stays_in_the_sum() -> None:
    """With what it said last, and nothing that waits there."""
    totals = Totals()
    totals.take({"a": said(100, pending=4), "b": said(1)}, {KEY})
    (sums,) = totals.take({"b": said(2)}, {KEY})
    assert (sums.success.count, sums.pending_count) == (102, 0)
    assert total(totals, {"a": said(101, age_s=2.0), "b": said(2)}) == 103


def test_a_worker_that_was_taken_away_stays_in_the_sum() -> None:
    """As often as that happens."""
    totals = Totals()
    for number in range(3 * MAX_AWAY):
        assert total(totals, {f"w{number}": said(10)}) == 10 * (number + 1)


def test_a_version_that_is_gone_is_forgotten() -> None:
    """When it comes again, it begins at 0."""
    totals = Totals()
    totals.take({"a": said(100)}, {KEY})
    assert totals.take({"a": []}, set()) == ()
    assert total(totals, {"a": said(1, began_ns=9)}) == 1


def test_answers_that_overtake_each_other_do_not_take_back() -> None:
    """The younger of two looks counts, whichever came first."""
    totals = Totals()
    assert total(totals, {"a": said(10, age_s=5.0)}) == 10
    assert total(totals, {"a": said(9, age_s=4.9)}) == 10


def test_the_next_edge_counts_on() -> None:
    """From what the last one knew, of the same instance."""
    totals, after = Totals(), Totals()
    totals.take({"a": said(100), "b": said(50)}, {KEY})
    totals.take({"a": said(3, began_ns=9), "b": said(50)}, {KEY})
    assert after.recall(totals.encode("i"), "i")
    assert total(after, {"a": said(4, began_ns=9, age_s=2.0), "b": said(50)}) == 154


@pytest.mark.parametrize(("text", "instance"), [(b"{", "i"), (Totals().encode("other"), "i")])
def test_what_is_no_memory_of_ours_is_left(text: bytes, instance: str) -> None:
    """It is said, and counting begins at 0."""
    totals = Totals()
    assert not totals.recall(text, instance)
    assert total(totals, {"a": said(1)}) == 1


@dataclass
class Worker:
    """A worker that counts, and may be restarted or silent."""

    count: int = 0
    began_ns: int = 1
    age_s: float = 0.0


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["call", "restart", "silent"])),
        max_size=40,
    )
)
def test_sums_never_fall_and_never_exceed_what_happened(events: list[tuple[str, str]]) -> None:
    """Whatever becomes of workers, as long as the version is there."""
    totals = Totals()
    workers = {name: Worker() for name in "abc"}
    happened = before = 0
    for name, event in events:
        worker = workers[name]
        for each in workers.values():
            each.age_s += 1
        if event == "call":
            worker.count += 1
            happened += 1
        elif event == "restart":
            workers[name] = replace(worker, count=0, began_ns=worker.began_ns + 1, age_s=0.0)
        answers = {
            other: said(one.count, began_ns=one.began_ns, age_s=one.age_s)
            for other, one in workers.items()
            if event != "silent" or other != name
        }
        now = total(totals, answers)
        assert before <= now <= happened
        before = now
    assert before == happened or any(event != "call" for _, event in events)
