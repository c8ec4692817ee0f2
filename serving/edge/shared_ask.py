"""One question for all who ask at a time: a crowd costs no more than two of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAsk(Generic[T]):
    """Asks again only for those who came when the last question was on its way already.

    What one gets was asked for after it came: it has all that had happened by then. Belongs to one
    event loop.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        """Ask nothing yet."""
        self._ask = ask
        self._one_at_a_time = asyncio.Lock()
        self._begun_count = 0
        self._answer: tuple[int, T] | None = None
        """The last one, and which question it is of."""

    async def __call__(self) -> T:
        """Return an answer to a question that was asked from now on."""
        begun_before = self._begun_count
        async with self._one_at_a_time:
            if self._answer is not None and self._answer[0] > begun_before:
                return self._answer[1]
            self._begun_count += 1
            number = self._begun_count
            answer = await self._ask()
            self._answer = number, answer
            return answer
