"""How many streams of the gRPC front desk may be open: unary calls keep room beside them.

A stream may last for days. Those that are idle must not keep a question after health, or a load,
from being answered.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from serving.edge.unary_calls import refuse
from serving.errors import NoRoomError

MAX_STREAMS: Final = 1024

Reply = TypeVar("Reply")
Context = Any
"""What grpc hands to a method; it ships no types."""
Requests = AsyncIterator[bytes]


class StreamLimit:
    """Those of all methods together. Belongs to one event loop."""

    def __init__(self, max_count: int = MAX_STREAMS) -> None:
        """None is open."""
        self._max_count = max_count
        self._count = 0

    def writing(
        self, method: Callable[[Requests, Context], Awaitable[None]]
    ) -> Callable[[Requests, Context], Awaitable[None]]:
        """Limit a method that writes its replies to the context."""

        async def limited(requests: Requests, context: Context) -> None:
            await self._refuse_more(context)
            with self._place():
                await method(requests, context)

        return limited

    def yielding(
        self, method: Callable[[Requests, Context], AsyncIterator[Reply]]
    ) -> Callable[[Requests, Context], AsyncIterator[Reply]]:
        """Limit a method that yields its replies."""

        async def limited(requests: Requests, context: Context) -> AsyncIterator[Reply]:
            await self._refuse_more(context)
            with self._place():
                async for reply in method(requests, context):
                    yield reply

        return limited

    async def _refuse_more(self, context: Context) -> None:
        if self._count >= self._max_count:
            error = NoRoomError(
                f"{self._count} streams are open here, which is the maximum: end one, send more "
                "calls by each, or send unary calls"
            )
            await refuse(context, error)

    @contextmanager
    def _place(self) -> Iterator[None]:
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
