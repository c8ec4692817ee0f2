"""Waiting for what another process or task does, with an end in real time.

A look may take long itself, so pauses alone say little of how long has been waited.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from serving.clock import SystemClock

PATIENCE_S: Final = 90.0
"""Far more than anything takes on a machine of two processors, although others keep ours from them
for ten seconds at a time."""
PAUSE_S: Final = 0.02


def until(
    holds: Callable[[], object],
    what: str,
    *,
    limit_s: float = PATIENCE_S,
    pause_s: float = PAUSE_S,
    excused: tuple[type[Exception], ...] = (),
) -> None:
    """Return when something holds.

    Args:
        holds: Looks once.
        what: Names it in the failure.
        limit_s: For how long it is looked at.
        pause_s: Between two looks.
        excused: What a look may raise meanwhile; it counts as no.

    Raises:
        AssertionError: It did not hold within the limit; says what the last look found.
    """
    clock, pause = SystemClock(), threading.Event()
    end_s = clock.monotonic_s() + limit_s
    found: object = None
    while clock.monotonic_s() < end_s:
        try:
            found = holds()
        except excused as error:
            found = error
        else:
            if found:
                return
        pause.wait(pause_s)
    raise AssertionError(f"never came true: {what}; the last look gave {found!r}")


async def while_others_work(
    holds: Callable[[], object],
    what: str,
    *,
    limit_s: float = PATIENCE_S,
    pause_s: float = PAUSE_S,
) -> None:
    """Return when something holds that no task tells, and let the loop go on meanwhile.

    Args:
        holds: Looks once; must not block.
        what: Names it in the failure.
        limit_s: For how long it is looked at.
        pause_s: Between two looks.

    Raises:
        AssertionError: It did not hold within the limit; says what the last look found.
    """
    clock = SystemClock()
    end_s = clock.monotonic_s() + limit_s
    found: object = holds()
    while not found and clock.monotonic_s() < end_s:
        await asyncio.sleep(pause_s)
        found = holds()
    if not found:
        raise AssertionError(f"never came true: {what}; the last look gave {found!r}")


async def until_told(
    asks: Callable[[], Awaitable[object]],
    what: str,
    *,
    excused: tuple[type[Exception], ...] = (),
    limit_s: float = PATIENCE_S,
    pause_s: float = PAUSE_S,
) -> None:
    """Return when an answer is true that somebody has to be asked for, again and again.

    Args:
        asks: Asks once.
        what: Names it in the failure.
        excused: What asking may raise on a busy machine: it is asked again.
        limit_s: For how long it is asked.
        pause_s: Between two questions.

    Raises:
        AssertionError: It was not true within the limit; says what came last.
    """
    clock = SystemClock()
    end_s = clock.monotonic_s() + limit_s
    found: object = None
    while clock.monotonic_s() < end_s:
        try:
            found = await asks()
        except excused as error:
            found = error
        else:
            if found:
                return
        await asyncio.sleep(pause_s)
    raise AssertionError(f"never came true: {what}; the last answer was {found!r}")
