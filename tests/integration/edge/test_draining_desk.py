"""An edge on its way out: what the front desk has in flight is answered before HAProxy ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import grpc
import pytest

from protos.generated import open_inference_pb2 as pb
from protos.generated.health_pb2 import HealthCheckRequest
from protos.generated.reflection_pb2 import ServerReflectionRequest
from serving.edge.control import Snapshot
from serving.edge.edge import FOLDER
from serving.edge.haproxy_admin import AdminSocket
from serving.edge.haproxy_layout import ADMIN_SOCKET
from serving.edge.routes import RouteTable, VersionRoute
from serving.errors import NotReadyError
from serving.ids import VersionKey
from tests.fakes.waiting import until_told
from tests.integration.edge.bench import Bench, fresh_edge, snapshot, until

LIMIT_S = 90.0
DRAIN_S = 60.0
"""Far longer than the test: no drain ends because it gives up."""
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def on_an_edge(scenario: Callable[[Bench], Awaitable[None]], *, delay_s: float = 0.0) -> None:
    """Run a scenario with model m, version 3, on one worker."""

    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), fresh_edge(drain_s=DRAIN_S) as bench:
            worker = await bench.add_worker("w0", delay_s=delay_s)
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 3): "p"}, {"m": 3}))
            await scenario(bench)

    asyncio.run(run())


def admin(bench: Bench) -> AdminSocket:
    """HAProxy's runtime API."""
    return AdminSocket(bench.settings.run_dir / FOLDER / ADMIN_SOCKET)


def test_a_call_that_waits_for_a_worker_is_refused_when_the_edge_goes() -> None:
    """It is told so, as new calls are; nobody would start a worker any more."""

    async def scenario(bench: Bench) -> None:
        routes = RouteTable(
            revision=2, versions={VersionKey("z", 1): VersionRoute("p", asleep=True)}
        )
        await bench.edge.apply(Snapshot(routes=routes, ready=True))
        async with asyncio.TaskGroup() as group:
            path = "/v2/models/z/versions/1/infer"
            waiting = group.create_task(bench.ask("POST", path, b"{}"))
            await until(lambda: ("wake", "z", 1) in bench.control.asked)
            await bench.edge.drain()
        reply = waiting.result()
        assert (reply.status, json.loads(reply.body)) == (503, {"error": "Server exiting"})

    on_an_edge(scenario)


def test_a_reply_that_its_client_reads_slowly_is_waited_for() -> None:
    """Its worker has long been done: the front desk had the reply, and HAProxy passes it on."""

    async def scenario(bench: Bench) -> None:
        bench.workers["w0"].padding = "x" * (32 << 20)
        body = b'{"x": [1.0, 2.0]}'
        head = f"POST /v2/models/m/generate HTTP/1.0\r\ncontent-length: {len(body)}\r\n\r\n"
        address = bench.settings.http
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(head.encode() + body)
        (slot,) = {server.slot for server in (await admin(bench).read_state()).state.servers}
        (server,) = await admin(bench).servers_up(slot)
        await until(lambda: len(bench.workers["w0"].seen) == 1)

        async def is_idle() -> bool:
            return not await admin(bench).call_count(server)

        await until_told(is_idle, "the worker is done", excused=(NotReadyError,))
        assert await admin(bench).running_call_count() == 1
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.edge.drain())
            reply = await reader.read(-1)
            writer.close()
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["padding"] == "x" * (32 << 20)

    on_an_edge(scenario)


def test_a_stream_ends_with_its_answers_and_a_status() -> None:
    """What it has brought is answered; then its client is told that the server goes."""

    async def scenario(bench: Bench) -> None:
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            stream = channel.stream_stream(STREAM)()
            for _ in range(3):
                await stream.write(pb.ModelInferRequest(model_name="m").SerializeToString())
            await bench.workers["w0"].until_begun(3)
            async with asyncio.TaskGroup() as group:
                group.create_task(bench.edge.drain())
                replies = [await stream.read() for _ in range(3)]
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
            said = [pb.ModelStreamInferResponse.FromString(reply) for reply in replies]
            assert [one.infer_response.model_version for one in said] == ["3"] * 3
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "Server exiting"

    on_an_edge(scenario, delay_s=0.5)


def test_clients_that_only_watch_hold_nothing_up() -> None:
    """Watches of readiness and open questions about services end when the edge goes."""

    async def scenario(bench: Bench) -> None:
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(
                HealthCheckRequest().SerializeToString()
            )
            questions = channel.stream_stream(REFLECTION)()
            await questions.write(ServerReflectionRequest(list_services="").SerializeToString())
            assert await watch.read()
            assert await questions.read()
            await bench.edge.drain()

    on_an_edge(scenario)
