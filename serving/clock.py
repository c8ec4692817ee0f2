"""The only place that reads a clock."""

import time
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Time as a dependency, so that tests own it."""

    def monotonic_s(self) -> float:
        """Seconds, monotonic, of no fixed origin."""

    def utc_now(self) -> datetime:
        """The wall clock, timezone-aware UTC."""


utc_s: Final = time.time
"""Returns the wall clock, in seconds since 1970. It is read for every batch that is judged."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """Seconds, monotonic, of no fixed origin."""
        return time.monotonic()

    def utc_now(self) -> datetime:
        """The wall clock, timezone-aware UTC."""
        return datetime.now(UTC)
