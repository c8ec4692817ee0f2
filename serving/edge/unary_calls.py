"""Unary gRPC methods that answer whatever the client's half of the call looks like.

grpc.aio reads the one message of a unary call before it calls the handler, and never answers a call
that was half-closed without one. So each unary method is served as one that takes a stream of
messages, which is the same on the wire: the messages are counted here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import WIRE
from serving.wire import refusals

Call = Callable[[Any, Any], Awaitable[Any]]

NO_MESSAGE: Final = InvalidArgumentError(refusals.NO_MESSAGE)
SECOND_MESSAGE: Final = UnsupportedError(
    "the call has a second message: a unary call has exactly one"
)
STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


def unary_method(
    call: Call, serialize: Callable[[Any], bytes] | None = None
) -> grpc.RpcMethodHandler:
    """Build the handler of a unary method.

    Args:
        call: Takes the message's bytes and the call's context, gives the reply.
        serialize: Makes bytes of the reply; None if it is bytes.
    """

    async def answer(messages: AsyncIterator[bytes], context: Any) -> Any:  # noqa: ANN401  grpc ships no types
        only: bytes | None = None
        async for message in messages:
            if only is not None:
                await _refuse(context, SECOND_MESSAGE)
            only = message
        if only is None:
            await _refuse(context, NO_MESSAGE)
        return await call(only, context)

    return grpc.stream_unary_rpc_method_handler(answer, response_serializer=serialize)


async def _refuse(context: Any, error: InvalidArgumentError | UnsupportedError) -> None:  # noqa: ANN401  as above
    await context.abort(STATUS[WIRE[error.code].grpc], error.message)
