"""The end of what only waits, once it waits in vain. Belongs to one event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtimes.errors import BasculeError


class Interruption:
    """Begins once, and has no end."""

    def __init__(self, error: type[BasculeError], text: str) -> None:
        """Interrupt nothing yet.

        Args:
            error: What those get who wait.
            text: Its message.
        """
        self.has_begun = False
        self._error = error
        self._text = text
        self._limits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """Interrupt what waits."""
        self.has_begun = True
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def interrupts(self) -> AsyncIterator[None]:
        """Wait for something within the block, unless this begins before.

        Raises:
            BasculeError: It has begun; of the class that it was made with.
        """
        if self.has_begun:
            raise self._error(self._text)
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
            raise self._error(self._text) from None
