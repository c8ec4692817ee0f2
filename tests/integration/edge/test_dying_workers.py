"""What callers read when the worker that has their call ends: whether it may have run."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import grpc
import pytest

from protos.generated import open_inference_pb2 as pb
from tests.integration.edge.bench import Bench, fresh_edge, snapshot

MAY_HAVE_RUN = "the worker died while it ran this call; it may have been executed"
INFER = "/inference.GRPCInferenceService/ModelInfer"
LARGE = 100_000  # more than the edge keeps to send it again
SIZES = pytest.mark.parametrize("size", [2, LARGE], ids=["small", "large"])


def with_workers(names: list[str], check: Callable[[Bench], Awaitable[None]]) -> None:
    """Serve model m by workers; those called `dies…` end each call without an answer."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            pool = [await bench.add_worker(name, dies=name.startswith("dies")) for name in names]
            await bench.edge.apply(snapshot(1, {"p": pool}, {("m", 1): "p"}, {"m": 1}))
            await check(bench)

    asyncio.run(scenario())


@SIZES
def test_a_call_that_died_with_its_worker_is_internal_over_http(size: int) -> None:
    """It is 500 in JSON, without `Retry-After`: 503 would say that it did not run."""

    async def check(bench: Bench) -> None:
        reply = await bench.ask("POST", "/v2/models/m/infer", b"{}".ljust(size))
        assert (reply.status, reply.content_type) == (500, "application/json")
        assert json.loads(reply.body) == {"error": MAY_HAVE_RUN}
        assert bench.workers["dies"].begun

    with_workers(["dies"], check)


@SIZES
def test_a_call_that_died_with_its_worker_is_internal_over_grpc(size: int) -> None:
    """It is INTERNAL with the same text: clients repeat what is UNAVAILABLE."""

    async def check(bench: Bench) -> None:
        message = pb.ModelInferRequest(model_name="m", id="x" * size).SerializeToString()
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(INFER)(message)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert caught.value.details() == MAY_HAVE_RUN

    with_workers(["dies"], check)


def test_a_small_call_is_sent_to_another_worker() -> None:
    """A call of a model without memory can be run twice: with another worker it gets its answer."""

    async def check(bench: Bench) -> None:
        message = pb.ModelInferRequest(model_name="m").SerializeToString()
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            for _ in range(8):
                await channel.unary_unary(INFER)(message)
                await bench.infer("/v2/models/m/infer")
        assert bench.workers["dies"].begun

    with_workers(["dies", "stays"], check)


def test_a_call_that_no_worker_got_says_try_again() -> None:
    """Where nobody listens, nothing ran: 503 with `Retry-After`, and UNAVAILABLE."""

    async def check(bench: Bench) -> None:
        bench.worker_path("gone").unlink()
        url = f"http://{bench.settings.http}/v2/models/m/infer"
        async with bench.http.post(url, data=b"{}") as reply:
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert "not executed" in (await reply.json())["error"]
        message = pb.ModelInferRequest(model_name="m").SerializeToString()
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="not executed") as caught:
                await channel.unary_unary(INFER)(message)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    with_workers(["gone"], check)
