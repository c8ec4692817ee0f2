"""Pure: tells by a number's leading byte alone that it is within its bounds.

The leading byte of a float has its sign and most of its exponent: if it is one of those whose every
number is within the bounds, nothing else of the number matters. Taking each number's leading byte,
looking it up and searching for a mark are three short loops over bytes, without numpy's machinery,
of which every call costs several times as much where the code is cold.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from runtimes.contract import Array

Holds = Callable[[Array | None, int], bool]
"""(array, rows) → whether there is nothing to say of it."""

MAX_VALUES: Final = 4096
"""Of more, numpy's comparisons cost less than the copy."""
OPEN: Final = 1
"""Marks a leading byte whose numbers may lie outside the bounds."""
_NUMBERS: Final = "iuf"
_BYTE: Final = 256


def leading_first(low: Any, high: Any, dtype: np.dtype[Any], others: Holds) -> Holds:  # noqa: ANN401  numbers
    """Return what looks at leading bytes before it asks the others, who compare whole numbers.

    Args:
        low: The least number that is good.
        high: The greatest.
        dtype: Whose numbers they are; arrays of another one are left to the others.
        others: Asked what leading bytes do not settle; returned if they never settle anything.
    """
    good = _good_bytes(low, high, dtype)
    if not good:
        return others
    marks = bytes([0 if lead in good else OPEN for lead in range(_BYTE)])
    step = slice(dtype.itemsize - 1, None, dtype.itemsize)

    def hold(array: Array | None, rows: int) -> bool:
        if array is not None and array.dtype is dtype and array.size <= MAX_VALUES:
            leading = array.tobytes()[step]
            if leading and OPEN not in leading.translate(marks):
                return True
        return others(array, rows)

    return hold


def _good_bytes(low: Any, high: Any, dtype: np.dtype[Any]) -> bytes:  # noqa: ANN401  numbers
    """Numbers that share a leading byte lie between the two whose other bytes are all 0 or 255."""
    if dtype.kind not in _NUMBERS:
        return b""
    rest = dtype.itemsize - 1
    raws = [bytes([fill] * rest + [lead]) for lead in range(_BYTE) for fill in (0, _BYTE - 1)]
    ends = np.frombuffer(b"".join(raws), dtype.newbyteorder("<")).reshape(_BYTE, 2).tolist()
    # NaN, which ends the last leading byte of either sign, is within nothing.
    return bytes([at for at, (one, two) in enumerate(ends) if low <= one <= high >= two >= low])
