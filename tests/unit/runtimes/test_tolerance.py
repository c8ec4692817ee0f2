"""Comparing outputs with their golden values, class by class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.tolerance import BITWISE, Tolerance, compare, is_float, tolerance, ulp_distance, worst
from tests.fakes.tensor_strategies import tensors

FLOATS = (Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64)
CLASSES = ("bitwise", "ulp:0", "ulp:4", "rtol:1e-3,atol:1e-5", "rtol:0,atol:0", "label", "none")


def next_number(array: Array) -> Array:
    """The array with the last bit of each element changed."""
    unsigned = np.dtype(f"u{array.dtype.itemsize}")
    return (array.view(unsigned) ^ np.array(1, unsigned)).view(array.dtype)


@given(array=tensors(), allowed=st.sampled_from(CLASSES))
def test_a_tensor_equals_itself_in_every_class(array: Array, allowed: str) -> None:
    """Every datatype and shape, NaN, infinities and texts included, holds against itself."""
    seen = compare(array, array.copy(), tolerance(allowed))

    assert seen.holds
    assert seen.is_exact
    assert (seen.different_count, seen.largest_abs, seen.largest_ulp) == (0, 0.0, 0)
    assert seen.first_difference is None


@given(one=tensors(), other=tensors(), allowed=st.sampled_from(CLASSES))
def test_any_two_tensors_can_be_compared(one: Array, other: Array, allowed: str) -> None:
    """Other datatypes and shapes are a difference with a reason, and never an exception."""
    seen = compare(one, other, tolerance(allowed))

    assert seen.holds is not bool(seen.reason)
    assert seen.holds or allowed != "none"


@pytest.mark.parametrize("datatype", FLOATS)
def test_one_ulp_is_told_from_none(datatype: Datatype) -> None:
    """A golden value off by one unit in the last place passes `ulp:1` and fails `bitwise`."""
    golden = np.array([[1.0, -2.5], [0.0, 3.25]], DTYPES[datatype])
    found = golden.copy()
    found[1, 1] = next_number(golden)[1, 1]

    assert compare(golden, found, Tolerance(kind="ulp", ulp=1)).holds
    strict = compare(golden, found, BITWISE)
    assert not strict.holds
    assert (strict.largest_ulp, strict.different_count, strict.first_difference) == (1, 1, (1, 1))


@given(datatype=st.sampled_from(FLOATS), data=st.data())
def test_the_distance_counts_representable_numbers(datatype: Datatype, data: st.DataObject) -> None:
    """For finite numbers the distance is that of their places in the order of all numbers."""
    unsigned = np.dtype(f"u{DTYPES[datatype].itemsize}")
    bits = st.integers(0, 2 ** (8 * unsigned.itemsize) - 1)
    one, other = (np.array([data.draw(bits)], unsigned).view(DTYPES[datatype]) for _ in range(2))
    sign = 1 << (8 * unsigned.itemsize - 1)
    places = [
        -(int(bits) - sign) if (bits := array.view(unsigned)[0]) >= sign else int(bits)
        for array in (one, other)
    ]

    found = int(ulp_distance(one, other)[0])

    assert np.isnan(one) or np.isnan(other) or found == abs(places[0] - places[1])


@given(low=st.integers(-(2**63), 2**63 - 1), high=st.integers(-(2**63), 2**63 - 1))
def test_integers_are_as_far_apart_as_their_difference(low: int, high: int) -> None:
    """The extremes of INT64 do not wrap."""
    seen = compare(np.array([low]), np.array([high]), BITWISE)

    assert seen.largest_ulp == abs(high - low)


def test_zero_and_minus_zero_differ_in_bits_alone() -> None:
    """-0.0 fails `bitwise` and passes `ulp:0`."""
    golden, found = np.array([0.0], np.float32), np.array([-0.0], np.float32)

    assert not compare(golden, found, BITWISE).holds
    assert compare(golden, found, tolerance("ulp:0")).holds


@pytest.mark.parametrize("allowed", ["bitwise", "ulp:1000000", "rtol:1,atol:1", "label"])
def test_nan_for_a_number_never_holds(allowed: str) -> None:
    """A NaN where a number was, or the reverse, is outside every class, and is counted."""
    golden, found = np.array([[1.0, 2.0]]), np.array([[1.0, np.nan]])

    seen = compare(golden, found, tolerance(allowed))

    assert not seen.holds
    assert (seen.golden_nan_count, seen.found_nan_count) == (0, 1)
    assert not compare(found, golden, tolerance(allowed)).holds


def test_nan_payloads_are_equal() -> None:
    """Two NaN of different bits are the same, bit for bit."""
    bits = np.array([0x7FC00000, 0x7FC00001], np.uint32)

    assert compare(bits[:1].view(np.float32), bits[1:].view(np.float32), BITWISE).is_exact


def test_an_infinite_golden_value_allows_nothing_else() -> None:
    """`close` does not multiply infinity by its rtol."""
    golden = np.array([np.inf], np.float32)

    assert not compare(golden, np.array([3.0], np.float32), tolerance("rtol:0.1")).holds
    assert not compare(golden, -golden, tolerance("rtol:0.1")).holds


def test_close_is_relative_to_the_golden_value() -> None:
    """The bound is atol + rtol * |golden|."""
    golden = np.array([100.0, 0.0])

    assert compare(golden, np.array([100.1, 1e-5]), tolerance("rtol:1e-3,atol:1e-5")).holds
    seen = compare(golden, np.array([100.1, 2e-5]), tolerance("rtol:1e-3,atol:1e-5"))
    assert (seen.holds, seen.first_difference, seen.found_value) == (False, (1,), "2e-05")


def test_a_label_is_the_place_of_the_largest_value() -> None:
    """Values may move as long as each row's largest stays where it is."""
    golden = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)

    assert compare(golden, golden * 2, tolerance("label")).holds
    seen = compare(golden, golden[:, ::-1].copy(), tolerance("label"))
    assert (seen.holds, seen.first_difference) == (False, (0,))
    assert (seen.golden_value, seen.found_value) == ("label 1", "label 0")


