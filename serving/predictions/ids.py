"""Names of predictions: UUIDs of version 7, which say in their first 48 bits when they were made.

::

    milliseconds since 1970 (48) │ 7 (4) │ count (12) │ 2 (2) │ random (62)

A process's ids of one millisecond are in order as long as there are at most 4,096 of them.
"""

import os
import uuid
from collections.abc import Callable
from typing import Final

from runtimes.errors import InvalidArgumentError

_RANDOM_BYTES: Final = 8
_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_COUNT_MASK: Final = (1 << 12) - 1
_RANDOM_MASK: Final = (1 << 62) - 1
_UUID_VERSION: Final = 7


class PredictionIds:
    """Makes the ids of one process. For one thread."""

    __slots__ = ("_count", "_now_ns", "_random_bytes")

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

    def make(self) -> str:
        """Return a new id, as UUIDs are written."""
        self._count = count = (self._count + 1) & _COUNT_MASK
        random = int.from_bytes(self._random_bytes(_RANDOM_BYTES), "little") & _RANDOM_MASK
        number = (self._now_ns() // 1_000_000) << 80 | _VERSION | count << 64 | _VARIANT | random
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
