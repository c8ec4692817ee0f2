"""What an alarm of drift says, and how loud."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from serving.cli.drift_words import summary_text
from serving.monitor.drift.alert import DriftAlert, alert_of
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Column
from serving.monitor.drift.latch import Latch
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.severity import Severity, judge
from tests.fakes.drift_rows import alarms_of, drawn_columns, learnt, numbers_of, with_numbers


@cache
def reference() -> Profile:
    """One reference for all tests."""
    return learnt()


def alert(profile: Profile, columns: list[Column]) -> DriftAlert:
    """The first alert of some rows."""
    return alert_of(profile, profile.encoder, alarms_of(profile, columns)[0])


def moved(by_sd: float) -> list[Column]:
    """Rows of which one column has another mean."""
    columns = drawn_columns(7, 4_096)
    return with_numbers(columns, "a", numbers_of(columns, "a") + by_sd)


def test_an_alert_says_how_a_number_moved() -> None:
    """Median before and after, and the distance in standard deviations."""
    found = alert(reference(), moved(1.0))

    assert found.severity is Severity.CRITICAL
    assert found.effect == pytest.approx(0.9, abs=0.3)
    text = found.text("fraud v7", since="14:02")
    assert text.startswith("CRITICAL fraud v7: feature 'a' moved since 14:02 (")
    assert "median " in text
    assert "Expected false alarms: 1 per 97,479 rows." in text


@pytest.mark.parametrize(("factor", "end"), [(1e3, "or more"), (-1e3, "or less")])
def test_a_median_beyond_the_reference_is_said_to_be_that_far_at_least(
    factor: float, end: str
) -> None:
    """As of metres that come in millimetres: what is counted does not know how far they went."""
    columns = drawn_columns(7, 4_096)
    found = alert(
        reference(), with_numbers(columns, "a", factor * (2 + abs(numbers_of(columns, "a"))))
    )

    text = found.text("fraud v7")
    assert f" {end}, Wasserstein/std" in text
    assert summary_text(found.to_json()["after"]).split(" [")[0].endswith(end)
    assert "or " not in summary_text(found.to_json()["before"])


def test_an_alert_is_json() -> None:
    """An alert can be sent."""
    written = json.loads(json.dumps(alert(reference(), moved(1.0)).to_json()))

    assert written["severity"] == "critical"
    assert written["calibration"] == "independent"
    assert written["before"]["p50"] < written["after"]["p50"]


def test_a_small_reference_only_notes() -> None:
    """With fewer than 500 rows no alarm is more than a note, and it says what is needed."""
    found = alert(learnt(499), moved(1.0))

    assert found.severity is Severity.INFO
    assert "has 499 rows" in found.cap_reason
    assert "from 500 rows on" in found.text("fraud v7")


def test_a_reference_without_order_does_not_page() -> None:
    """Where correlated traffic could not be allowed for, an alarm is a warning at most."""
    found = alert(learnt(is_ordered=False), moved(1.0))

    assert found.severity is Severity.WARNING
    assert "iid-assumed" in found.cap_reason


def test_a_lost_column_is_critical() -> None:
    """A column that is missing altogether is told as such."""
    found = alert(reference(), with_numbers(drawn_columns(4, 64), "a", np.full(64, np.nan)))

    assert (found.kind, found.severity) == ("constant", Severity.CRITICAL)
    assert "missing 0.0 % -> 100.0 %" in found.text("fraud v7")


@pytest.mark.parametrize(
    ("name", "effect", "features", "severity"),
    [
        ("Wasserstein/std", 0.09, 1, Severity.INFO),
        ("Wasserstein/std", 0.09, 2, Severity.WARNING),
        ("Wasserstein/std", 0.11, 1, Severity.WARNING),
        ("Wasserstein/std", 0.5, 1, Severity.CRITICAL),
        ("missing", 0.009, 1, Severity.INFO),
        ("missing", 0.011, 1, Severity.WARNING),
        ("share", 0.019, 1, Severity.INFO),
        ("share", 0.021, 1, Severity.WARNING),
    ],
)
def test_severity_needs_an_effect(
    name: str, effect: float, features: int, severity: Severity
) -> None:
    """Evidence alone is a note; effects make it louder."""
    assert judge(name, effect, is_lost=False, alarmed_features=features) is severity


def test_a_rate_is_also_said_in_rows() -> None:
    """5 % in 10,000 rows is one false alarm in 195,000."""
    assert round(FalseAlarms().mean_rows_between, -3) == 195_000


def test_other_columns_are_named_too() -> None:
    """Two changed columns: one is the feature, the other the next, over the threshold as well."""
    columns = moved(1.0)
    columns = with_numbers(columns, "c", numbers_of(columns, "c") * 4.0)
    found = alert(reference(), columns)

    assert {found.feature, found.other_features[0][0]} == {"a", "c"}
    assert found.other_features[0][1] > 1.0


def test_a_change_is_told_once() -> None:
    """A lasting change is told once, again after the time for reminders, and when it gets worse."""
    warned = alert(learnt(is_ordered=False), moved(1.0))
    worse = replace(warned, severity=Severity.CRITICAL)
    latch = Latch(renotify_s=100.0)
    told = [
        latch.is_news(warned, 0.0),
        latch.is_news(warned, 99.0),
        latch.is_news(worse, 99.5),
        latch.is_news(warned, 150.0),
        latch.is_news(replace(warned, feature="other"), 150.0),
        latch.is_news(warned, 200.0),
    ]

    assert told == [True, False, True, False, True, True]
