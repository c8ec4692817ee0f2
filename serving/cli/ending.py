"""How a program of ours ends when it is told to: SIGTERM unwinds it, as Ctrl-C does.

Python itself would vanish at once: temporary folders stay then, and children go on.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


def unwind_at_sigterm() -> None:
    """Let SIGTERM raise `SystemExit` in the main thread, from which this must be called."""
    signal.signal(signal.SIGTERM, _unwind)


def run_unwinding(main: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop what SIGTERM ends where it waits; `SystemExit` follows.

    Raised anywhere else, in the midst of starting a process, it would lose that process. To be
    called from the main thread.
    """
    before, is_told = signal.getsignal(signal.SIGTERM), False

    async def heeding() -> T:
        task = asyncio.current_task()

        def end() -> None:
            nonlocal is_told
            if task is not None and not is_told:  # told again, it is on its way
                is_told = True
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await main

    try:
        return asyncio.run(heeding())
    except asyncio.CancelledError:
        if is_told:
            sys.exit(128 + signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _unwind(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
