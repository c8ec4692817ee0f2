"""Pure: how long a worker has said nothing, as far as we would have heard it."""

from typing import Final

LATE_S: Final = 2.5
"""A question that ends so much later than its limit shows that we were busy: an answer may have
lain there unread. (aiohttp rounds limits up to whole seconds.)"""


class Silence:
    """Of one worker."""

    def __init__(self, now_s: float) -> None:
        """It begins now, with nothing said."""
        self._since_s = now_s

    def end(self, now_s: float) -> None:
        """It has said something."""
        self._since_s = now_s

    def hung_s(self, asked_s: float, limit_s: float, now_s: float) -> float:
        """Return for how long a worker that did not answer hangs; 0: that is not proven.

        Args:
            asked_s: When the question began that was not answered.
            limit_s: How long it may be silent, and how long the question could have taken.
            now_s: Now.
        """
        if now_s - asked_s > limit_s + LATE_S:
            self._since_s = now_s
            return 0.0
        silent_s = now_s - self._since_s
        return silent_s if silent_s >= limit_s else 0.0
