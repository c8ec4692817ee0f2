"""Pure: tells by a number's leading byte alone that it is within its bounds.

The leading byte of a float has its sign and most of its exponent: if it is one of those whose every
number is within the bounds, nothing else of the number matters. Taking each number's leading byte
and deleting those that are known to be good are two short loops over bytes, without numpy's
machinery, of which every call costs ten times as much where the code is cold.
"""

from typing import Any, Final

import numpy as np

from runtimes.contract import Array

MAX_VALUES: Final = 4096
"""Of more, numpy's comparisons cost less than the copy."""
_NUMBERS: Final = "iuf"
_BYTE: Final = 256


class LeadingBytes:
    """The leading bytes of one datatype's numbers that lie within some bounds whatever follows."""

    __slots__ = ("_dtype", "_good", "_step")

    def __init__(self, low: Any, high: Any, dtype: np.dtype[Any]) -> None:  # noqa: ANN401  numbers
        """Find them."""
        self._dtype = dtype
        self._step = slice(dtype.itemsize - 1, None, dtype.itemsize)
        self._good = _good_bytes(low, high, dtype)

    def are_good(self, array: Array) -> bool:
        """Whether all numbers of an array are within the bounds; False: that is not known."""
        return (
            array.dtype is self._dtype
            and array.size <= MAX_VALUES
            and not array.tobytes()[self._step].translate(None, self._good)
        )


def leading_bytes(low: Any, high: Any, dtype: np.dtype[Any]) -> LeadingBytes | None:  # noqa: ANN401  numbers
    """Return what knows numbers by their leading bytes; None: none of them settles anything."""
    return LeadingBytes(low, high, dtype) if _good_bytes(low, high, dtype) else None


def _good_bytes(low: Any, high: Any, dtype: np.dtype[Any]) -> bytes:  # noqa: ANN401  numbers
    """Numbers that share a leading byte lie between the two whose other bytes are all 0 or 255."""
    if dtype.kind not in _NUMBERS:
        return b""
    rest = dtype.itemsize - 1
    raws = [bytes([fill] * rest + [lead]) for lead in range(_BYTE) for fill in (0, _BYTE - 1)]
    ends = np.frombuffer(b"".join(raws), dtype.newbyteorder("<")).reshape(_BYTE, 2).tolist()
    # NaN, which ends the last leading byte of either sign, is within nothing.
    return bytes([at for at, (one, two) in enumerate(ends) if low <= one <= high >= two >= low])
