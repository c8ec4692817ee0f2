"""A budget of false alarms in time: the threshold that it means, and when it follows the rate."""

import numpy as np
import pytest

from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.calibration import threshold_for
from serving.monitor.drift.pace import KNOWN_S, Pace
from serving.monitor.drift.stream import DriftReport, RunningTotal
from serving.monitor.drift.watched import Origin, WatchedVersion
from serving.registry.policies.drift_policy import DriftPolicy
from tests.fakes.drift_rows import blocks_of, drawn_columns, learnt, numbers_of, with_numbers

MONTH_S = 30 * 86_400.0


def test_rarer_alarms_need_a_higher_score() -> None:
    """That of the calibrated rate is the calibrated one; ten times rarer is the same step."""
    profile = learnt()
    known, allowed = profile.calibration, profile.allowed
    between = allowed.mean_rows_between
    at = [threshold_for(known, allowed, between * factor) for factor in (1, 10, 100)]

    assert at[0] == pytest.approx(known.threshold)
    assert at[1] is not None
    assert at[2] is not None
    assert at[2] - at[1] == pytest.approx(at[1] - known.threshold)
    assert at[1] > known.threshold


def test_the_threshold_follows_the_rate_of_rows_once_it_is_known() -> None:
    """Not in the first minute, and not for less than twice as many rows."""
    profile = learnt()
    pace = Pace(profile, DriftPolicy(seconds_between=MONTH_S))
    assert pace.follow(100.0, 0.0) is None
    assert pace.follow(100.0, KNOWN_S / 2) is None
    fast = pace.follow(100.0, KNOWN_S)
    assert fast is not None
    assert pace.rows_between == 100.0 * MONTH_S
    assert fast.calibration.threshold > profile.calibration.threshold
    assert fast.digest == profile.digest
    assert pace.follow(150.0, 2 * KNOWN_S) is None
    slow = pace.follow(1.0, 3 * KNOWN_S)
    assert slow is not None
    assert slow.calibration.threshold < fast.calibration.threshold


def test_a_budget_in_rows_holds_from_the_beginning() -> None:
    """Whatever the rate is."""
    profile = learnt()
    pace = Pace(profile, DriftPolicy(rows_between=1e7))

    assert pace.rows_between == 1e7
    assert pace.profile.calibration.threshold > profile.calibration.threshold
    assert pace.follow(1e6, 1e6) is None


def test_a_version_that_changes_its_threshold_counts_on_and_still_alarms() -> None:
    """Rows are counted from the beginning; what is alarming enough is noticed after the change."""
    profile = learnt()
    policy = DriftPolicy(seconds_between=MONTH_S)
    watched = WatchedVersion(profile, AlarmBook("m v1"), Origin(is_learnt=True, name="l"), policy)
    worker = RunningTotal("w0")
    columns = drawn_columns(7, 6_400)
    moved = numbers_of(columns, "a")
    moved[5_120:] += 3.0
    for second, block in enumerate(blocks_of(profile, with_numbers(columns, "a", moved))):
        worker.add(block, float(second))
        report = DriftReport(
            model="m", version=1, digest=profile.digest, epoch="w0", records=worker.after(second)
        )
        watched.take([report], float(second))
    view = watched.view("m", 1, 100.0)

    assert view.rows == 6_400
    assert view.threshold > profile.calibration.threshold
    assert {alarm.feature for alarm in view.alarms} == {"a"}
    assert view.alarms[0].severity == "warning"
    assert "nobody has vouched for" in view.alarms[0].text
    assert view.alarms[0].evidence["at_row"] > 5_120
    assert np.isclose(view.alarms[0].since_s, 80.0, atol=3.0)


def test_the_rate_of_rows_is_right_where_blocks_come_seldom() -> None:
    """A row a second fills a block in a minute; right after it the rate is no higher."""
    profile = learnt()
    watched = WatchedVersion(profile, AlarmBook("m"))
    total = RunningTotal("e")
    for number, block in enumerate(blocks_of(profile, drawn_columns(2, 640)), start=1):
        total.add(block, 64.0 * number)
        report = DriftReport(
            model="m", version=1, digest=profile.digest, epoch="e", records=total.after(number - 1)
        )
        watched.take([report], 64.0 * number + 1)
    assert watched.rows_per_s(641.0) == pytest.approx(1.0, rel=0.05)
    assert watched.rows_per_s(700.0) == pytest.approx(0.8, rel=0.1)
