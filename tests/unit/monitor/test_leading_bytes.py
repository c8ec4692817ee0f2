"""Numbers that their leading byte settles: never one that is out of bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.datatypes import DTYPES, Datatype
from serving.monitor.quality.leading_bytes import MAX_VALUES, leading_bytes

NUMBERS = [datatype for datatype, dtype in DTYPES.items() if dtype.kind in "iuf"]
LIMITS = st.floats(allow_nan=False) | st.integers(-300, 300)


@given(st.sampled_from(NUMBERS), st.binary(min_size=64, max_size=64), LIMITS, LIMITS)
def test_all_numbers_that_pass_are_within_the_bounds(
    datatype: Datatype, raw: bytes, low: float, high: float
) -> None:
    """Whatever bytes a client sends, NaN and infinities among them, and whatever the bounds."""
    known = leading_bytes(low, high, DTYPES[datatype])
    numbers = np.frombuffer(raw, DTYPES[datatype])

    for number in numbers:
        is_within = low <= number.item() <= high
        assert known is None or known.are_good(np.array([number])) <= is_within


@pytest.mark.parametrize("datatype", NUMBERS)
def test_small_numbers_are_settled_by_wide_bounds(datatype: Datatype) -> None:
    """It is of use: what lies well within is known at once, and one that does not is seen."""
    dtype = DTYPES[datatype]
    most = 40_000 if dtype.kind == "f" else np.iinfo(dtype).max - 1
    known = leading_bytes(0, most, dtype)
    assert known is not None
    many = np.ones((7, 5), dtype)

    assert known.are_good(many)
    many[6, 4] = np.nan if dtype.kind == "f" else np.iinfo(dtype).max
    assert not known.are_good(many)


def test_other_types_and_many_values_are_left_to_others() -> None:
    """An engine may give what it did not declare; a copy of a large array costs too much."""
    known = leading_bytes(-9, 9, np.dtype("<f4"))
    assert known is not None

    assert not known.are_good(np.ones(3, "<i4"))
    assert known.are_good(np.ones(MAX_VALUES, "<f4"))
    assert not known.are_good(np.ones(MAX_VALUES + 1, "<f4"))


def test_bounds_that_no_leading_byte_settles_have_nothing() -> None:
    """A maximum of 256 says nothing of the upper byte of 32 bits; flags are no numbers."""
    assert leading_bytes(0, 256, np.dtype("<i4")) is None
    assert leading_bytes(0, 1, np.dtype(bool)) is None
