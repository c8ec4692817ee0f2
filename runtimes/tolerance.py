"""Pure: how far an output is from its golden value, and whether that is near enough.

==========  ==================================================================
``bitwise``  equal bit for bit; NaN equals NaN, and -0.0 is not 0.0
``ulp``      at most `ulp` representable numbers apart (integers: their difference)
``close``    `|found - golden| <= atol + rtol * |golden|`, infinities equal
``label``    the same index of the largest value along the last dimension
``none``     not compared
==========  ==================================================================

Another datatype or shape is a difference like any other, and never an exception. Texts are equal or
not, whatever the class.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal, cast

import ml_dtypes
import numpy as np

from runtimes.contract import Array
from runtimes.errors import InvalidArgumentError

ToleranceKind = Literal["bitwise", "ulp", "close", "label", "none"]

MAX_ULP: Final = 1 << 40
_NUMBER: Final = r"\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?"
_CLOSE: Final = re.compile(rf"(?:rtol:({_NUMBER}))?,?(?:atol:({_NUMBER}))?")
_UNSIGNED: Final = MappingProxyType({1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an output may be from its golden value."""

    kind: ToleranceKind = "bitwise"
    ulp: int = 0
    rtol: float = 0.0
    atol: float = 0.0

    def __str__(self) -> str:
        """Print as operators write it: `ulp:4`, `rtol:0.001,atol:1e-05`, `bitwise`."""
        if self.kind == "ulp":
            return f"ulp:{self.ulp}"
        return f"rtol:{self.rtol:g},atol:{self.atol:g}" if self.kind == "close" else self.kind


BITWISE: Final = Tolerance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison of one output found."""

    holds: bool
    """The output is within its tolerance."""
    reason: str = ""
    """What is different, where it does not hold."""
    is_exact: bool = False
    """Equal bit for bit."""
    element_count: int = 0
    different_count: int = 0
    """Elements that are not equal bit for bit."""
    largest_abs: float = 0.0
    """Largest difference; NaN against a number is left out here, and counted below."""
    largest_ulp: int = 0
    first_difference: tuple[int, ...] | None = None
    """Index of the first element outside the tolerance; where it holds, of the first that is not
    equal bit for bit."""
    golden_value: str = ""
    """What stands there in the golden output."""
    found_value: str = ""
    golden_nan_count: int = 0
    found_nan_count: int = 0


def tolerance(text: str) -> Tolerance:
    """Parse `bitwise`, `label`, `none`, `ulp:4` or `rtol:1e-3,atol:1e-5` (either may be left out).

    Raises:
        InvalidArgumentError: It is none of them.
    """
    if text in {"bitwise", "label", "none"}:
        return Tolerance(kind=cast("ToleranceKind", text))
    if (found := re.fullmatch(r"ulp:(\d{1,13})", text)) and int(found[1]) <= MAX_ULP:
        return Tolerance(kind="ulp", ulp=int(found[1]))
    found = _CLOSE.fullmatch(text)
    if found and text and not text.startswith(",") and not text.endswith(","):
        rtol, atol = (float(number or 0) for number in found.groups())
        if np.isfinite(rtol) and np.isfinite(atol):
            return Tolerance(kind="close", rtol=rtol, atol=atol)
    raise InvalidArgumentError(
        f"unknown tolerance '{text[:60]}': write bitwise, label, none, ulp:4 or rtol:1e-3,atol:1e-5"
    )


def compare(golden: Array, found: Array, allowed: Tolerance) -> Comparison:
    """Compare an output with its golden value."""
    if golden.dtype != found.dtype or golden.shape != found.shape:
        return _other_kind(golden, found, allowed)
    if golden.dtype == object:
        return _compare_texts(golden, found, allowed)
    return _compare_numbers(golden, found, allowed)


def worst(comparisons: Sequence[Comparison]) -> Comparison:
    """Join the comparisons of one output in several samples; the first that fails tells where."""
    shown = next(
        (item for item in comparisons if not item.holds),
        next((item for item in comparisons if not item.is_exact), comparisons[0]),
    )
    return replace(
        shown,
        is_exact=all(item.is_exact for item in comparisons),
        element_count=sum(item.element_count for item in comparisons),
        different_count=sum(item.different_count for item in comparisons),
        largest_abs=max(item.largest_abs for item in comparisons),
        largest_ulp=max(item.largest_ulp for item in comparisons),
        golden_nan_count=sum(item.golden_nan_count for item in comparisons),
        found_nan_count=sum(item.found_nan_count for item in comparisons),
    )


def nan_mask(array: Array) -> Array:
    """Return where a tensor of any datatype is not a number."""
    if is_float(array.dtype):
        return cast("Array", np.isnan(array))
    return np.zeros(array.shape, dtype=bool)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is one of our floating-point numbers, bfloat16 included."""
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def ulp_distance(golden: Array, found: Array) -> Array:
    """Return how many representable numbers lie between elements, as UINT64.

    -0.0 and 0.0 are 0 apart. Two NaN are 0 apart, too; NaN and a number have no distance, and what
    stands there means nothing.
    """
    if is_float(golden.dtype):
        unsigned = _UNSIGNED[golden.dtype.itemsize]
        bits = [array.view(unsigned).astype(np.uint64) for array in (golden, found)]
        sign = np.uint64(1 << (8 * golden.dtype.itemsize - 1))
        one, other = (array & (sign - np.uint64(1)) for array in bits)
        apart = np.maximum(one, other) - np.minimum(one, other)
        distance = np.where((bits[0] ^ bits[1]) & sign, one + other, apart)
        return np.where(nan_mask(golden) & nan_mask(found), np.uint64(0), distance)
    low, high = np.minimum(golden, found), np.maximum(golden, found)
    # As 64-bit numbers that wrap: right for every integer type, the extremes of INT64 included.
    wide = np.uint64 if golden.dtype.kind == "u" else np.int64
    return high.astype(wide).view(np.uint64) - low.astype(wide).view(np.uint64)


