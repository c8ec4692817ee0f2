"""The only place that reads a clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as a dependency, so that tests own it."""

    def monotonic_s(self) -> float:
        """Seconds, monotonic, of no fixed origin."""

    def utc_now(self) -> datetime:
        """The wall clock, timezone-aware UTC."""


def utc_s() -> float:
    """Return the wall clock, in seconds since 1970."""
    return time.time()


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """Seconds, monotonic, of no fixed origin."""
        return time.monotonic()

    def utc_now(self) -> datetime:
        """The wall clock, timezone-aware UTC."""
        return datetime.now(UTC)
