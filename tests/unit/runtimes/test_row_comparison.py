"""Which rows differ from another version's, by how much, and which is the worst."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtimes import row_comparison
from runtimes.contract import Array
from runtimes.row_comparison import (
    CLOSE,
    CLOSE_BF16,
    UNMEASURED,
    RowComparison,
    compare_rows,
    default_tolerance,
    excerpt,
)
from runtimes.tolerance import BITWISE, Tolerance, compare, tolerance

ALLOWED = st.sampled_from(
    [BITWISE, CLOSE, Tolerance(kind="ulp", ulp=3), Tolerance(kind="label"), Tolerance(kind="none")]
)
FLOATS = hnp.arrays(np.float32, (4, 3), elements=st.floats(width=32))


def floats(*rows: list[float]) -> Array:
    """Rows of FP32."""
    return np.array(rows, np.float32)


def rows_off(found: RowComparison) -> list[int]:
    """Which rows are outside the tolerance."""
    return np.flatnonzero(found.mismatched).tolist()


def test_one_wrong_row_is_named_and_measured() -> None:
    """The others are not blamed, and the score is in units of what is allowed."""
    expected = floats([1, 2], [3, 4], [5, 6])
    found = floats([1, 2], [3, 5], [5, 6])
    seen = compare_rows(expected, found, tolerance("atol:0.25"), is_batched=True)
    assert rows_off(seen) == [1]
    assert seen.scores.tolist() == [0.0, 4.0, 0.0]
    assert seen.places.tolist()[1] == 1
    assert (seen.largest_absolute, seen.largest_relative) == (1.0, 0.25)


def test_a_difference_within_tolerance_is_measured_too() -> None:
    """It is no mismatch, but an error that was seen."""
    seen = compare_rows(floats([2.0]), floats([2.001]), CLOSE, is_batched=True)
    assert rows_off(seen) == []
    assert seen.largest_absolute == pytest.approx(0.001, rel=1e-3)
    assert seen.largest_relative == pytest.approx(0.0005, rel=1e-3)


def test_without_a_batch_all_is_one_row() -> None:
    """A tensor of any rank, a scalar too, is right or wrong as a whole."""
    for shape in [(), (3,), (2, 2)]:
        right, wrong = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        assert rows_off(compare_rows(right, wrong, CLOSE, is_batched=False)) == [0]
        assert rows_off(compare_rows(right, right, CLOSE, is_batched=False)) == []


def test_nan_against_a_number_cannot_be_measured() -> None:
    """It is the worst of all; NaN against NaN is equal; neither is an error in figures."""
    nan = float("nan")
    seen = compare_rows(floats([nan], [nan]), floats([nan], [1.0]), CLOSE, is_batched=True)
    assert (rows_off(seen), seen.scores.tolist()) == ([1], [0.0, UNMEASURED])
    assert (seen.largest_absolute, seen.largest_relative) == (0.0, 0.0)


@pytest.mark.parametrize(
    "found", [np.zeros((2, 3), np.float32), np.zeros((2, 2)), np.zeros((3, 2), np.float32)]
)
def test_another_shape_or_datatype_is_a_mismatch_of_all_rows(found: Array) -> None:
    """It is no exception, and has its reason."""
    seen = compare_rows(np.zeros((2, 2), np.float32), found, CLOSE, is_batched=True)
    assert (rows_off(seen), "expected" in seen.reason) == ([0, 1], True)


def test_texts_are_equal_or_not() -> None:
    """Whatever the tolerance."""
    expected, found = np.array([[b"a"], [b"b"]], object), np.array([[b"a"], [b"c"]], object)
    assert rows_off(compare_rows(expected, found, CLOSE, is_batched=True)) == [1]


def test_a_label_is_that_of_each_row() -> None:
    """Other values with the same largest one are equal; rows of one value have no label."""
    label = Tolerance(kind="label")
    expected, found = floats([0, 1], [0, 1]), floats([0.4, 0.6], [0.6, 0.4])
    assert rows_off(compare_rows(expected, found, label, is_batched=True)) == [1]
    flat = np.array([0, 1], np.float32), np.array([0, 2], np.float32)
    assert rows_off(compare_rows(*flat, label, is_batched=True)) == [1]


@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [
        (np.float32, CLOSE),
        (np.float16, CLOSE),
        (ml_dtypes.bfloat16, CLOSE_BF16),
        (np.int64, BITWISE),
        (np.bool_, BITWISE),
        (object, BITWISE),
    ],
)
def test_what_holds_where_the_bundle_says_nothing(dtype: type, allowed: Tolerance) -> None:
    """Floating-point numbers may differ a little, everything else may not."""
    assert default_tolerance(np.dtype(dtype)) == allowed


@given(FLOATS, FLOATS, ALLOWED)
def test_rows_together_are_judged_as_the_whole(
    expected: Array, found: Array, allowed: Tolerance
) -> None:
    """Some row is off exactly if the tensor is; and chunks of rows change nothing."""
    seen = compare_rows(expected, found, allowed, is_batched=True)
    assert bool(seen.mismatched.any()) is not compare(expected, found, allowed).holds
    assert np.isfinite(seen.scores).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_comparison, "CHUNK_ELEMENTS", 3)
        chunked = compare_rows(expected, found, allowed, is_batched=True)
    assert chunked.mismatched.tolist() == seen.mismatched.tolist()
    assert chunked.scores.tolist() == seen.scores.tolist()
    assert chunked.largest_absolute == seen.largest_absolute


def test_no_rows_are_no_mismatch() -> None:
    """An empty batch is compared with ease."""
    empty = np.zeros((0, 4), np.float32)
    assert rows_off(compare_rows(empty, empty, CLOSE, is_batched=True)) == []


def test_an_excerpt_begins_at_the_worst_element() -> None:
    """It is short, and says where it begins and whether it goes on."""
    row = np.arange(100, dtype=np.float32)[None]
    text = excerpt(row, 0, 40, is_batched=True)
    assert text.startswith("[40]: 40.0, 41.0")
    assert text.endswith(", …")
    assert excerpt(row, 7, 0, is_batched=True) == ""
    assert excerpt(np.array([["a" * 5000]], object), 0, 0, is_batched=True).startswith("[0]: 'aaa")
    assert len(excerpt(np.array([["a" * 5000]], object), 0, 0, is_batched=True)) <= 203
