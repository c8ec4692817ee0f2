"""Fast path. Keeps the loop awake for a moment after a short run, where that pays.

A loop that has nothing to do sleeps in the kernel. Waking it costs the next call some 20 µs, most
of it on virtual machines, where an idle processor is given back to the host. A closed loop of one
client asks again within 100 µs. So the loop looks for work, again and again, for so long; where no
call came in that time, the next chances are let pass, each time twice as many, and where others
want the processor, looking ends at once. So it does where many calls come together: there, the next
ones come anyway, and the processor is worth more to whoever sends them.
"""

import asyncio
from collections.abc import Callable
from typing import Final

MAX_MISSES: Final = 6
"""After so many in a row one chance in 64 is taken."""
FEW_CALLS: Final = 4
"""With more in a batch, at 32 connections, sleeping made 1.11 of the calls/s (2 cores)."""
PREEMPTED_NS: Final = 50_000
"""A turn of a loop without work takes some 3 µs: after such a one somebody else ran."""


class BusyPolling:
    """The loop's. Belongs to its thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int], limit_ns: int
    ) -> None:
        """Sleep as ever, until `renew` is called; with a limit of 0 after that, too."""
        self._loop = loop
        self._now_ns = now_ns
        self._limit_ns = limit_ns
        self._is_polling = False
        self._is_renewed = False
        self._until_ns = 0
        """Set while it looks."""
        self._looked_ns = 0
        self._missed_count = 0
        self._skipped_count = 0 if limit_ns else -1

    def renew(self, call_count: int) -> None:
        """Stay awake from now on if few calls are being answered: their clients may ask again."""
        if call_count > FEW_CALLS:
            self._until_ns = min(self._until_ns, 1)
            return
        if self._skipped_count:
            if self._skipped_count > 0:
                self._skipped_count -= 1
            return
        self._is_renewed = True
        if not self._is_polling:
            self._is_polling = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Have the loop look for work once more, unless it has looked for long enough."""
        now_ns = self._now_ns()
        if self._is_renewed:
            self._is_renewed = False
            if self._until_ns:
                self._missed_count = 0
            self._until_ns = now_ns + self._limit_ns
        elif now_ns >= self._until_ns or now_ns - self._looked_ns > PREEMPTED_NS:
            self._is_polling = False
            self._until_ns = 0
            self._missed_count = min(self._missed_count + 1, MAX_MISSES)
            self._skipped_count = (1 << self._missed_count) - 1
            return
        self._looked_ns = now_ns
        self._loop.call_soon(self._look)
