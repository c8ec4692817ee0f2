"""Alarms about calls, data and the monitor itself: when they ring, and when they do not."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.preflight.subject import AgeLimits
from serving.ids import VersionKey
from serving.monitor.alarms.data_signs import age_signs, contract_signs
from serving.monitor.alarms.latch import SETTLED_S, SignLatch
from serving.monitor.alarms.service_signs import Promise, ServiceWindow
from serving.monitor.alarms.sign import BURN, Sign
from serving.monitor.alarms.silence import MIN_CALLS, MIN_S, Heard, Silence
from serving.monitor.drift.latch import RENOTIFY_S
from serving.monitor.drift.severity import Severity
from serving.monitor.quality.report import QualityReport, WindowCounts, WindowLimits
from serving.monitor.traffic import TrafficDelta, latency_bucket
from serving.registry.contracts.data_contract import DataContract

PROMISE = Promise(availability=0.999, threshold_s=0.1, fast_share=0.99)
KEY = VersionKey("m", 1)
FAST = latency_bucket(1_000_000)
SLOW = latency_bucket(400_000_000)
DAY_S = 86_400.0


def sign(severity: Severity = Severity.WARNING) -> Sign:
    """Something that is wrong."""
    return Sign(kind=BURN, name="latency", value=20.0, limit=14.4, severity=severity, text="slow")


def rung(deltas: list[TrafficDelta], step_s: float = 5.0) -> set[str]:
    """Let calls come, and name what rang at the end."""
    window = ServiceWindow(PROMISE)
    for number, delta in enumerate(deltas):
        window.add(delta, number * step_s)
    return {one.name for one in window.signs((len(deltas) - 1) * step_s)}


def answered(calls: int, slow: int = 0, faults: int = 0) -> TrafficDelta:
    """Calls of which some were slow, and others that failed."""
    counts = {FAST: calls - slow, SLOW: slow}
    return TrafficDelta(answered_count=calls, fault_count=faults, latency_counts=counts)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.999])
def test_what_fails_altogether_rings_however_little_was_promised(share: float) -> None:
    """A budget of a tenth or more cannot burn 14.4 times too fast: nobody would ever know."""
    window = ServiceWindow(Promise(availability=share, threshold_s=0.1, fast_share=share))
    for number in range(800):
        window.add(answered(100, slow=100, faults=2_000), number * 5.0)

    signs = list(window.signs(800 * 5.0))

    assert {one.name for one in signs} == {"availability", "latency"}
    assert all(one.value >= one.limit for one in signs)


def test_calls_within_the_promise_ring_nothing() -> None:
    """A share of slow and failed calls just below the budget is no alarm, however many they are."""
    assert rung([answered(10_000, slow=99, faults=9)] * 60) == set()


def test_slow_calls_ring_for_latency_alone() -> None:
    """Calls that are too slow are no failures."""
    assert rung([answered(100, slow=50)] * 60) == {"latency"}


def test_failing_calls_ring_for_availability() -> None:
    """Failures use their budget up."""
    assert rung([answered(100, faults=10)] * 60) == {"availability"}


def test_an_alarm_ends_with_its_cause() -> None:
    """Five minutes after the last slow call nothing rings, though the hour is spoilt."""
    assert rung([answered(100, slow=50)] * 60 + [answered(100)] * 61) == set()


def test_a_short_fault_in_a_long_calm_wakes_nobody() -> None:
    """The long window has to burn, too."""
    assert rung([answered(1_000)] * 600 + [answered(1_000, faults=20)] * 4) == set()


def test_a_few_bad_calls_are_no_emergency() -> None:
    """One slow call of three is a share, and no evidence."""
    assert rung([answered(3, slow=1)] * 3) == set()


def test_a_bucket_that_ends_at_the_threshold_is_fast() -> None:
    """What took less than the threshold never counts as slow."""
    fast = TrafficDelta(answered_count=100, latency_counts={latency_bucket(90_000_000): 100})
    assert rung([fast] * 60) == set()


def quality(violating: int, limit: float) -> QualityReport:
    """A window of 1,000 rows."""
    return QualityReport(
        is_draft=False,
        window=WindowCounts(row_count=1_000, violating_row_count=violating),
        limits=WindowLimits(max_violation_rate=limit),
    )


def test_a_rate_over_its_limit_rings_and_three_times_it_is_critical() -> None:
    """The severity follows the distance to the limit."""
    assert list(contract_signs(quality(50, 0.05))) == []
    assert [one.severity for one in contract_signs(quality(51, 0.05))] == [Severity.WARNING]
    assert [one.severity for one in contract_signs(quality(160, 0.05))] == [Severity.CRITICAL]


def test_data_that_are_too_old_ring_by_name() -> None:
    """Reference and training data have one limit, and dates of their own."""
    contract = DataContract(
        reference_until_s=100 * DAY_S,
        trained_until_s=50 * DAY_S,
        age_limits=AgeLimits(warn_s=30 * DAY_S),
    )
    assert list(age_signs(contract, 80 * DAY_S)) == []
    assert [one.name for one in age_signs(contract, 81 * DAY_S)] == ["training data"]
    assert len(list(age_signs(contract, 131 * DAY_S))) == 2
    assert list(age_signs(replace(contract, age_limits=AgeLimits()), 999 * DAY_S)) == []


def test_a_monitor_that_hears_nothing_under_traffic_rings() -> None:
    """Calls without one watched row ring after a while."""
    silence = Silence(0.0, 1000.0)
    assert list(silence.note(MIN_CALLS, Heard(), MIN_S - 1)) == []
    assert [one.name for one in silence.note(1, Heard(), MIN_S)] == ["drift"]


def test_a_monitor_without_traffic_is_not_silent() -> None:
    """Nobody calls, so nothing can be heard."""
    silence = Silence(0.0, 1000.0)
    assert list(silence.note(0, Heard(), 1e6)) == []


def test_calls_before_there_was_anything_to_hear_do_not_count() -> None:
    """A version that has just learnt its reference is not silent since its start."""
    silence = Silence(0.0, 1000.0)
    assert list(silence.note(10 * MIN_CALLS, Heard(), 1.0)) == []
    silence.rest(1e6)
    assert list(silence.note(1, Heard(), 1e6 + MIN_S)) == []


def test_a_row_that_is_heard_ends_the_silence() -> None:
    """Any news of the monitor begins the wait anew."""
    silence = Silence(0.0, 1000.0)
    assert list(silence.note(10 * MIN_CALLS, Heard(rows=64), MIN_S)) == []
    assert list(silence.note(10, Heard(rows=64), 2 * MIN_S - 1)) == []


def test_a_version_whose_rows_cannot_be_watched_rings_without_a_call() -> None:
    """With its reason, after a while; if nobody vouched for its reference, it wakes nobody."""
    silence, trouble = Silence(0.0, 0.001), Heard(trouble="it is damaged")
    assert list(silence.note(0, trouble, MIN_S - 1)) == []
    (found,) = silence.note(0, trouble, MIN_S)
    assert found.severity is Severity.CRITICAL
    assert "it is damaged" in found.text
    (learnt,) = silence.note(0, replace(trouble, is_learnt=True), MIN_S)
    assert learnt.severity is Severity.WARNING


def test_rows_that_one_worker_does_not_watch_ring_while_others_do() -> None:
    """What is heard of those says nothing of the others; a trouble that is over begins anew."""
    silence, trouble = Silence(0.0, 1000.0), "1 of 2 workers do not watch its rows"
    at = [(MIN_S / 2, trouble), (MIN_S, ""), (2 * MIN_S - 1, trouble), (2 * MIN_S, trouble)]
    rung = [
        [sign.limit for sign in silence.note(9, Heard(rows=int(now_s), trouble=said), now_s)]
        for now_s, said in at
    ]
    assert rung == [[], [], [], [MIN_S]]


def test_a_sign_is_told_once_and_again_when_it_is_worse() -> None:
    """What lasts is no news; what gets worse is."""
    latch = SignLatch()
    assert latch.news(KEY, [sign()], 0.0) == [sign()]
    assert latch.news(KEY, [sign()], 5.0) == []
    worse = sign(Severity.CRITICAL)
    assert latch.news(KEY, [worse], 10.0) == [worse]
    assert latch.standing[0].since_s == 0.0


def test_a_sign_that_lasts_is_told_again_after_hours() -> None:
    """Nobody has to remember what was told yesterday."""
    latch = SignLatch()
    latch.news(KEY, [sign()], 0.0)
    assert latch.news(KEY, [sign()], RENOTIFY_S - 1) == []
    assert latch.news(KEY, [sign()], RENOTIFY_S) == [sign()]


@given(st.floats(0.0, SETTLED_S))
def test_a_sign_that_comes_and_goes_is_one(away_s: float) -> None:
    """What is back before it was over is not told again."""
    latch = SignLatch()
    latch.news(KEY, [sign()], 0.0)
    latch.forget_settled(away_s)
    assert latch.news(KEY, [sign()], away_s) == []


def test_a_sign_that_was_over_is_news() -> None:
    """What comes back after it was over is another one."""
    latch = SignLatch()
    latch.news(KEY, [sign()], 0.0)
    latch.forget_settled(SETTLED_S + 1)
    assert latch.standing == ()
    assert latch.news(KEY, [sign()], SETTLED_S + 2) == [sign()]


@dataclass(frozen=True, slots=True)
class Meddling(VersionKey):
    """A version that ends what is over just when somebody reads."""

    latch: SignLatch = field(default_factory=SignLatch, compare=False)

    def __lt__(self, other: object) -> bool:
        """Compare, as sorting does."""
        self.latch.forget_settled(1e9)
        return True


def test_what_is_wrong_can_be_read_while_it_ends() -> None:
    """The loop reads while a thread forgets."""
    latch = SignLatch()
    for number in (1, 2, 3):
        latch.news(Meddling("m", number, latch), [sign()], 0.0)
    assert len(latch.standing) == 3
    assert latch.standing == ()


def test_a_monitor_that_watches_few_rows_may_be_quiet_for_longer() -> None:
    """At a row a second a block takes a minute: four that did not come are silence."""
    silence = Silence(0.0, 1.0)
    assert list(silence.note(10 * MIN_CALLS, Heard(), 255.0)) == []
    assert list(silence.note(1, Heard(), 256.0)) != []


def test_a_sign_that_hovers_around_its_limit_is_one() -> None:
    """Down and up again is nothing worse than before."""
    latch = SignLatch()
    worse = sign(Severity.CRITICAL)
    assert latch.news(KEY, [worse], 0.0) == [worse]
    assert latch.news(KEY, [sign()], 5.0) == []
    assert latch.news(KEY, [worse], 10.0) == []


def test_a_clock_that_is_set_back_ends_what_it_has_left_behind() -> None:
    """Nothing goes on ringing until it has caught up, and what is wrong then rings."""
    window, silence, latch = ServiceWindow(PROMISE), Silence(DAY_S, 1000.0), SignLatch()
    window.add(answered(100, faults=100), DAY_S)
    latch.news(KEY, [sign()], DAY_S)
    list(silence.note(MIN_CALLS, Heard(), DAY_S))

    window.add(answered(100), 0.0)
    latch.forget_settled(0.0)
    list(silence.note(MIN_CALLS, Heard(), 0.0))

    assert list(window.signs(0.0)) == []
    assert latch.standing == ()
    assert [one.name for one in silence.note(MIN_CALLS, Heard(), MIN_S)] == ["drift"]


def test_what_lasts_is_told_again_in_time_though_the_clock_was_set_back() -> None:
    """A reminder comes after its period, not when the clock has caught up."""
    latch = SignLatch()
    latch.news(KEY, [sign()], DAY_S)

    assert latch.news(KEY, [sign()], 0.0) == []
    assert latch.standing[0].since_s == 0.0
    assert latch.news(KEY, [sign()], RENOTIFY_S - 1) == []
    assert latch.news(KEY, [sign()], RENOTIFY_S) == [sign()]
