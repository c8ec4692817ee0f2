"""The monitor of drift meets values that no reference promised."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.block_sums import BLOCK_ROWS, total
from serving.monitor.drift.columns import Column, LevelColumn, NumberColumn
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile
from tests.fakes.drift_rows import (
    FEW,
    alarms_of,
    blocks_of,
    drawn_columns,
    learnt,
    with_levels,
    with_numbers,
)

ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)
ANY_ROWS = st.lists(st.tuples(ANY_NUMBER, st.binary(max_size=4)), min_size=1, max_size=200)


@cache
def reference() -> Profile:
    """One reference for all tests."""
    return learnt(500)


def rows_of(rows: list[tuple[float, bytes]]) -> list[Column]:
    """Rows with any numbers in `a` and any levels in `colour`."""
    columns = drawn_columns(3, len(rows))
    columns = with_numbers(columns, "a", np.array([number for number, _ in rows]))
    return with_levels(columns, [level for _, level in rows])


def counted(columns: list[Column], feature: str, statistic: str) -> int:
    """How many rows raise a flag."""
    sums = total(blocks_of(reference(), columns)).components
    components = reference().encoder.components
    place = next(
        i for i, c in enumerate(components) if c.features == (feature,) and c.statistic == statistic
    )
    return int(sums[place])


@given(ANY_ROWS)
def test_any_values_are_judged(rows: list[tuple[float, bytes]]) -> None:
    """Whatever floats and bytes come, rows are encoded and judged, and odd ones counted."""
    columns = rows_of(rows)
    numbers = np.array([number for number, _ in rows])

    alarms_of(reference(), columns)

    assert counted(columns, "a", "missing") == np.isnan(numbers).sum()
    assert counted(columns, "a", "infinite") == np.isinf(numbers).sum()
    assert counted(columns, "colour", "missing") == sum(level == b"" for _, level in rows)


@given(ANY_ROWS, st.randoms(use_true_random=False))
def test_replicas_add_up_to_one(rows: list[tuple[float, bytes]], random: object) -> None:
    """Rows dealt to three replicas, added in any order, are bit for bit those of one."""
    columns = rows_of(rows)
    order = np.random.default_rng(random.getrandbits(32)).permutation(len(rows))
    parts = [np.sort(part) for part in np.array_split(order, 3) if len(part)]

    def only(chosen: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[Column]:
        return [
            NumberColumn(name=c.name, values=c.values[chosen])
            if isinstance(c, NumberColumn)
            else LevelColumn(name=c.name, values=[c.values[i] for i in chosen])
            for c in columns
        ]

    one = total(blocks_of(reference(), columns))
    merged = total(block for part in parts for block in blocks_of(reference(), only(part)))

    assert merged.rows == one.rows
    assert merged.components.tobytes() == one.components.tobytes()
    assert merged.bins.tobytes() == one.bins.tobytes()


@pytest.mark.parametrize(
    ("values", "statistic"),
    [(np.full(BLOCK_ROWS, np.nan), "missing"), (np.full(BLOCK_ROWS, -np.inf), "infinite")],
    ids=["missing", "infinite"],
)
def test_a_lost_column_alarms_at_once(values: np.ndarray, statistic: str) -> None:
    """A column that is gone altogether is found in the first block."""
    columns = with_numbers(drawn_columns(4, BLOCK_ROWS), "a", values)

    alarm = alarms_of(reference(), columns)[0]

    assert alarm.at_row == BLOCK_ROWS
    assert counted(columns, "a", statistic) == BLOCK_ROWS


def test_odd_references_are_learnt() -> None:
    """Constant, missing, infinite and empty columns are references like others."""
    columns: list[Column] = [
        NumberColumn(name="constant", values=np.full(600, 3.0)),
        NumberColumn(name="missing", values=np.full(600, np.nan)),
        NumberColumn(name="infinite", values=np.full(600, np.inf)),
        NumberColumn(name="huge", values=np.array([-1.7e308, 1.7e308] * 300)),
        LevelColumn(name="empty", values=[b""] * 600),
        LevelColumn(name="bytes", values=[b"\xff"] * 600),
    ]
    profile = learn_profile(columns, is_ordered=True, allowed=FEW)

    assert alarms_of(profile, columns) == []


def test_a_constant_column_that_moves_is_found() -> None:
    """A constant that becomes another constant is found in the first block."""
    before: list[Column] = [NumberColumn(name="constant", values=np.full(600, 3.0))]
    after: list[Column] = [NumberColumn(name="constant", values=np.full(128, 4.0))]
    profile = learn_profile(before, is_ordered=True, allowed=FEW)

    assert alarms_of(profile, after)[0].at_row == BLOCK_ROWS


def test_a_rare_new_level_is_expected_where_levels_are_many() -> None:
    """Where new levels keep coming in the reference, they raise no alarm later."""
    rng = np.random.default_rng(5)

    def rows(count: int) -> list[Column]:
        values = [b"%d" % value for value in rng.zipf(1.5, count)]
        return [LevelColumn(name="id", values=values)]

    profile = learn_profile(rows(2_000), is_ordered=True, allowed=FEW)

    assert alarms_of(profile, rows(5_000)) == []


@pytest.mark.parametrize("is_ordered", [True, False], ids=["ordered", "unordered"])
def test_large_references_are_cut(*, is_ordered: bool) -> None:
    """Of a large reference at most 20,000 rows are learnt."""
    values = np.random.default_rng(1).standard_normal(50_000)
    columns: list[Column] = [NumberColumn(name="a", values=values)]

    profile = learn_profile(columns, is_ordered=is_ordered, allowed=FEW)

    assert 10_000 < profile.baseline.rows <= 20_000


def test_too_few_rows_are_refused() -> None:
    """A reference that can say nothing is refused, with the number that it needs."""
    with pytest.raises(InvalidArgumentError, match="at least 32 rows"):
        learn_profile(drawn_columns(1, 31), is_ordered=True)


def test_levels_of_which_none_is_common_are_learnt() -> None:
    """As many levels as a code has letters, each as rare as the others, make a reference."""
    letters = [bytes([65 + one]) for one in np.random.default_rng(5).integers(0, 26, 1_000)]

    profile = learn_profile([LevelColumn(name="letter", values=letters)], is_ordered=True)

    assert len(profile.columns[0].levels) == 26
    assert profile.autocorrelation_time == 1.0


def test_a_reference_in_which_nothing_varies_is_quiet_until_something_does() -> None:
    """One client that always asks the same is no reason to divide by nothing."""
    same = [
        NumberColumn(name="a", values=np.full(500, 7.0)),
        LevelColumn(name="b", values=[b"x"] * 500),
    ]
    other = [NumberColumn(name="a", values=np.full(500, 8.0)), same[1]]
    profile = learn_profile(same, is_ordered=True, allowed=FEW)
    detector = Detector(profile)

    assert profile.calibration.threshold > 0
    assert not detector.push(blocks_of(profile, same))
    assert not detector.component_scores.any()
    assert detector.push(blocks_of(profile, other))