def absolute_difference(golden: Array, found: Array) -> Array:
    """Return the absolute differences as FP64; equal infinities differ by nothing."""
    with np.errstate(all="ignore"):
        one, other = golden.astype(np.float64), found.astype(np.float64)
        return np.where(one == other, 0.0, np.abs(other - one))


def outside(golden: Array, found: Array, allowed: Tolerance) -> Array:
    """Return which elements (`label`: which rows of the last dimension) are outside the tolerance.

    Both are numbers of one dtype and one shape, contiguous, with at least one dimension.
    """
    return _breaches(allowed, golden, found, _unequal(golden, found))


def _other_kind(golden: Array, found: Array, allowed: Tolerance) -> Comparison:
    reason = (
        f"golden is {golden.dtype}{list(golden.shape)}, found is {found.dtype}{list(found.shape)}"
    )
    ignored = allowed.kind == "none"
    return Comparison(
        holds=ignored,
        reason="" if ignored else reason,
        element_count=golden.size,
        different_count=golden.size,
    )


def _compare_texts(golden: Array, found: Array, allowed: Tolerance) -> Comparison:
    differs = np.array(
        [one != other for one, other in zip(golden.flat, found.flat, strict=True)], dtype=bool
    ).reshape(golden.shape)
    count = int(np.count_nonzero(differs))
    holds = allowed.kind == "none" or not count
    return _with_place(
        golden,
        found,
        differs,
        Comparison(
            holds=holds,
            reason="" if holds else f"{count} of {golden.size} texts differ",
            is_exact=not count,
            element_count=golden.size,
            different_count=count,
        ),
    )


