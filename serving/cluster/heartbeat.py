"""What lets others know that we live, while we have no time for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

BEAT_S: Final = 2.0
"""Between two beats: well below what counts as silence."""


@asynccontextmanager
async def beating(
    beat: Callable[[], Awaitable[None]],
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    pause_s: float = BEAT_S,
) -> AsyncIterator[None]:
    """Call `beat` again and again, for as long as the block lasts.

    Args:
        beat: Says that we live; must not fail.
        spawn: `create_task` of the process's task group.
        pause_s: Before each beat: a block that ends sooner makes none.
    """
    beats = spawn(_beat_always(beat, pause_s))
    try:
        yield
    finally:
        beats.cancel()


async def _beat_always(beat: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        await beat()
