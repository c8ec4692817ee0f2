"""Health to watch and services to discover, as generic gRPC clients ask for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from protos.generated.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from tests.fakes.waiting import PATIENCE_S
from tests.integration.edge.bench import Bench, fresh_edge, snapshot

SERVICE = "inference.GRPCInferenceService"
SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", SERVICE]


@asynccontextmanager
async def watching(bench: Bench, service: str) -> AsyncIterator[Callable[[], object]]:
    """Open a watch; what is yielded gives the next status."""
    async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )(HealthCheckRequest(service=service))
        yield watch.read
        watch.cancel()


@pytest.mark.parametrize("service", ["", SERVICE], ids=["server", "service"])
def test_a_watch_tells_every_change(service: str) -> None:
    """Not ready, ready, draining: each once, at once."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            fresh_edge() as bench,
            watching(bench, service) as next_status,
        ):
            before = await next_status()  # type: ignore[misc]  # grpc ships no types
            await bench.edge.apply(snapshot(1, {}, {}, {}))
            ready = await next_status()  # type: ignore[misc]  # as above
            async with asyncio.TaskGroup() as group:
                group.create_task(bench.edge.drain())
                ended = await next_status()  # type: ignore[misc]  # as above
                watched = [before.status, ready.status, ended.status]
                assert watched == [
                    HealthCheckResponse.NOT_SERVING,
                    HealthCheckResponse.SERVING,
                    HealthCheckResponse.NOT_SERVING,
                ]

    asyncio.run(run())


def test_an_unknown_service_is_watched_and_not_checked() -> None:
    """Watch says SERVICE_UNKNOWN, Check is NOT_FOUND, as the protocol has it."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            fresh_edge() as bench,
            watching(bench, "nobody") as next_status,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            told = await next_status()  # type: ignore[misc]  # grpc ships no types
            assert told.status == HealthCheckResponse.SERVICE_UNKNOWN
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/grpc.health.v1.Health/Check")(
                    HealthCheckRequest(service="nobody").SerializeToString()
                )
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    asyncio.run(run())


def test_a_client_builds_its_calls_from_reflection_alone() -> None:
    """It finds the services, the method's messages and those that they import, and can call."""

    def discover(address: str) -> str:
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert sorted(database.get_services()) == SERVICES
            pool = DescriptorPool(database)
            service = pool.FindServiceByName(SERVICE)
            assert len(service.methods) == 20
            assert pool.FindMessageTypeByName("inference.ModelConfig").fields_by_name["platform"]
            method = service.FindMethodByName("ServerLive")
            name: str = method.output_type.full_name
            return name

    async def run() -> None:
        async with fresh_edge() as bench:
            found = await asyncio.to_thread(discover, str(bench.settings.grpc))
            assert found == "inference.ServerLiveResponse"

    asyncio.run(run())


def test_both_names_of_reflection_answer_every_kind_of_question() -> None:
    """What is there is told; what is not is NOT_FOUND in the reply, and the stream goes on."""
    questions = [
        ServerReflectionRequest(host="h", list_services=""),
        ServerReflectionRequest(file_containing_symbol=f"{SERVICE}.ModelInfer"),
        ServerReflectionRequest(file_by_filename="no/such.proto"),
        ServerReflectionRequest(all_extension_numbers_of_type="inference.ModelConfig"),
        ServerReflectionRequest(
            file_containing_extension={"containing_type": "x", "extension_number": 1}
        ),
        ServerReflectionRequest(file_by_filename="protos/generated/health.proto"),
        ServerReflectionRequest(),
    ]

    async def ask(channel: grpc.aio.Channel, name: str) -> list[str]:
        call = channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )(iter(questions))
        return [reply.WhichOneof("message_response") async for reply in call]

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            for version in ("v1", "v1alpha"):
                kinds = await ask(channel, f"grpc.reflection.{version}.ServerReflection")
                assert kinds == [
                    "list_services_response",
                    "file_descriptor_response",
                    "error_response",
                    "all_extension_numbers_response",
                    "error_response",
                    "file_descriptor_response",
                    "error_response",
                ]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("grpc.health.v1.Health/Watch", [b"\xff\xff"]),
        ("grpc.health.v1.Health/Watch", []),
        ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", [b"\xff\xff"]),
    ],
    ids=["watch", "watch-without-message", "reflection"],
)
def test_bytes_that_are_no_message_are_the_clients_mistake(path: str, sent: list[bytes]) -> None:
    """INVALID_ARGUMENT, not an error of the server."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            call = channel.stream_stream(f"/{path}")(iter(sent))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(run())