def _compare_numbers(golden: Array, found: Array, allowed: Tolerance) -> Comparison:
    golden, found = np.ascontiguousarray(golden), np.ascontiguousarray(found)
    golden, found = golden.reshape(golden.shape or (1,)), found.reshape(found.shape or (1,))
    nans = nan_mask(golden), nan_mask(found)
    unequal = _unequal(golden, found)
    ulps = ulp_distance(golden, found)
    absolute = absolute_difference(golden, found)
    comparable = ~(nans[0] | nans[1])
    breaches = _breaches(allowed, golden, found, unequal)
    count, breach_count = int(np.count_nonzero(unequal)), int(np.count_nonzero(breaches))
    seen = Comparison(
        holds=not breach_count,
        is_exact=not count,
        element_count=golden.size,
        different_count=count,
        largest_abs=float(np.max(absolute, where=comparable, initial=0.0)),
        largest_ulp=int(np.max(ulps, where=comparable, initial=0)),
        golden_nan_count=int(np.count_nonzero(nans[0])),
        found_nan_count=int(np.count_nonzero(nans[1])),
    )
    if breach_count:
        seen = replace(seen, reason=_reason(allowed, breach_count, breaches.size, seen))
    return _with_place(golden, found, breaches if breach_count else unequal, seen)


def _unequal(golden: Array, found: Array) -> Array:
    """Return which elements are not equal bit for bit; NaN equals NaN."""
    unsigned = _UNSIGNED[golden.dtype.itemsize]
    both_are_nan = nan_mask(golden) & nan_mask(found)
    return np.asarray((golden.view(unsigned) != found.view(unsigned)) & ~both_are_nan)


def _breaches(allowed: Tolerance, golden: Array, found: Array, unequal: Array) -> Array:
    """Return which elements (`label`: which rows) are outside the tolerance."""
    one_is_nan = nan_mask(golden) != nan_mask(found)
    if allowed.kind == "none":
        return np.zeros_like(unequal)
    if allowed.kind == "ulp":
        return np.asarray((ulp_distance(golden, found) > np.uint64(allowed.ulp)) | one_is_nan)
    if allowed.kind == "close":
        return _not_close(allowed, golden, found, one_is_nan)
    return _other_label(golden, found, one_is_nan) if allowed.kind == "label" else unequal


def _other_label(golden: Array, found: Array, one_is_nan: Array) -> Array:
    if not golden.size:
        return np.zeros(golden.shape[:-1], dtype=bool)
    moved = np.argmax(golden, axis=-1) != np.argmax(found, axis=-1)
    return np.asarray(moved | np.any(one_is_nan, axis=-1))


def _not_close(allowed: Tolerance, golden: Array, found: Array, one_is_nan: Array) -> Array:
    with np.errstate(all="ignore"):
        one, other = golden.astype(np.float64), found.astype(np.float64)
        near = np.abs(other - one) <= allowed.atol + allowed.rtol * np.abs(one)
        # An infinite golden value would allow everything.
        near = (near & np.isfinite(one)) | (one == other)
    both_are_nan = nan_mask(golden) & nan_mask(found)
    return np.asarray(one_is_nan | ~(near | both_are_nan))


def _reason(allowed: Tolerance, breach_count: int, of_count: int, seen: Comparison) -> str:
    what = "rows" if allowed.kind == "label" else "elements"
    text = f"{breach_count} of {of_count} {what} are outside {allowed}"
    if seen.golden_nan_count != seen.found_nan_count:
        text += f"; NaN: {seen.golden_nan_count} in golden, {seen.found_nan_count} found"
    return text


def _with_place(golden: Array, found: Array, marked: Array, seen: Comparison) -> Comparison:
    """Add where the first marked element stands, and what stands there."""
    if not np.any(marked):
        return seen
    place = np.unravel_index(int(np.argmax(marked)), marked.shape)
    index = tuple(int(number) for number in place)
    return replace(
        seen,
        first_difference=index,
        golden_value=_value_text(golden[index]),
        found_value=_value_text(found[index]),
    )


def _value_text(value: object) -> str:
    """Return an element for people; of a row, its label."""
    if isinstance(value, np.ndarray):
        return f"label {int(np.argmax(value))}"
    return repr(value)[:80] if isinstance(value, str | bytes) else str(value)
