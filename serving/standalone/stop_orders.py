"""Which signals are an order to stop, and which of them only say it once more.

One order may come twice: who signals every process of a container reaches process 1, which hands it
on (`cli/first_process.py`), and its child; of a terminal that closes, the shell and the kernel both
tell. A person who does not want to wait takes longer than that for the second one.
"""

from collections.abc import Callable
from typing import Final

from serving.clock import Clock

SAME_ORDER_S: Final = 0.5


class StopOrders:
    """The orders that one instance has heard."""

    def __init__(
        self, clock: Clock, begin: Callable[[], None], end_at_once: Callable[[], None]
    ) -> None:
        """Hear none yet.

        Args:
            clock: Tells whether two signals are one order.
            begin: Called at the first one.
            end_at_once: Called when another one follows.
        """
        self._clock = clock
        self._begin = begin
        self._end_at_once = end_at_once
        self._first_s: float | None = None

    def hear(self) -> None:
        """A signal to end came: begin to stop; after a while, end at once."""
        if self._first_s is None:
            self.hear_hangup()
        elif self._clock.monotonic_s() - self._first_s >= SAME_ORDER_S:
            self._end_at_once()

    def hear_hangup(self) -> None:
        """The terminal has gone: begin to stop. Another one says nothing new."""
        if self._first_s is None:
            self._first_s = self._clock.monotonic_s()
            self._begin()
