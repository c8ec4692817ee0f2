"""Whether the server is on its way out, and the end of what would wait for more until then.

Calls in flight are finished. What only waits, for a worker or for the next message of a stream, is
told that the server goes: nothing else would end it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.errors import DrainingError
from serving.wire import refusals


class Drain:
    """Begins once, and has no end. Belongs to one event loop."""

    def __init__(self) -> None:
        """The server stays."""
        self.has_begun = False
        self._limits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """The server is on its way out: interrupt what waits."""
        self.has_begun = True
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def interrupts(self) -> AsyncIterator[None]:
        """Wait for something within the block, unless the server goes before.

        Raises:
            DrainingError: It is on its way out.
        """
        if self.has_begun:
            raise DrainingError(refusals.SERVER_EXITING)
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DrainingError(refusals.SERVER_EXITING) from None
