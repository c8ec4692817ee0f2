"""The gRPC health checking protocol: whether the server can answer, now or at every change."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from serving.edge.desk import Desk
from serving.edge.json_body import SMALL_BODY_BYTES
from serving.edge.unary_calls import refuse, too_large
from serving.errors import NotFoundError

NAME: Final = "grpc.health.v1.Health"
LOOK_S: Final = 0.25
AGAIN_S: Final = 100.0
"""What has not changed is said again after so long: the edge ends calls that are silent."""


class Health:
    """Answers for the server as a whole and for the services that it is asked for by name."""

    def __init__(self, desk: Desk, service: str) -> None:
        """Take who knows, and the name of the inference service."""
        self._desk = desk
        self._names = frozenset({"", service})

    async def check(self, request: HealthCheckRequest, _: object) -> HealthCheckResponse:
        """Answer once.

        Raises:
            NotFoundError: There is no such service.
        """
        if request.service not in self._names:
            raise NotFoundError("unknown service: leave the name empty to ask for the server")
        return HealthCheckResponse(status=self._status(request.service))

    async def watch(
        self,
        requests: AsyncIterator[bytes],
        context: Any,  # noqa: ANN401  grpc ships no types
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer at once and at every change, until the client leaves or the server does.

        It takes a stream, of which it reads the first message: grpc waits for ever for the message
        of a call that is half-closed without one.
        """
        request = await anext(aiter(requests), None)
        if request is not None and len(request) > SMALL_BODY_BYTES:
            await refuse(context, too_large(len(request), SMALL_BODY_BYTES))
            return
        try:
            service = None if request is None else HealthCheckRequest.FromString(request).service
        except DecodeError:
            service = None
        if service is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "malformed protobuf message")
            return
        loop = asyncio.get_running_loop()
        said, said_s = None, 0.0
        drain = self._desk.drain
        while True:
            is_last = drain.has_begun  # a drain that begins while a status is written has its own
            status = self._status(service)
            if status != said or loop.time() - said_s >= AGAIN_S:
                said, said_s = status, loop.time()
                yield HealthCheckResponse(status=status)
            if is_last:
                return
            if not drain.has_begun:
                await asyncio.sleep(LOOK_S)

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus:
        if service not in self._names:
            return HealthCheckResponse.SERVICE_UNKNOWN
        serving = not self._desk.drain.has_begun and self._desk.is_ready
        return HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
