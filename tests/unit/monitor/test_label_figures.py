"""Figures are those of the textbooks, and their intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.labels import intervals
from serving.monitor.labels.drop import DropState, drop_of
from serving.monitor.labels.intervals import weighted_mean, weighted_share, wilson
from serving.monitor.labels.performance import Cut, figures_of, roc_area, windows_of
from serving.monitor.labels.rows import Kind, Rows


def rows_of(predicted: list[float], given: list[float], *, kind: Kind = Kind.CLASSES) -> Rows:
    """Rows a second apart, whose labels came at once; NaN: none."""
    count = len(predicted)
    at = np.arange(count, dtype=np.float64)
    known = np.where(np.isnan(given), np.nan, at)
    return Rows(
        kind=kind,
        classes=("0", "1", "2") if kind is Kind.CLASSES else (),
        ids=np.asarray([f"id{index}" for index in range(count)], dtype=object),
        row=np.zeros(count, dtype=np.int64),
        answered_s=at,
        predicted=np.asarray(predicted, dtype=np.float64),
        given=np.asarray(given, dtype=np.float64),
        known_s=known,
        posted_s=known,
        weight=np.ones(count),
    )


def test_wilsons_interval_is_the_published_one() -> None:
    """8 of 10: 49.0 % to 94.3 %; of nothing there is none."""
    found = wilson(0.8, 10)

    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0.0, 0) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    """Of a row of each class, the chance that the score tells them apart; ties count half."""
    positive = [score for score, is_one in rows if is_one]
    negative = [score for score, is_one in rows if not is_one]
    chance = np.asarray([[1 - score / 5, score / 5] for score, _ in rows])
    given_ = np.asarray([float(is_one) for _, is_one in rows])
    found = roc_area(chance, given_, np.ones(len(rows)))
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]

    assert (found is None) == (not pairs)
    assert found is None or found.value == pytest.approx(np.mean(pairs))


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 4)), min_size=2, max_size=20
    )
)
def test_a_row_of_weight_3_is_as_three_rows_for_the_area(
    rows: list[tuple[int, bool, int]],
) -> None:
    """As it is for shares and means; what it says is still said by one witness."""
    chance = np.asarray([[1 - score / 5, score / 5] for score, _, _ in rows])
    given_ = np.asarray([float(is_one) for _, is_one, _ in rows])
    counts = [count for _, _, count in rows]

    found = roc_area(chance, given_, np.asarray(counts, dtype=np.float64))
    repeated = roc_area(
        np.repeat(chance, counts, axis=0), np.repeat(given_, counts), np.ones(sum(counts))
    )

    assert (found is None) == (repeated is None)
    if found is not None and repeated is not None:
        assert found.value == pytest.approx(repeated.value)
        assert found.high - found.low >= repeated.high - repeated.low - 1e-9
        assert found.rows <= repeated.rows + 1e-9


def test_a_class_has_its_precision_and_recall() -> None:
    """Three of four that were called 1 are 1; of five that are 1 three were found."""
    figures = figures_of(rows_of([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 1]))
    one = figures.classes[1]

    assert one.precision is not None
    assert one.recall is not None
    assert (one.precision.value, one.recall.value) == pytest.approx((0.75, 0.6))


def test_numbers_have_error_and_bias() -> None:
    """Mean absolute error, root of the mean square, mean of predicted less given."""
    figures = figures_of(rows_of([1, 2, 6], [0, 2, 4], kind=Kind.NUMBER))

    assert figures.mae is not None
    assert figures.rmse is not None
    assert figures.bias is not None
    assert figures.mae.value == pytest.approx(1.0)
    assert figures.rmse.value == pytest.approx((5 / 3) ** 0.5)
    assert figures.bias.value == pytest.approx(1.0)


def test_weights_count_and_widen_the_interval() -> None:
    """A row of weight 3 is three votes, and no three witnesses."""
    is_right = np.asarray([1.0, 0.0, 0.0, 0.0])
    found = weighted_share(is_right, np.asarray([3.0, 1.0, 1.0, 1.0]))

    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.rows == pytest.approx(3.0)


def test_a_means_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 samples of 100 exponential values, some 95 % have the true mean inside."""
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        found = weighted_mean(random.exponential(size=100), np.ones(100))
        assert found is not None
        held += found.low <= 1 <= found.high

    assert 176 <= held <= 199


def test_windows_are_of_time_or_of_rows_and_leave_out_what_has_no_label() -> None:
    """Ten rows, a second apart, one without a label."""
    rows = rows_of([0] * 10, [0] * 9 + [float("nan")])
    by_time, by_count = windows_of(rows, Cut(seconds=4)), windows_of(rows, Cut(rows=6))

    assert [window.figures.rows for window in by_time] == [4, 4, 1]
    assert [window.figures.rows for window in by_count] == [6, 3]


def drifting(seed: int, before: float, after: float, rows: int = 2000) -> Rows:
    """1,000 rows with this share of errors, then rows with that."""
    random = np.random.default_rng(seed)
    chance = np.where(np.arange(rows) < 1000, before, after)
    return rows_of([0.0] * rows, (random.random(rows) < chance).astype(float).tolist())


def test_a_drop_is_found_and_steadiness_is_not_one() -> None:
    """From 5 to 20 % errors it rings in each of 20 runs; at 5 % for ever in none of 60."""
    rung = [drop_of(drifting(seed, 0.05, 0.2)) for seed in range(20)]
    quiet = [drop_of(drifting(seed, 0.05, 0.05)) for seed in range(60)]

    assert {report.state for report in rung} == {DropState.DROPPED}
    assert {report.state for report in quiet} == {DropState.STEADY}
    assert all(report.since is not None and report.since.timestamp() >= 990 for report in rung)


def test_errors_of_numbers_that_grow_are_a_drop() -> None:
    """Errors that double after 1,000 rows ring; the same errors do not."""
    random = np.random.default_rng(3)
    noise = random.normal(size=2000)
    grown = noise * np.where(np.arange(2000) < 1000, 1, 2)
    quiet, rung = (
        drop_of(rows_of(error.tolist(), [0.0] * 2000, kind=Kind.NUMBER)) for error in (noise, grown)
    )

    assert (quiet.state, rung.state) == (DropState.STEADY, DropState.DROPPED)


def test_a_reference_is_complete_before_anything_is_said() -> None:
    """With 299 labels the watch is learning, however bad they are."""
    report = drop_of(rows_of([0.0] * 299, [1.0] * 299))

    assert (report.state, report.reference_rows) == (DropState.LEARNING, 299)


def test_an_interval_does_not_depend_on_how_much_is_resampled_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many resamples for rows that fill the memory's portion more than by half."""
    values, weight = np.random.default_rng(4).standard_normal(900), np.ones(900)
    whole = weighted_mean(values, weight)
    monkeypatch.setattr(intervals, "PORTION_ROWS", 1_500)

    assert weighted_mean(values, weight) == whole
