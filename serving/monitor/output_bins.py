"""Bins for values of any size: a number for each, in the values' order.

A bin is the upper half of the value's 32-bit pattern: sign, exponent and seven bits of the
mantissa, so bins are 0.4 to 0.8 % wide. What is no number has the last bin of all.
"""

import math
import struct
from typing import Final

_PATTERN: Final = struct.Struct("<f")
_BITS: Final = struct.Struct("<i")
_LARGEST: Final = 3.4e38
NAN_BIN: Final = 0x7FC0
"""Above that of infinity."""
_LOWEST_BIN: Final = -1 - 0x7F80
"""Of minus infinity, and of what is as good as that."""


def output_bin(value: float) -> int:
    """Return the bin of a value."""
    if math.isnan(value):
        return NAN_BIN
    if abs(value) > _LARGEST:
        value = math.copysign(math.inf, value)
    bits: int = _BITS.unpack(_PATTERN.pack(value + 0.0))[0]
    return bits >> 16 if bits >= 0 else -1 - ((bits & 0x7FFF_FFFF) >> 16)


def bin_end(key: int) -> float:
    """Return what the values of a bin do not exceed."""
    if key >= NAN_BIN:
        return math.nan
    if key <= _LOWEST_BIN:
        return -_LARGEST
    if key < 0:
        return -_value(-1 - key)
    return _value(min(key + 1, 0x7F80))


def _value(upper: int) -> float:
    value: float = _PATTERN.unpack(_BITS.pack(upper << 16))[0]
    return value
