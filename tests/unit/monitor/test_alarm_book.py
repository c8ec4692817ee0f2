"""Alarms as people get them: once, again when worse or lasting, not when they know."""

from dataclasses import replace

from serving.monitor.drift.alarm_book import MAX_ALARMS, SETTLED_ROWS, AlarmBook
from serving.monitor.drift.alert import DriftAlert
from serving.monitor.drift.samples import drift_samples
from serving.monitor.drift.severity import Severity
from serving.monitor.drift.summaries import NumberSummary
from serving.monitor.drift.view import (
    Acknowledgement,
    DriftAlarm,
    FeatureDrift,
    VersionDrift,
    WatchState,
)

NONE = NumberSummary(mean=float("nan"), p05=0.0, p50=0.0, p95=0.0, missing=0.0)
ALERT = DriftAlert(
    severity=Severity.WARNING,
    cap_reason="",
    kind="input",
    feature="age",
    statistic="location",
    score=2.0,
    threshold=1.5,
    deviation=5.0,
    window_rows=64,
    at_row=1_000,
    effect_name="Wasserstein/std",
    effect=0.3,
    before=NONE,
    after=NONE,
    other_features=(),
    probability=0.05,
    horizon_rows=10_000,
    mean_rows_between=195_000.0,
    calibration="independent",
    reference_rows=5_000,
    monitor_digest="d" * 64,
)
SAID = Acknowledgement(who="ann", reason="known", at_s=5.0)


def _note(
    book: AlarmBook, now_s: float, severity: Severity = Severity.WARNING, row: int = 1_000
) -> DriftAlarm | None:
    alert = replace(ALERT, severity=severity, at_row=row)
    return book.note(alert, since_s=now_s - 1, at_s=now_s, now_s=now_s)


def test_a_change_is_told_once_and_again_while_it_lasts() -> None:
    """Every renotify period, with the count of how often it was noticed."""
    book = AlarmBook("m v1", renotify_s=100.0)
    first = _note(book, 10.0)
    assert first is not None
    assert _note(book, 50.0) is None
    again = _note(book, 110.0)
    assert again is not None
    assert (again.id, again.count, again.since_s) == (first.id, 3, 9.0)
    assert "WARNING m v1: feature 'age' moved since 1970-01-01 00:00:09 UTC" in again.text
    assert dict(book.counts) == {"warning": 2}


def test_what_somebody_knows_is_told_only_when_it_gets_worse() -> None:
    """Whoever acknowledged it hears of the worse one, and may acknowledge that."""
    book = AlarmBook("m v1", renotify_s=100.0)
    _note(book, 10.0)
    (seen,) = book.acknowledge(SAID)
    assert seen.acknowledged == SAID
    assert book.acknowledge(SAID) == ()
    assert _note(book, 500.0) is None
    worse = _note(book, 510.0, Severity.CRITICAL)
    assert worse is not None
    assert (worse.severity, worse.acknowledged) == ("critical", None)


def test_what_is_not_noticed_any_more_is_over() -> None:
    """After two of the longest windows; the next one is another alarm."""
    book = AlarmBook("m v1")
    first = _note(book, 10.0)
    book.close_settled(1_000 + SETTLED_ROWS)
    assert [alarm.is_open for alarm in book.alarms] == [True]
    book.close_settled(1_001 + SETTLED_ROWS)
    assert [alarm.is_open for alarm in book.alarms] == [False]
    second = _note(book, 20.0, row=20_000)
    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_the_next_controller_goes_on_with_what_was_told() -> None:
    """An alarm that it finds in the file is not told anew, and stays acknowledged."""
    book = AlarmBook("m v1")
    _note(book, 10.0)
    book.acknowledge(SAID)
    following = AlarmBook("m v1", alarms=book.alarms, counts=book.counts)

    assert _note(following, 11.0, row=500) is None
    (alarm,) = following.alarms
    assert (alarm.acknowledged, alarm.count, alarm.last_row) == (SAID, 2, 500)


def test_what_lasts_is_told_again_in_time_though_the_clock_was_set_back() -> None:
    """Also by the next controller, which finds in the file that it was told in the future."""
    ahead = AlarmBook("m v1", renotify_s=100.0)
    _note(ahead, 50_000.0)
    book = AlarmBook("m v1", renotify_s=100.0, alarms=ahead.alarms, counts=ahead.counts)

    assert _note(book, 10.0) is None
    assert _note(book, 109.0) is None
    assert _note(book, 110.0) is not None


def test_metrics_have_the_same_64_columns_always() -> None:
    """The first ones of the reference, however their scores stand; all alarms are counted."""
    features = tuple(
        FeatureDrift(
            feature=f"f{place}",
            place=place,
            role="input",
            score=float(place),
            effect_name="share",
            effect=None,
            before={},
            after={},
        )
        for place in reversed(range(70))
    )
    book = AlarmBook("m v1")
    _note(book, 10.0)
    watched = VersionDrift(
        model="m",
        version=1,
        state=WatchState.ALARM,
        features=features,
        alarms=book.alarms,
        alarm_counts=book.counts,
        rows=5,
    )
    samples = list(drift_samples([watched]))
    scores = [one.labels[2] for one in samples if one.metric.name == "bascule_drift_score"]

    assert scores == [f"f{place}" for place in range(64)]
    told = {(one.metric.name, one.labels[2]): one.value for one in samples if len(one.labels) == 3}
    assert told["bascule_drift_alarms_total", "warning"] == 1
    assert told["bascule_drift_open_alarms", "warning"] == 1
    assert told["bascule_drift_open_alarms", "critical"] == 0


def test_a_version_that_cannot_be_watched_is_a_metric() -> None:
    """Of its rows nothing is known, and no rule would ring for what is not there."""
    states = (WatchState.FAILED, WatchState.LEARNING)
    found = [
        {one.metric.name: one.value for one in drift_samples([drift])}
        for drift in (VersionDrift(model="m", version=1, state=state) for state in states)
    ]

    assert found[0] == {"bascule_drift_failed": 1}
    assert found[1]["bascule_drift_failed"] == 0


def test_alarms_of_one_moment_have_ids_of_their_own_however_many_are_kept() -> None:
    """Who acknowledges one acknowledges no other."""
    book = AlarmBook("m v1")
    for number in range(MAX_ALARMS + 2):
        alert = replace(ALERT, feature=f"f{number}")
        book.note(alert, since_s=0.0, at_s=1.0, now_s=1.0)

    assert len({alarm.id for alarm in book.alarms}) == MAX_ALARMS
