"""Calls that may never return: in a thread of their own, which nobody waits for at the end.

A driver whose GPU has failed can hold a call for ever. One of the pool's threads would be lost with
each try, and an interpreter that ends waits for those.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from serving.errors import NotReadyError

T = TypeVar("T")


class LoneThread:
    """One call at a time; belongs to one event loop."""

    def __init__(self, name: str) -> None:
        """Call nothing yet.

        Args:
            name: Who is asked, for people.
        """
        self._name = name
        self._running: Future[object] | None = None

    async def call(self, body: Callable[[], T], limit_s: float) -> T:
        """Return what a blocking function returns, or raise what it raises.

        Raises:
            NotReadyError: It takes longer, or an earlier call does not end.
        """
        if self._running is not None and not self._running.done():
            raise NotReadyError(f"{self._name} does not answer: an earlier question still waits")
        answer: Future[T] = Future()
        self._running = answer  # type: ignore[assignment]  # only asked whether it is done
        threading.Thread(target=_answer, args=(body, answer), name=self._name, daemon=True).start()
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise NotReadyError(f"{self._name} has not answered for {limit_s:g} s") from None


def _answer(body: Callable[[], T], answer: "Future[T]") -> None:
    if not answer.set_running_or_notify_cancel():  # whoever asked has left already
        return
    try:
        answer.set_result(body())
    except BaseException as error:  # noqa: BLE001  whoever asked gets it
        answer.set_exception(error)
