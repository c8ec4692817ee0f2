"""Time by which others' silence is measured: it stands still while we ourselves cannot listen.

A process that did not run for a while (its machine was suspended, others took its processor) finds
no fresh call of anybody when it goes on: they are waiting to be read.
"""

from typing import Final

from serving.clock import Clock

SILENCE_S: Final = 8.0
"""A replica or an edge that has said nothing for so long is gone; both call every 2 s or sooner."""
LOST_S: Final = 60.0
"""The same where calls may still go its way: a replica whose worker no other one of its pool can
stand in for, an edge whose HAProxy has routes and keeps them without it."""
LONGEST_STEP_S: Final = 5.0
"""Between two looks, even if nobody calls: less than any silence that counts."""


class Attention:
    """A clock of the seconds during which its owner looked, or was about to."""

    def __init__(self, clock: Clock) -> None:
        """Start at zero."""
        self._clock = clock
        self._last_s = clock.monotonic_s()
        self._listened_s = 0.0

    def now_s(self) -> float:
        """Return how long its owner has listened; a longer pause counts as `LONGEST_STEP_S`."""
        now_s = self._clock.monotonic_s()
        self._listened_s += min(now_s - self._last_s, LONGEST_STEP_S)
        self._last_s = now_s
        return self._listened_s
