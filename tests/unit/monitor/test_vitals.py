"""How busy versions keep their worker, by what it says now and then."""

from serving.monitor.traffic import TrafficCounters
from serving.monitor.vitals import VersionVitals, lately


def said(at_ns: int, busy_ns: int, *, began_ns: int = 1, model: str = "m") -> VersionVitals:
    """What a worker says of a version."""
    counters = TrafficCounters(model=model, version=1, began_ns=began_ns)
    return VersionVitals(traffic=counters, at_ns=at_ns, busy_ns=busy_ns)


def test_the_share_is_that_of_the_time_between() -> None:
    """From the first look to the last, whatever was said in between."""
    past = [(said(0, 0),), (said(50, 50),)]
    (found,) = lately(past, [said(100, 60)])
    assert found.busy == 0.6


def test_nothing_is_said_of_a_version_that_was_not_heard_of_before() -> None:
    """One that was loaded again has begun anew, too."""
    past = [(said(0, 0, began_ns=1),)]
    again, other = lately(past, [said(100, 60, began_ns=2), said(100, 60, model="other")])
    assert again.busy is None
    assert other.busy is None


def test_a_clock_that_stands_says_nothing() -> None:
    """No time has passed: no share of it."""
    (found,) = lately([(said(7, 0),)], [said(7, 0)])
    assert found.busy is None
