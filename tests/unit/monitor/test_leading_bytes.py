"""Numbers that their leading byte settles: never one that is out of bounds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from serving.monitor.quality.leading_bytes import MAX_VALUES, leading_first

NUMBERS = [datatype for datatype, dtype in DTYPES.items() if dtype.kind in "iuf"]
LIMITS = st.floats(allow_nan=False) | st.integers(-300, 300)


class Others:
    """Who is asked what leading bytes leave open: knows nothing, and counts."""

    def __init__(self) -> None:
        self.asked_count = 0

    def hold(self, array: Array | None, rows: int) -> bool:
        """Know nothing."""
        del array, rows
        self.asked_count += 1
        return False


def settled(array: Array | None, low: float, high: float, dtype: np.dtype[Any]) -> bool:
    """Whether an array is settled by leading bytes alone; else the others are asked, once."""
    others = Others()
    is_settled = leading_first(low, high, dtype, others.hold)(array, 1)
    assert others.asked_count == (0 if is_settled else 1)
    return is_settled


@given(st.sampled_from(NUMBERS), st.binary(max_size=64), LIMITS, LIMITS)
def test_all_numbers_that_pass_are_within_the_bounds(
    datatype: Datatype, raw: bytes, low: float, high: float
) -> None:
    """Whatever bytes a client sends, NaN and infinities among them, and whatever the bounds."""
    dtype = DTYPES[datatype]
    numbers = np.frombuffer(raw[: len(raw) // 8 * 8], dtype)

    each = [settled(np.array([number]), low, high, dtype) for number in numbers]

    within = [low <= number.item() <= high for number in numbers]
    assert all(one <= other for one, other in zip(each, within, strict=True))
    assert settled(numbers, low, high, dtype) == (bool(each) and all(each))


@given(st.sampled_from(NUMBERS), st.integers(0, 255), LIMITS, LIMITS)
def test_all_numbers_of_a_leading_byte_pass_or_none(
    datatype: Datatype, lead: int, low: float, high: float
) -> None:
    """It settles just those whose least and greatest number, by magnitude, are within."""
    dtype = DTYPES[datatype].newbyteorder("<")
    rest = dtype.itemsize - 1
    ends = np.frombuffer(bytes([*[0] * rest, lead, *[255] * rest, lead]), dtype)
    numbers = ends.astype(DTYPES[datatype])

    is_within = all(low <= number <= high for number in numbers.tolist())

    assert settled(numbers, low, high, DTYPES[datatype]) == is_within


@pytest.mark.parametrize("datatype", NUMBERS)
def test_small_numbers_are_settled_by_wide_bounds(datatype: Datatype) -> None:
    """It is of use: what lies well within is known at once, and one that does not is seen."""
    dtype = DTYPES[datatype]
    most = 40_000 if dtype.kind == "f" else np.iinfo(dtype).max - 1
    many = np.ones((7, 5), dtype)

    assert settled(many, 0, most, dtype)
    many[6, 4] = np.nan if dtype.kind == "f" else np.iinfo(dtype).max
    assert not settled(many, 0, most, dtype)


def test_other_types_and_many_values_are_left_to_others() -> None:
    """An engine may give what it did not declare; a copy of a large array costs too much."""
    dtype = np.dtype("<f4")

    assert not settled(np.ones(3, "<i4"), -9, 9, dtype)
    assert not settled(None, -9, 9, dtype)
    assert not settled(np.ones(0, "<f4"), -9, 9, dtype)
    assert settled(np.ones(MAX_VALUES, "<f4"), -9, 9, dtype)
    assert not settled(np.ones(MAX_VALUES + 1, "<f4"), -9, 9, dtype)
    assert settled(np.ones((8, 4), "<f4")[::2, 1:3], -9, 9, dtype)


def test_bounds_that_no_leading_byte_settles_are_left_to_others() -> None:
    """A maximum of 256 says nothing of the upper byte of 32 bits; flags are no numbers."""
    hold = Others().hold

    assert leading_first(0, 256, np.dtype("<i4"), hold) == hold
    assert leading_first(0, 1, np.dtype(bool), hold) == hold
