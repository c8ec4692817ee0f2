"""Unary gRPC methods that answer whatever the client's half of the call looks like.

grpc.aio reads the one message of a unary call before it calls the handler, and never answers a call
that was half-closed without one. So each unary method is served as one that takes a stream of
messages, which is the same on the wire: room for a large one is made here before it is read. What
may follow the first one is left unread, whatever the size of that: it could be of any size, and
nobody has announced it. HAProxy refuses the second messages that it sees.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.edge.json_body import BODY_S, too_slow
from serving.edge.message_room import SIZE_HEADER, SMALL_BYTES, MessageRoom
from serving.errors import WIRE, NoRoomError, PayloadTooLargeError
from serving.wire import refusals

Call = Callable[[Any, Any], Awaitable[Any]]

NO_MESSAGE: Final = InvalidArgumentError(refusals.NO_MESSAGE)
STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


def unary_method(
    call: Call,
    room: MessageRoom,
    serialize: Callable[[Any], bytes] | None = None,
    *,
    max_bytes: int | None = None,
    limit_s: float = BODY_S,
) -> grpc.RpcMethodHandler:
    """Build the handler of a unary method.

    Args:
        call: Takes the message's bytes and the call's context, gives the reply.
        room: Where large messages are counted.
        serialize: Makes bytes of the reply; None if it is bytes.
        max_bytes: The largest message; None: any that the server receives.
        limit_s: The time that a message may take: while it comes it has its room.
    """

    async def first(messages: AsyncIterator[bytes], context: Any) -> bytes:  # noqa: ANN401  grpc ships no types
        try:
            async with asyncio.timeout(limit_s):
                message = await anext(aiter(messages), None)
        except TimeoutError:
            what_came = f"it announced a message of {announced_bytes(context)} bytes"
            await refuse(context, too_slow(limit_s, what_came))
            raise  # not reached: a refusal raises
        if message is None:
            await refuse(context, NO_MESSAGE)
        return message or b""

    async def answer(messages: AsyncIterator[bytes], context: Any) -> Any:  # noqa: ANN401  grpc ships no types
        size_bytes = announced_bytes(context)
        if max_bytes is not None and size_bytes > max_bytes:
            await refuse(context, too_large(size_bytes, max_bytes))
        if size_bytes <= SMALL_BYTES:
            return await call(await first(messages, context), context)
        try:
            room.take(size_bytes)
        except NoRoomError as error:
            await refuse(context, error)
        try:
            return await call(await first(messages, context), context)
        finally:
            room.give(size_bytes)

    return grpc.stream_unary_rpc_method_handler(answer, response_serializer=serialize)


def announced_bytes(context: Any) -> int:  # noqa: ANN401  as above
    """Return the size of a call's first message, as HAProxy read it; 0: it did not."""
    values = [value for key, value in context.invocation_metadata() or () if key == SIZE_HEADER]
    return int(values[0]) if values and values[0].isdigit() else 0


def too_large(size_bytes: int, max_bytes: int) -> PayloadTooLargeError:
    """Say that a message is over the limit of its call."""
    return PayloadTooLargeError(refusals.message_too_long(str(size_bytes), max_bytes))


async def refuse(context: Any, error: BasculeError) -> None:  # noqa: ANN401  as above
    """End a call with what an error is over gRPC: raises, which only grpc itself catches."""
    await context.abort(STATUS[WIRE[error.code].grpc], error.message)
