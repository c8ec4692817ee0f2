"""Names of predictions: UUIDs of version 7, which say in their first 48 bits when they were made.

::

    milliseconds since 1970 (48) │ 7 (4) │ count (12) │ 8 (4) │ random (60)

A process's ids of one millisecond are in order as long as there are at most 4,096 of them.
"""

import os
import uuid
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import ceil, inf
from typing import Final

from runtimes.errors import InvalidArgumentError

_TAILS: Final = 64
"""So many ids' random parts are made at once."""
_RANDOM_BYTES: Final = 8
_COUNTS: Final = tuple(f"{count:03x}-" for count in range(1 << 12))
_NS_PER_MS: Final = 1_000_000
_UUID_VERSION: Final = 7
AFTER_ALL: Final = "g"
"""Above every hexadecimal digit."""


class PredictionIds:
    """Makes the ids of one process. For one thread.

    Every answered call may get one, so its parts are made for many at once, or once a millisecond.
    """

    __slots__ = ("_count", "_ms", "_now_ns", "_prefix", "_random_bytes", "_tails")

    def __init__(
        self, now_ns: Callable[[], int], random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Begin.

        Args:
            now_ns: Nanoseconds since 1970.
            random_bytes: Makes so many random bytes.
        """
        self._now_ns = now_ns
        self._random_bytes = random_bytes
        self._count = 0
        self._ms = -1
        self._prefix = ""
        self._tails: list[str] = []

    def make(self) -> str:
        """Return a new id, as UUIDs are written."""
        count = (self._count + 1) % len(_COUNTS)
        now_ms = self._now_ns() // _NS_PER_MS
        if now_ms != self._ms:
            self._ms, count = now_ms, 0  # else it would begin anew in the middle of one
            text = f"{now_ms:012x}"
            self._prefix = f"{text[:8]}-{text[8:]}-{_UUID_VERSION}"
        self._count = count
        if not self._tails:
            self._tails = self._random_parts()
        return self._prefix + _COUNTS[count] + self._tails.pop()

    def _random_parts(self) -> list[str]:
        """Return the last two groups of many ids, with the variant before it."""
        digits = self._random_bytes(_TAILS * _RANDOM_BYTES).hex()
        places = range(0, len(digits), 2 * _RANDOM_BYTES)
        return [f"8{digits[at : at + 3]}-{digits[at + 3 : at + 15]}" for at in places]


def first_id(at_ms: float) -> str:
    """Return a text that is below all ids that are made at or after a moment, and above others.

    So ids, in lower case, are compared with moments without being taken apart.

    Args:
        at_ms: Milliseconds since 1970; infinity: all ids are before it.
    """
    if at_ms == inf:
        return AFTER_ALL
    text = f"{max(ceil(at_ms), 0):012x}"
    return f"{text[:8]}-{text[8:]}-"


def id_range(in_order: Sequence[str], begin_ms: float, end_ms: float) -> slice:
    """Return which ids were made at or after a moment, and before another one.

    Args:
        in_order: Ids in lower case, in order.
        begin_ms: Milliseconds since 1970.
        end_ms: The same; infinity: there is no end.
    """
    return slice(bisect_left(in_order, first_id(begin_ms)), bisect_left(in_order, first_id(end_ms)))


def is_prediction_id(text: str) -> bool:
    """Tell whether a text is written like a prediction's id."""
    try:
        return str(uuid.UUID(text)) == text.lower() and uuid.UUID(text).version == _UUID_VERSION
    except ValueError:
        return False


def made_ms(prediction_id: str) -> int:
    """Return when an id was made, in milliseconds since 1970.

    Raises:
        InvalidArgumentError: It is no id of a prediction.
    """
    if not is_prediction_id(prediction_id):
        raise InvalidArgumentError(
            f"'{prediction_id[:80]}' is no prediction's id: a UUID of version 7, as the reply's "
            "bascule-prediction-id says it, is expected"
        )
    return uuid.UUID(prediction_id).int >> 80
