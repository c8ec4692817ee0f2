"""Messages and bodies over `max_request_bytes`: refused with both sizes, over HTTP and gRPC."""

import asyncio

import grpc
import pytest

from tests.fakes.hostile import HttpReply, ask
from tests.integration.edge.bench import fresh_edge

LIMIT_BYTES = 1 << 20


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata"])
def test_a_message_over_the_limit_is_exhausted(method: str) -> None:
    """RESOURCE_EXHAUSTED with both sizes, whoever answers; a message of the limit is read."""

    async def run() -> None:
        async with (
            fresh_edge(max_request_bytes=LIMIT_BYTES) as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(bytes(LIMIT_BYTES + 9))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (
                f"Received message larger than max ({LIMIT_BYTES + 9} vs. {LIMIT_BYTES})"
                in caught.value.details()
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(bytes(LIMIT_BYTES))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/repository/index", "/nothing"])
def test_an_announced_body_over_the_limit_is_413_in_json(path: str) -> None:
    """The same limit over HTTP: the announcement is enough."""
    size = LIMIT_BYTES + 9
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode()

    async def run() -> HttpReply:
        async with fresh_edge(max_request_bytes=LIMIT_BYTES) as bench:
            return await asyncio.to_thread(ask, str(bench.settings.http), head)

    reply = asyncio.run(run())
    assert (reply.status, reply.headers["content-type"]) == (413, "application/json")
    assert reply.error.startswith(f"Received message larger than max ({size} vs. {LIMIT_BYTES})")
