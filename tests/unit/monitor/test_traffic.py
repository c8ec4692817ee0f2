"""Calls are counted by bucket and bin, and counts of several times add up."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.ids import VersionKey
from serving.monitor.output_bins import NAN_BIN, bin_end, output_bin
from serving.monitor.traffic import (
    Lives,
    TrafficCounters,
    TrafficDelta,
    bucket_end_s,
    deltas,
    latency_bucket,
    unanswered,
)

finite = st.floats(width=32, allow_nan=False)


@given(st.integers(1_001, 10**13))
def test_a_bucket_holds_its_durations(duration_ns: int) -> None:
    """A duration is at most its bucket's end, and over that of the one before."""
    bucket = latency_bucket(duration_ns)

    assert duration_ns * 1e-9 <= bucket_end_s(bucket) * (1 + 1e-12)
    assert duration_ns * 1e-9 >= bucket_end_s(bucket - 1) * (1 - 1e-12)


@pytest.mark.parametrize("duration_ns", [-5, 0, 999, 1000])
def test_what_took_no_time_has_the_first_bucket(duration_ns: int) -> None:
    """A microsecond and less, and what a clock says that went back."""
    assert latency_bucket(duration_ns) == 0


@example(-3.4000001e38, 0.0)
@given(finite, finite)
def test_bins_keep_the_order_of_values(one: float, other: float) -> None:
    """A larger value has no smaller bin; no value exceeds the end of its bin."""
    low, high = sorted((one, other))

    assert output_bin(low) <= output_bin(high)
    assert one <= bin_end(output_bin(one))


@pytest.mark.parametrize(
    ("value", "bin_number"),
    [(0.0, 0), (-0.0, 0), (math.nan, NAN_BIN), (math.inf, 0x7F80), (1e300, 0x7F80), (1.0, 0x3F80)],
)
def test_special_values_have_bins(value: float, bin_number: int) -> None:
    """Both zeros share one, what is too large is infinite, and what is no number is beyond it."""
    assert output_bin(value) == bin_number


def test_the_end_of_no_number_is_none() -> None:
    """The last bin has no value."""
    assert math.isnan(bin_end(NAN_BIN))


def test_traffic_adds_up() -> None:
    """Counts, buckets and bins of two times are those of both."""
    one = TrafficDelta(answered_count=1, latency_counts={3: 1}, outputs={"a": {1: 1}})
    other = TrafficDelta(
        answered_count=2, fault_count=4, latency_counts={3: 1, 5: 1}, outputs={"b": {1: 2}}
    )

    both = one + other

    assert both.call_count == 7
    assert both.latency_counts == {3: 2, 5: 1}
    assert both.outputs == {"a": {1: 1}, "b": {1: 2}}


def counters(
    answered: int, *, began_ns: int = 1, age_s: float = 0.0, version: int = 1
) -> TrafficCounters:
    """What a worker says: so many calls in one bucket."""
    return TrafficCounters(
        model="m",
        version=version,
        began_ns=began_ns,
        age_s=age_s,
        counted=TrafficDelta(
            answered_count=answered,
            fault_count=1,
            latency_counts={7: answered},
            outputs={"y": {3: answered}},
        ),
    )


def test_a_delta_is_what_came_between_two_looks() -> None:
    """Of all workers together, version by version."""
    before = {"a/0": (counters(5), counters(1, version=2)), "b/0": (counters(1),)}
    now = {"a/0": (counters(9), counters(1, version=2)), "b/0": (counters(4),)}

    found = deltas(before, now, watched_s=9)

    assert found[VersionKey("m", 1)] == TrafficDelta(
        answered_count=7, latency_counts={7: 7}, outputs={"y": {3: 7}}
    )
    assert found[VersionKey("m", 2)].call_count == 0


def test_a_worker_that_was_started_again_counts_anew() -> None:
    """Its second life's calls are added; those of the first that nobody saw are lost."""
    found = deltas({"a/0": (counters(5),)}, {"a/1": (counters(2, age_s=3),)}, watched_s=9)

    assert found[VersionKey("m", 1)].answered_count == 2


def test_a_version_that_was_loaded_again_counts_anew() -> None:
    """In the same process, a smaller number is no negative difference."""
    before = {"a/0": (counters(5, began_ns=1),)}
    now = {"a/0": (counters(2, began_ns=8, age_s=3),)}

    assert deltas(before, now, watched_s=9)[VersionKey("m", 1)].answered_count == 2


def test_what_is_older_than_the_watching_is_history() -> None:
    """A worker that is seen for the first time, and was there before, begins to count now."""
    now = {"a/0": (counters(5000, age_s=3600),)}

    assert deltas({}, now, watched_s=9)[VersionKey("m", 1)].call_count == 0


def test_a_life_that_ended_takes_nothing_away() -> None:
    """A version without a worker has no delta."""
    assert deltas({"a/0": (counters(5),)}, {}, watched_s=9) == {}


def test_what_a_look_did_not_hear_is_kept_unless_it_ended() -> None:
    """A worker that answers in another life leaves nothing; one that missed a look is made up."""
    before: Lives = {"w/0": (), "w/1": (), "silent/0": (), "heard/0": ()}
    assert unanswered(before, {"w/2": (), "heard/0": ()}) == {"silent/0": ()}
