"""What wakes those who wait for something new."""

import asyncio
from contextlib import suppress


class Bell:
    """Wakes everybody who waits for something new."""

    def __init__(self) -> None:
        """Start silent."""
        self._rung = asyncio.Event()
        self.count = 0
        """How often it has rung."""

    def ring(self) -> None:
        """Wake all who wait now."""
        self.count += 1
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, limit_s: float) -> None:
        """Return when it rings, or after the limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._rung.wait()
