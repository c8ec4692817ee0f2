"""Messages that are made to hurt: through the edge they cost their sender a plain refusal."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import grpc
import pytest

from serving.edge.haproxy_config import BUFFER_BYTES
from serving.edge.json_body import SMALL_BODY_BYTES
from serving.edge.message_room import MAX_MESSAGES_BYTES
from tests.fakes.waiting import PATIENCE_S
from tests.integration.edge.bench import Bench, fresh_edge

BOMB_BYTES = 32 << 20
LARGE_BYTES = 100_000


@pytest.mark.parametrize(
    ("method", "packed"),
    [
        ("ModelInfer", gzip.compress(bytes(BOMB_BYTES))),
        ("ModelInfer", gzip.compress(bytes(1000))[:-9]),
        ("ModelMetadata", gzip.compress(bytes(BOMB_BYTES))),
        ("ModelMetadata", zlib.compress(b"\xff" * 1000)),
    ],
    ids=["an infer bomb", "a broken infer stream", "a bomb for the front desk", "no gzip"],
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


@pytest.mark.parametrize("headers", [{}, {"te": "trailers"}, {"te": "gzip"}], ids=str)
def test_a_call_that_says_nothing_of_trailers_is_answered(headers: dict[str, str]) -> None:
    """As a worker answers one, and on either port: nobody is told that we ended."""

    async def run() -> list[str]:
        async with fresh_edge() as bench:
            statuses = []
            for address in (bench.settings.http, bench.settings.grpc):
                url = f"http://{address}/inference.GRPCInferenceService/ServerLive"
                sent = {"content-type": "application/grpc", **headers}
                async with bench.http.post(url, data=bytes(5), headers=sent) as reply:
                    assert reply.status == 200
                    assert await reply.read() == b"\0\0\0\0\x02\x08\x01"
                    statuses.append(reply.headers.get("grpc-status", "in the trailers"))
            return statuses

    assert asyncio.run(run()) == ["in the trailers"] * 2


async def announced(size_bytes: int, may_end: asyncio.Event) -> AsyncIterator[bytes]:
    """A message of which no more comes than HAProxy waits for."""
    yield b"\0" + size_bytes.to_bytes(4, "big") + bytes(BUFFER_BYTES)
    await may_end.wait()


async def load_status(bench: Bench, body: bytes | AsyncIterator[bytes]) -> str:
    """Ask for a load, which may be large; return the status."""
    url = f"http://{bench.settings.http}/inference.GRPCInferenceService/RepositoryModelLoad"
    headers = {"content-type": "application/grpc", "te": "trailers"}
    async with bench.http.post(url, data=body, headers=headers) as reply:
        return reply.headers["grpc-status"]


def test_announced_messages_have_room_before_they_are_read() -> None:
    """While one announces all of it, large ones are refused and small ones read; then all are."""
    large = b"\0" + LARGE_BYTES.to_bytes(4, "big") + b"\xff" * LARGE_BYTES
    full = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    read = str(grpc.StatusCode.INVALID_ARGUMENT.value[0])  # it is no protobuf

    async def hold(bench: Bench) -> None:
        """Announce all of it, again if a large one was in there first."""
        while await load_status(bench, announced(MAX_MESSAGES_BYTES, asyncio.Event())) == full:
            pass

    async def run() -> str:
        async with fresh_edge() as bench, asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            holder = group.create_task(hold(bench))
            while await load_status(bench, large) != full:
                pass
            small = await load_status(bench, b"\0\0\0\0\1\xff")
            holder.cancel()
            while await load_status(bench, large) != read:
                pass
            return small

    assert asyncio.run(run()) == read


@pytest.mark.parametrize("method", ["LogSettings", "RepositoryModelUnload", "ModelMetadata"])
def test_a_call_without_files_has_no_large_message(method: str) -> None:
    """60 MB of empty settings took ten seconds of the front desk, and gigabytes."""

    async def run() -> None:
        async with (
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.aio.AioRpcError, match=rf"vs\. {SMALL_BODY_BYTES}\)") as caught:
                await call(b"\x0a\x00" * SMALL_BODY_BYTES)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(run())


@pytest.mark.parametrize(
    "method",
    [
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
def test_a_question_of_a_stream_is_small(method: str) -> None:
    """Nobody announces the size of a stream's message: it is not decoded when it has come."""

    async def run() -> None:
        async with (
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            call = channel.stream_stream(f"/{method}")(iter([b"\x0a\x00" * SMALL_BODY_BYTES]))
            with pytest.raises(
                grpc.aio.AioRpcError, match="Received message larger than max"
            ) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(run())
