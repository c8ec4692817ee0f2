"""Sends infer calls that came to the front desk into the edge again: compressed ones and streams.

Compressed messages arrive as they are: gRPC would inflate them in full, on the event loop, whatever
their size becomes. Here that is done in a thread, up to the limit of a request.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from protos.generated import open_inference_pb2 as pb
from runtimes.errors import BasculeError
from serving.errors import WIRE
from serving.wire import coding

STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}

# `parameters["triton_final_response"] = true` of a ModelInferResponse: appended to a serialized
# message it is merged into it.
FINAL_RESPONSE: Final = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()


class InferRelay:
    """Sends serialized infer calls into the edge again."""

    def __init__(self, channel: Any, path: str, max_bytes: int) -> None:  # noqa: ANN401  untyped
        """Call a gRPC method; messages may inflate to so many bytes."""
        self._call = channel.unary_unary(path)
        self._max_bytes = max_bytes

    async def infer(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401  as above
        """Answer a unary call."""
        try:
            message = await self._inflated(request)
            reply: bytes = await self._call(message, timeout=context.time_remaining())
        except BasculeError as error:
            await context.abort(STATUS[WIRE[error.code].grpc], error.message)
            raise
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise
        return reply

    async def stream(
        self,
        requests: AsyncIterator[bytes],
        _: Any,  # noqa: ANN401  as above
    ) -> AsyncIterator[bytes]:
        """Answer the calls of a stream one after the other, in its order."""
        async for request in requests:
            try:
                message = await self._inflated(request)
            except BasculeError as error:
                yield _stream_failure(b"", error.message)
                continue
            try:
                reply: bytes = await self._call(message)
            except grpc.aio.AioRpcError as error:
                yield _stream_failure(message, error.details() or "")
            else:
                yield _field(2, reply + FINAL_RESPONSE)

    async def _inflated(self, request: bytes) -> bytes:
        packing = coding.packing_of(request)
        if packing is None:
            return request
        return await asyncio.to_thread(coding.inflate, request, packing, self._max_bytes)


def _stream_failure(request: bytes, text: str) -> bytes:
    try:
        call_id = pb.ModelInferRequest.FromString(request).id
    except Exception:  # noqa: BLE001  protobuf's decoder: the message is none
        call_id = ""
    answer = pb.ModelInferResponse(id=call_id).SerializeToString() + FINAL_RESPONSE
    return _field(1, text.encode()) + _field(2, answer)


def _field(number: int, content: bytes) -> bytes:
    """Write a length-delimited protobuf field."""
    length = bytearray()
    rest = len(content)
    while rest > 0x7F:  # noqa: PLR2004  varint: seven bits a byte
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes([number << 3 | 2]) + bytes(length) + content
