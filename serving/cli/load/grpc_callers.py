"""One client's connection over gRPC: unary calls, or one stream. Nothing is retried."""

import asyncio
from collections.abc import Mapping
from typing import Final

import grpc
import grpc.aio

from protos.generated import open_inference_pb2 as pb
from serving.cli.load.question import Question
from serving.cli.predict_grpc import METHOD, infer_request, read_prediction
from serving.cli.predict_http import Prediction, RefusedPredictionError
from serving.host_port import HostPort

STREAM_METHOD: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # grpcio shares one connection between channels of equal arguments: make each its own.
    ("grpc.use_local_subchannel_pool", 1),
    # What a caller without retries would see is what is written down.
    ("grpc.enable_retries", 0),
)


class GrpcCaller:
    """Asks by unary calls."""

    def __init__(
        self, address: HostPort, question: Question, limit_s: float, *, is_new: bool = False
    ) -> None:
        """Prepare the request; nothing is connected yet.

        Args:
            address: Of the server.
            question: What is asked.
            limit_s: Longest wait for an answer, seconds.
            is_new: Each request has a connection of its own.
        """
        self._address = str(address)
        self._request = infer_request(question.model, None, question.tensors)
        self._limit_s = limit_s
        self._channel = None if is_new else grpc.aio.insecure_channel(self._address, OPTIONS)

    async def infer(self, parameters: Mapping[str, int | bool]) -> Prediction:
        """Ask once.

        Args:
            parameters: Of a sequence's step; otherwise empty.

        Raises:
            RefusedPredictionError: The server or the transport refused the call.
            EngineError: The reply cannot be read.
        """
        request = _with_parameters(self._request, parameters)
        if self._channel is not None:
            return await self._called(self._channel, request)
        async with grpc.aio.insecure_channel(self._address, OPTIONS) as channel:
            return await self._called(channel, request)

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def _called(self, channel: grpc.aio.Channel, request: pb.ModelInferRequest) -> Prediction:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        try:
            return read_prediction(await call(request, timeout=self._limit_s))
        except grpc.aio.AioRpcError as error:
            raise RefusedPredictionError(f"{error.code().name}: {error.details()}") from error


class StreamCaller:
    """Asks on one stream, which is opened again only after it broke."""

    def __init__(self, address: HostPort, question: Question, limit_s: float) -> None:
        """Prepare the request; nothing is connected yet.

        Args:
            address: Of the server.
            question: What is asked.
            limit_s: Longest wait for an answer, seconds.
        """
        self._request = infer_request(question.model, None, question.tensors)
        self._limit_s = limit_s
        self._channel = grpc.aio.insecure_channel(str(address), OPTIONS)
        self._call: grpc.aio.StreamStreamCall | None = None

    async def infer(self, parameters: Mapping[str, int | bool]) -> Prediction:
        """Ask once.

        Args:
            parameters: Of a sequence's step; otherwise empty.

        Raises:
            RefusedPredictionError: The server refused the call, or the stream broke.
            EngineError: The reply cannot be read.
        """
        if self._call is None:
            self._call = self._channel.stream_stream(
                STREAM_METHOD,
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )()
        reply = await self._answer(self._call, _with_parameters(self._request, parameters))
        if reply.error_message:
            raise RefusedPredictionError(reply.error_message)
        return read_prediction(reply.infer_response)

    async def close(self) -> None:
        """Close the stream and its connection."""
        if self._call is not None:
            await self._call.done_writing()
        await self._channel.close()

    async def _answer(
        self, call: grpc.aio.StreamStreamCall, request: pb.ModelInferRequest
    ) -> pb.ModelStreamInferResponse:
        try:
            async with asyncio.timeout(self._limit_s):
                await call.write(request)
                reply: pb.ModelStreamInferResponse | object = await call.read()
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
            self._call = None
            call.cancel()
            raise RefusedPredictionError(f"the stream broke: {_told(error)}") from error
        if not isinstance(reply, pb.ModelStreamInferResponse):  # grpc.aio.EOF
            self._call = None
            code = await call.code()
            raise RefusedPredictionError(f"the stream ended: {code.name}: {await call.details()}")
        return reply


def _told(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return type(error).__name__


def _with_parameters(
    plain: pb.ModelInferRequest, parameters: Mapping[str, int | bool]
) -> pb.ModelInferRequest:
    if not parameters:
        return plain
    request = pb.ModelInferRequest()
    request.CopyFrom(plain)
    for name, value in parameters.items():
        if isinstance(value, bool):
            request.parameters[name].bool_param = value
        else:
            request.parameters[name].int64_param = value
    return request
