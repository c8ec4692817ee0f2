"""The monitor of drift: what it finds, how fast, and that it finds the same again."""

from functools import cache

import numpy as np
import pytest

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.alert import alert_of
from serving.monitor.drift.block_sums import total
from serving.monitor.drift.columns import Column, NumberColumn
from serving.monitor.drift.detector import Alarm, Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile
from tests.fakes.drift_rows import (
    FEW,
    alarms_of,
    blocks_of,
    drawn_columns,
    learnt,
    numbers_of,
    with_levels,
    with_numbers,
)


@cache
def reference() -> Profile:
    """One reference for all tests."""
    return learnt()


def moved(by_sd: float) -> list[Column]:
    """Rows of which one column has another mean."""
    columns = drawn_columns(7, 4_096)
    return with_numbers(columns, "a", numbers_of(columns, "a") + by_sd)


def unrelated() -> list[Column]:
    """Rows of which two columns do not correlate any more."""
    columns = drawn_columns(7, 4_096)
    return with_numbers(columns, "b", numbers_of(drawn_columns(8, 4_096), "a"))


def partly_missing() -> list[Column]:
    """Rows of which 5 % lack a column."""
    columns = drawn_columns(7, 4_096)
    values = numbers_of(columns, "c")
    values[np.random.default_rng(3).random(len(values)) < 0.05] = np.nan
    return with_numbers(columns, "c", values)


def recoloured() -> list[Column]:
    """Rows of which every tenth has a level that the reference has not."""
    columns = drawn_columns(7, 4_096)
    return with_levels(columns, [b"violet" if i % 10 == 0 else b"red" for i in range(4_096)])


def described(alarm: Alarm) -> tuple[str, str]:
    """Return what kind of change an alarm tells of, and of which feature."""
    alert = alert_of(reference(), reference().encoder, alarm)
    return alert.kind, alert.feature


def test_rows_like_the_reference_raise_no_alarm() -> None:
    """10,000 rows from where the reference came from pass."""
    assert alarms_of(reference(), drawn_columns(2, 10_000)) == []


@pytest.mark.parametrize(
    ("columns", "within_rows", "found"),
    [
        (moved(1.0), 128, ("input", "a")),
        (moved(0.5), 512, ("input", "a")),
        (moved(-0.5), 512, ("input", "a")),
        (unrelated(), 512, ("pair", "a x b")),
        (partly_missing(), 512, ("missing", "c")),
        (recoloured(), 128, ("input", "colour")),
    ],
    ids=["mean 1 sd", "mean 0.5 sd", "lower mean", "relation", "missing", "levels"],
)
def test_a_change_is_found_and_named(
    columns: list[Column], within_rows: int, found: tuple[str, str]
) -> None:
    """A change of one column is found within some rows; the first alarm names it and its kind."""
    first = alarms_of(reference(), columns)[0]

    assert first.at_row <= within_rows
    assert described(first) == found


def test_the_same_rows_give_the_same_alarms() -> None:
    """Learning and watching twice gives the same threshold, digest and alarms."""
    again = learnt()
    first, second = (
        [(a.at_row, a.component, a.score) for a in alarms_of(profile, moved(0.5))]
        for profile in (reference(), again)
    )

    assert again.digest == reference().digest
    assert again.calibration.threshold == reference().calibration.threshold
    assert first == second


def test_blocks_may_come_in_any_portions() -> None:
    """Alarms are the same whether blocks come one by one or all together."""
    blocks = blocks_of(reference(), moved(0.5))
    detector = Detector(reference())
    single = [alarm.at_row for block in blocks for alarm in detector.push([block])]

    assert single == [alarm.at_row for alarm in Detector(reference()).push(blocks)]


def test_large_blocks_are_judged_too() -> None:
    """Sums over more rows than the smallest window are judged by the windows that they fill."""
    blocks = blocks_of(reference(), moved(0.5))
    large = [total(blocks[i : i + 8]) for i in range(0, len(blocks), 8)]

    assert Detector(reference()).push(large)[0].at_row <= 1_024


def test_sums_of_another_profile_are_refused() -> None:
    """A replica with another bundle cannot vote."""
    other = learnt(seed=5)

    with pytest.raises(InvalidArgumentError, match="needs the same bundle"):
        Detector(reference()).push(blocks_of(other, drawn_columns(2, 64)))


def test_more_columns_do_not_raise_the_rate() -> None:
    """Twenty more columns of one distribution raise no alarm in rows like the reference."""
    rng = np.random.default_rng(11)

    def rows(count: int) -> list[Column]:
        return [NumberColumn(name=f"n{i}", values=rng.standard_normal(count)) for i in range(24)]

    profile = learn_profile(rows(1_000), is_ordered=True, allowed=FEW)

    assert alarms_of(profile, rows(5_000)) == []
    assert len([c for c in profile.encoder.components if c.is_pair]) == 66