def test_texts_are_equal_or_not() -> None:
    """The first text that differs is shown."""
    golden, found = (np.array([["a", text]], object) for text in ("b", "c"))

    seen = compare(golden, found, tolerance("ulp:4"))

    assert (seen.holds, seen.first_difference) == (False, (0, 1))
    assert (seen.golden_value, seen.found_value) == ("'b'", "'c'")


def test_the_worst_of_several_samples_is_shown() -> None:
    """Counts add up, extremes are kept, and the place is that of the first that fails."""
    golden = np.array([1.0, 2.0])
    seen = [
        compare(golden, np.array(values), tolerance("rtol:0.1"))
        for values in ([1.0, 2.0], [1.0, 2.1], [9.0, 2.0], [1.0, 99.0])
    ]

    joined = worst(seen)

    assert (joined.holds, joined.is_exact, joined.different_count) == (False, False, 3)
    assert (joined.element_count, joined.largest_abs, joined.found_value) == (8, 97.0, "9.0")


@pytest.mark.parametrize("text", ["bitwise", "label", "none", "ulp:7", "rtol:0.001,atol:1e-05"])
def test_a_tolerance_is_printed_as_it_is_written(text: str) -> None:
    """What is printed can be written again."""
    assert str(tolerance(text)) == text


@pytest.mark.parametrize(
    "text", ["", ",", "ulp", "ulp:-1", "ulp:99999999999999", "rtol:", "rtol:1e999", "atol:nan", "x"]
)
def test_nonsense_is_no_tolerance(text: str) -> None:
    """What cannot be read is refused with what can be written."""
    with pytest.raises(InvalidArgumentError, match="write bitwise"):
        tolerance(text)


def test_bfloat16_is_a_float() -> None:
    """BF16's dtype is of kind V, and a float all the same."""
    assert [kind for kind, dtype in DTYPES.items() if is_float(dtype)] == [
        Datatype.FP16,
        Datatype.BF16,
        Datatype.FP32,
        Datatype.FP64,
    ]
