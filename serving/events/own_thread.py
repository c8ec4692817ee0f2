"""Runs what may block for long in a thread of its own.

The event loop's threads are few, and the controller waits for them: a DNS server or a disk that
does not answer must not take them all. Nor must it keep the process from ending: these are daemons.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread_of_its_own(work: Callable[[], T]) -> T:
    """Return what a blocking call returns, or raise what it raises.

    A caller that is cancelled does not wait for it.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # there is one where no error is

    def run() -> None:
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  it goes to whoever waits
            failed = error
        try:
            loop.call_soon_threadsafe(finish, result, failed)
        except RuntimeError:
            return  # the loop has ended, and whoever waited with it

    threading.Thread(target=run, name="events", daemon=True).start()
    return await outcome
