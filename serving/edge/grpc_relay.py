"""Sends infer calls that came to the front desk into the edge again: packed ones, and streams'.

Compressed messages arrive as they are: gRPC would inflate them in full, on the event loop, whatever
their size becomes. Here that is done in a thread, up to the limit of a request.
"""

import asyncio
from typing import Any, Final

import grpc

from runtimes.errors import BasculeError
from serving.edge.message_room import MessageRoom
from serving.edge.trace_context import trace_context
from serving.errors import WIRE
from serving.wire import coding

STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


class InferRelay:
    """Sends serialized infer calls into the edge again."""

    def __init__(self, channel: Any, path: str, max_bytes: int, room: MessageRoom) -> None:  # noqa: ANN401  untyped
        """Call a gRPC method; messages may inflate to so many bytes, and are counted in a room."""
        self._call = channel.unary_unary(path)
        self._max_bytes = max_bytes
        self.room = room

    async def infer(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401  as above
        """Answer a unary call."""
        try:
            message = await self.inflated(request)
            reply = await self._counted(message, context)
        except BasculeError as error:
            await context.abort(STATUS[WIRE[error.code].grpc], error.message)
            raise
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise
        # grpc sends it after this returns, as fast as the client reads.
        self.room.hold(len(reply))
        context.add_done_callback(lambda _: self.room.give(len(reply)))
        return reply

    async def _counted(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401  as above
        self.room.take(len(message))
        try:
            return await self.call(message, context)
        finally:
            self.room.give(len(message))

    async def call(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401  as above
        """Send one call, which has as long as the one that it came in by.

        Raises:
            grpc.aio.AioRpcError: It failed, with the status that its caller shall see.
        """
        traced = tuple(trace_context(context.invocation_metadata() or ()).items())
        reply: bytes = await self._call(
            message, timeout=context.time_remaining(), metadata=traced or None
        )
        return reply

    async def inflated(self, request: bytes) -> bytes:
        """Decompress a message where it is packed.

        Raises:
            BasculeError: It is corrupt, or larger than a request may be.
        """
        packing = coding.packing_of(request)
        if packing is None:
            return request
        return await asyncio.to_thread(coding.inflate, request, packing, self._max_bytes)
