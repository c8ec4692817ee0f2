"""A watcher's loop: it looks again and again, and what goes wrong in a look does not end it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from runtimes.errors import BasculeError

log = structlog.get_logger(__name__)


async def look_always(look: Callable[[], Awaitable[None]], every_s: float, event: str) -> None:
    """Look until cancelled.

    Args:
        look: One look.
        every_s: The pause before each.
        event: What the log calls a fault. One is told once, until a look goes well or something
            else is wrong.
    """
    last_fault = ""
    while True:
        await asyncio.sleep(every_s)
        fault = ""
        try:
            await look()
        except Exception as error:
            fault = repr(error)
            if fault != last_fault:
                log.warning(event, error=fault, exc_info=not isinstance(error, BasculeError))
        last_fault = fault
