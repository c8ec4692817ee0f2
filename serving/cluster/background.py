"""The task group of an actor: Serve calls methods, and nobody runs a main function.

`Background` is that main function. Its one task holds the group; when any task in the group fails,
all end, and `raise_if_failed` lets the actor's health check say why, so that Serve replaces it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from runtimes.errors import BasculeError

log = structlog.get_logger(__name__)


class Background:
    """Runs coroutines together, for as long as the actor lives."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._root: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._failure = ""

    def spawn(self, body: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one more task in the group; only from a task of the group.

        Raises:
            RuntimeError: The group does not run.
        """
        if self._group is None:
            raise RuntimeError("nothing runs in the background yet")
        return self._group.create_task(body)

    def start(self, *bodies: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run these functions in one task group, on the running loop."""
        # The group's own task: the actor has no main coroutine that could hold it.
        self._root = asyncio.get_running_loop().create_task(self._run(bodies))

    async def until(self, awaitable: Awaitable[object]) -> None:
        """Wait for something that the group brings about.

        Raises:
            RuntimeError: The group failed before.
        """
        waiting = asyncio.ensure_future(awaitable)
        if self._root is not None:
            await asyncio.wait({waiting, self._root}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """Raise if the group has ended by a failure.

        Raises:
            RuntimeError: It has.
        """
        if self._failure:
            raise RuntimeError(self._failure)

    async def stop(self) -> None:
        """Cancel everything and wait for its end."""
        if self._root is not None:
            self._root.cancel()
            await asyncio.wait({self._root})

    async def _run(self, bodies: tuple[Callable[[], Coroutine[Any, Any, None]], ...]) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                for body in bodies:
                    self._group.create_task(body())
        except* Exception as group:
            first = _first(group)
            self._failure = first.message if isinstance(first, BasculeError) else repr(first)
            log.exception("actor_failed")


def _first(error: BaseException) -> BaseException:
    """Return the failure that made the others be cancelled."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
