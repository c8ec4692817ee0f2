"""Streams that stay open keep nobody from being answered: health, above all."""

import asyncio
from contextlib import AsyncExitStack, suppress

import grpc
import pytest

from protos.generated import open_inference_pb2 as pb
from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from serving.edge.haproxy_config import MAX_STREAMS as PER_CONNECTION
from serving.edge.stream_limit import MAX_STREAMS
from tests.integration.edge.bench import Bench, fresh_edge, snapshot

LIMIT_S = 90.0
WATCH = "/grpc.health.v1.Health/Watch"
LIVE = "/inference.GRPCInferenceService/ServerLive"
SPARE = 10
"""Streams of a connection that are left to others."""


async def watched(channel: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall:
    """Open a stream that says something once, and stays."""
    stream = channel.unary_stream(WATCH)(HealthCheckRequest().SerializeToString())
    told = HealthCheckResponse.FromString(await stream.read())
    assert told.status == HealthCheckResponse.SERVING
    return stream


def test_open_streams_leave_room_for_unary_calls_and_for_each_other() -> None:
    """The last one more than may be open is told so; where one ends, another may begin."""

    async def scenario(bench: Bench, stack: AsyncExitStack) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        count = MAX_STREAMS // (PER_CONNECTION - SPARE) + 1
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(str(bench.settings.grpc), options=own)
            )
            for _ in range(count)
        ]
        open_ones = [await watched(channels[k % count]) for k in range(MAX_STREAMS)]
        live = await channels[0].unary_unary(LIVE)(b"", timeout=LIMIT_S)
        assert pb.ServerLiveResponse.FromString(live).live
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watched(channels[0])
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(caught.value.details()).startswith(f"{MAX_STREAMS} streams are open")
        open_ones.pop().cancel()
        while len(open_ones) < MAX_STREAMS:
            with suppress(grpc.aio.AioRpcError):  # the server has not heard yet that one ended
                open_ones.append(await watched(channels[1]))
        for stream in open_ones:
            stream.cancel()

    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), fresh_edge() as bench, AsyncExitStack() as stack:
            worker = await bench.add_worker("w0")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 3): "p"}, {"m": 3}))
            await scenario(bench, stack)

    asyncio.run(run())
