"""Messages that are made to hurt: through the edge they cost their sender a plain refusal."""

import asyncio
import gzip
import zlib

import grpc
import pytest

from tests.integration.edge.bench import fresh_edge

BOMB_BYTES = 32 << 20


@pytest.mark.parametrize(
    ("method", "packed"),
    [
        ("ModelInfer", gzip.compress(bytes(BOMB_BYTES))),
        ("ModelInfer", gzip.compress(bytes(1000))[:-9]),
        ("ModelMetadata", gzip.compress(bytes(BOMB_BYTES))),
        ("ModelMetadata", zlib.compress(b"\xff" * 1000)),
    ],
)
def test_a_compressed_message_inflates_to_no_more_than_the_limit(
    method: str, packed: bytes
) -> None:
    """A bomb or a broken stream is the client's mistake, and costs the limit at most."""
    frame = b"\x01" + len(packed).to_bytes(4, "big") + packed

    headers = {
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-encoding": "gzip" if packed[:1] == b"\x1f" else "deflate",
    }

    async def run() -> str:
        async with fresh_edge(max_request_bytes=1 << 20) as bench:
            url = f"http://{bench.settings.http}/inference.GRPCInferenceService/{method}"
            async with bench.http.post(url, data=frame, headers=headers) as reply:
                return reply.headers["grpc-status"]

    assert asyncio.run(run()) == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])


def test_a_message_that_is_no_protobuf_is_the_clients_mistake() -> None:
    """INVALID_ARGUMENT, and no class of the implementation in the text."""

    async def run() -> None:
        async with (
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="malformed protobuf message") as caught:
                await channel.unary_unary("/inference.GRPCInferenceService/ModelConfig")(b"\xff")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(run())
