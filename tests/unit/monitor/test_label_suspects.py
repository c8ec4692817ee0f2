"""Wrong labels are found, expected performance is near the truth, and doubt is said in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.monitor.labels.estimate import MIN_ROWS, estimate_of
from serving.monitor.labels.isotonic import fit_isotonic, pooled
from serving.monitor.labels.rows import FloatArray, IntArray, Kind, Rows
from serving.monitor.labels.suspects import ranked_suspects, suspects_of, thresholds_of

CLASSES = 4


def answered(seed: int, count: int, *, sharpness: float = 3.0) -> tuple[FloatArray, IntArray]:
    """Probabilities that are calibrated, and classes drawn by them."""
    random = np.random.default_rng(seed)
    powers = np.exp(random.normal(size=(count, CLASSES)) * sharpness)
    scores = powers / powers.sum(axis=1, keepdims=True)
    drawn = (random.random((count, 1)) > np.cumsum(scores, axis=1)).sum(axis=1)
    return scores, np.minimum(drawn, CLASSES - 1)


def rows_of(scores: FloatArray, given: FloatArray) -> Rows:
    """Rows of one version; NaN: no label."""
    count = len(scores)
    at = np.arange(count, dtype=np.float64)
    known = np.where(np.isnan(given), np.nan, at)
    return Rows(
        kind=Kind.CLASSES,
        classes=("a", "b", "c", "d"),
        ids=np.asarray([f"id{index}" for index in range(count)], dtype=object),
        row=np.zeros(count, dtype=np.int64),
        answered_s=at,
        predicted=np.argmax(scores, axis=1).astype(np.float64),
        given=given,
        known_s=known,
        posted_s=known,
        weight=np.ones(count),
        scores=scores,
    )


def half_labelled(count: int, *, labelled: int, seed: int = 1) -> tuple[Rows, float]:
    """Rows of which the first ones have labels, and the true accuracy of the others."""
    scores, truth = answered(seed, count)
    given = truth.astype(np.float64)
    given[labelled:] = np.nan
    right = np.argmax(scores, axis=1) == truth
    return rows_of(scores, given), float(right[labelled:].mean())


def test_flipped_labels_are_first_in_the_list() -> None:
    """Of a sharp model, 5 % of whose labels are flipped: most of the first so many are flips."""
    scores, truth = answered(3, 2000, sharpness=6.0)
    flipped = np.random.default_rng(4).choice(2000, 100, replace=False)
    given = truth.copy()
    given[flipped] = (given[flipped] + 1) % CLASSES
    found = ranked_suspects(scores, given)

    assert len(set(found[:100].tolist()) & set(flipped.tolist())) >= 60
    assert len(set(found.tolist()) & set(flipped.tolist())) >= 70


def test_a_threshold_is_the_mean_of_those_that_have_the_label() -> None:
    """A class that no label names has none that could be reached."""
    scores = np.asarray([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])

    assert thresholds_of(scores, np.asarray([0, 0, 1])).tolist() == [0.7, 0.8, np.inf]


def test_a_suspect_comes_with_its_evidence() -> None:
    """Ids, what was said and what is likely, how probable each was."""
    scores = np.tile([0.9, 0.04, 0.03, 0.03], (60, 1))
    scores[30:] = [0.05, 0.9, 0.03, 0.02]
    given = np.repeat([0.0, 1.0], 30)
    given[7] = 1.0
    suspect = suspects_of(rows_of(scores, given))[0]

    assert (suspect.prediction_id, suspect.given, suspect.likely) == ("id7", "b", "a")
    assert suspect.margin == pytest.approx(-0.86)
    assert {one.name: one.probability for one in suspect.probabilities}["b"] == 0.04


VALUES = arrays.arrays(
    np.float64, st.integers(1, 12), elements=st.floats(-10, 10).map(lambda x: round(x, 3))
)


@given(values=VALUES, data=st.data())
def test_pooling_gives_the_nearest_nondecreasing_sequence(
    values: FloatArray, data: st.DataObject
) -> None:
    """It never falls, keeps the mean, and no other nondecreasing sequence is nearer."""
    found = pooled(values, np.ones(len(values)))
    other = np.sort(
        np.asarray(
            data.draw(st.lists(st.floats(-10, 10), min_size=len(values), max_size=len(values)))
        )
    )

    assert (np.diff(found) >= 0).all()
    assert found.mean() == pytest.approx(values.mean(), abs=1e-9)
    assert ((found - values) ** 2).sum() <= ((other - values) ** 2).sum() + 1e-9


def test_points_with_the_same_place_are_one() -> None:
    """A curve has one value at each place."""
    curve = fit_isotonic(np.asarray([0.0, 1.0, 1.0]), np.asarray([0.0, 0.0, 1.0]))

    assert curve.at(np.asarray([-1.0, 0.5, 1.0, 9.0])).tolist() == [0.0, 0.25, 0.5, 0.5]


def test_an_estimate_holds_the_truth() -> None:
    """In at least 17 of 20 samples the true accuracy is in the interval."""
    held = 0
    for seed in range(20):
        rows, truth = half_labelled(2000, labelled=1000, seed=seed)
        accuracy = estimate_of(rows).accuracy
        assert accuracy is not None
        held += accuracy.low <= truth <= accuracy.high

    assert held >= 17


def test_overconfident_scores_are_calibrated_first() -> None:
    """Scores that are too sharp say 95 %; the estimate knows from the labels that it is less."""
    scores, truth = answered(5, 3000, sharpness=1.5)
    sharp = scores**4 / (scores**4).sum(axis=1, keepdims=True)
    given = truth.astype(np.float64)
    given[1500:] = np.nan
    accuracy = estimate_of(rows_of(sharp, given)).accuracy
    right = float((np.argmax(sharp, axis=1) == truth)[1500:].mean())

    assert accuracy is not None
    assert sharp.max(axis=1).mean() > right + 0.15
    assert accuracy.value == pytest.approx(right, abs=0.04)


@pytest.mark.parametrize(
    ("rows", "labelled", "alarms", "told"),
    [
        (1000, 299, (), "no calibration set: 299 rows have labels, 300 are needed"),
        (600, 301, (), "299 rows have no label yet, 300 are needed"),
        (1000, 500, ("drift missing age",), "the data has alarms (drift missing age)"),
    ],
    ids=["calibration", "rows", "alarms"],
)
def test_without_what_it_needs_there_is_a_reason_and_no_number(
    rows: int, labelled: int, alarms: tuple[str, ...], told: str
) -> None:
    """Never a guess."""
    found = estimate_of(half_labelled(rows, labelled=labelled)[0], alarms)

    assert told in found.unavailable
    assert (found.accuracy, found.classes) == (None, ())


def test_a_class_that_was_never_labelled_makes_it_unavailable() -> None:
    """Its scores mean what nobody knows."""
    rows, _ = half_labelled(2000, labelled=1000)
    given = rows.given.copy()
    given[given == 2] = np.nan
    found = estimate_of(rows_of(np.asarray(rows.scores), given))

    assert found.unavailable == "classes that are predicted have under 5 labels: c"
    assert found.rows > MIN_ROWS
