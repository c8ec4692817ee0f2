"""How a program of ours ends when it is told to: SIGTERM unwinds it, as Ctrl-C does.

So does SIGHUP, of a terminal that is closed, unless it is ignored, as `nohup` asks for. Python
itself would vanish at once: temporary folders stay then, and children go on.
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


def unwind_when_told() -> None:
    """Let the signals raise `SystemExit` in the main thread, from which this must be called."""
    for number in _heeded():
        signal.signal(number, _unwind)


def run_unwinding(main: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop what the signals end where it waits; `SystemExit` follows.

    Raised anywhere else, in the midst of starting a process, it would lose that process. To be
    called from the main thread.
    """
    before = {number: signal.getsignal(number) for number in _heeded()}
    told: signal.Signals | None = None

    async def heeding() -> T:
        task = asyncio.current_task()

        def end(number: signal.Signals) -> None:
            nonlocal told
            if task is not None and told is None:  # told again, it is on its way
                told = number
                task.cancel()

        for number in before:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        return await main

    try:
        return asyncio.run(heeding())
    except asyncio.CancelledError:
        if told is not None:
            sys.exit(128 + told)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> tuple[signal.Signals, ...]:
    """Return the signals that end a program of ours, all but Ctrl-C's."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGHUP)


def _unwind(number: int, _: FrameType | None) -> NoReturn:
    if number == signal.SIGHUP:  # the shell and the kernel may both tell of one closed terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(128 + number)
