"""ModelStreamInfer through the edge: many calls in flight, replies in order, errors and ends."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import grpc
import pytest

from protos.generated import open_inference_pb2 as pb
from serving.edge.control import Snapshot
from serving.edge.edge import FOLDER
from serving.edge.haproxy_admin import AdminSocket
from serving.edge.haproxy_layout import ADMIN_SOCKET
from serving.edge.routes import LiveRoute, VersionRoute
from serving.edge.stream_relay import MAX_CALLS
from serving.ids import VersionKey
from tests.fakes.waiting import PATIENCE_S
from tests.integration.edge.bench import Bench, fresh_edge, snapshot

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
Replies = list[pb.ModelStreamInferResponse]


def on_an_edge(scenario: Callable[[Bench], Awaitable[None]], *, delay_s: float = 0.0) -> None:
    """Run a scenario with model m, version 3, on one worker."""

    async def run() -> None:
        async with fresh_edge() as bench, asyncio.timeout(PATIENCE_S):
            worker = await bench.add_worker("w0", delay_s=delay_s)
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 3): "p"}, {"m": 3}))
            await scenario(bench)

    asyncio.run(run())


def request(model: str = "m", call_id: str = "", sequence: int | str = 0) -> bytes:
    """Write a call without tensors: the fake worker does not look at them."""
    message = pb.ModelInferRequest(model_name=model, id=call_id)
    if isinstance(sequence, str):
        message.parameters["sequence_id"].string_param = sequence
    elif sequence:
        message.parameters["sequence_id"].int64_param = sequence
    return message.SerializeToString()


async def converse(
    bench: Bench,
    requests: Sequence[bytes],
    metadata: Sequence[tuple[str, str]] = (),
) -> Replies:
    """Send all requests, half-close, and read to the end."""

    async def sent() -> AsyncIterator[bytes]:
        for each in requests:
            yield each

    async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
        stream = channel.stream_stream(METHOD)(sent(), metadata=tuple(metadata))
        return [pb.ModelStreamInferResponse.FromString(reply) async for reply in stream]


async def held_until(bench: Bench, count: int, talk: Awaitable[Replies]) -> Replies:
    """Let a worker answer nothing until so many calls are there; return what a stream heard."""
    worker = bench.workers["w0"]
    worker.gate.clear()
    heard = asyncio.ensure_future(talk)
    await worker.until_begun(count)
    worker.gate.set()
    return await heard


def test_calls_of_a_stream_are_in_flight_together() -> None:
    """A client that half-closes gets every reply, each final; its calls were there at once."""

    async def scenario(bench: Bench) -> None:
        replies = await held_until(bench, 20, converse(bench, [request()] * 20))
        assert [reply.infer_response.model_version for reply in replies] == ["3"] * 20
        final = [r.infer_response.parameters["triton_final_response"].bool_param for r in replies]
        assert all(final)
        assert bench.workers["w0"].busiest_count == 20

    on_an_edge(scenario)


def test_a_stream_has_a_bounded_number_of_calls_in_flight() -> None:
    """What a client sends beyond the window waits; all is answered."""

    async def scenario(bench: Bench) -> None:
        talk = converse(bench, [request()] * (3 * MAX_CALLS))
        replies = await held_until(bench, MAX_CALLS, talk)
        assert len(replies) == 3 * MAX_CALLS
        assert bench.workers["w0"].busiest_count == MAX_CALLS

    on_an_edge(scenario)


def test_replies_keep_the_order_of_the_calls() -> None:
    """A call that fails at once is answered after the slow ones before it, with its id."""

    async def scenario(bench: Bench) -> None:
        calls = [request(), request("unknown", "r1"), request(), request("unknown", "r2")]
        replies = await converse(bench, calls)
        assert [bool(reply.error_message) for reply in replies] == [False, True, False, True]
        assert [replies[1].infer_response.id, replies[3].infer_response.id] == ["r1", "r2"]
        assert "Request for unknown model: 'unknown' is not found" in replies[1].error_message
        assert replies[1].infer_response.parameters["triton_final_response"].bool_param

    on_an_edge(scenario, delay_s=0.2)


@pytest.mark.parametrize("sequence", [7, "seven"], ids=["number", "text"])
def test_calls_of_a_sequence_go_one_after_the_other(sequence: int | str) -> None:
    """The next call of a sequence leaves when the one before has its answer."""

    async def scenario(bench: Bench) -> None:
        await converse(bench, [request(sequence=sequence, call_id=f"{n}") for n in range(8)])
        worker = bench.workers["w0"]
        assert worker.busiest_count == 1
        bodies = [pb.ModelInferRequest.FromString(call.body[5:]).id for call in worker.seen]
        assert bodies == [f"{n}" for n in range(8)]

    on_an_edge(scenario, delay_s=0.01)


def test_sequences_of_a_stream_do_not_wait_for_each_other() -> None:
    """Two sequences, sent in turns, are in flight together."""

    async def scenario(bench: Bench) -> None:
        talk = converse(bench, [request(sequence=1 + n % 2) for n in range(8)])
        await held_until(bench, 2, talk)
        assert bench.workers["w0"].busiest_count == 2

    on_an_edge(scenario)


def test_packed_and_broken_messages_are_answered_in_turn() -> None:
    """A compressed call runs; what cannot be unpacked is an answer with an error."""

    async def scenario(bench: Bench) -> None:
        packed = zlib.compress(request())
        replies = await converse(bench, [packed, packed[:-3], request()])
        assert [bool(reply.error_message) for reply in replies] == [False, True, False]
        assert "inconsistent stream state" in replies[1].error_message

    on_an_edge(scenario)


def test_a_strict_stream_ends_with_its_first_failure() -> None:
    """With `triton_grpc_error` a failed call is the status of the stream."""

    async def scenario(bench: Bench) -> None:
        calls = [request(), request("unknown"), *[request()] * 50]
        talk = converse(bench, calls, [("triton_grpc_error", "true")])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            # grpc.aio tells INTERNAL where a stream ends while it writes: all has come before.
            await held_until(bench, len(calls) - 1, talk)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert "'unknown' is not found" in str(caught.value.details())

    on_an_edge(scenario)


def test_a_client_that_cancels_drops_its_calls() -> None:
    """The worker's calls are taken back, and the edge goes on answering others."""

    async def scenario(bench: Bench) -> None:
        worker = bench.workers["w0"]
        async with grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel:
            stream = channel.stream_stream(METHOD)()
            for _ in range(5):
                await stream.write(request())
            await worker.until_begun(5)
            stream.cancel()
        worker.delay_s = 0.0
        assert len(await converse(bench, [request()])) == 1
        assert len(worker.seen) == 1

    on_an_edge(scenario, delay_s=10 * PATIENCE_S)


def test_the_key_of_a_call_that_goes_through_the_front_desk_decides() -> None:
    """Streams, compressed and `generate` calls get the version that a plain one with it gets."""

    async def scenario() -> None:
        async with fresh_edge(sticky_headers=("x-user",)) as bench, asyncio.timeout(PATIENCE_S):
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            live = LiveRoute(1, candidate=2, candidate_share=5_000, sticky_by="x-user")
            versions = {("m", 1): "p1", ("m", 2): "p2"}
            await bench.edge.apply(snapshot(1, {"p1": [one], "p2": [two]}, versions, {"m": live}))
            for user in map(str, range(20)):
                plain = await bench.version_of("/v2/models/m/infer", x_user=user)
                streamed = await converse(bench, [request()], [("x-user", user)])
                packed = await compressed(bench, [("x-user", user)])
                flat = await bench.version_of("/v2/models/m/generate", x_user=user)
                assert [streamed[0].infer_response.model_version, packed, flat] == [plain] * 3

    asyncio.run(scenario())


async def compressed(bench: Bench, metadata: Sequence[tuple[str, str]]) -> str:
    """Return the version that answers a compressed call."""
    async with grpc.aio.insecure_channel(
        str(bench.settings.grpc), compression=grpc.Compression.Gzip
    ) as channel:
        call = channel.unary_unary(METHOD.replace("Stream", ""))
        message = request(call_id="0" * 1000)  # worth being compressed
        reply = pb.ModelInferResponse.FromString(await call(message, metadata=tuple(metadata)))
        return reply.model_version


def test_calls_of_streams_that_wait_for_a_worker_are_in_nobodys_way() -> None:
    """As many as may wait for a version: others' calls go on meanwhile, and they do in the end."""

    async def scenario() -> None:
        async with fresh_edge() as bench, asyncio.timeout(PATIENCE_S):
            worker = await bench.add_worker("w0")
            awake = snapshot(
                2,
                {"p": [worker], "q": [worker]},
                {("m", 3): "p", ("z", 1): "q"},
                {"m": 3, "z": 1},
            )
            await bench.edge.apply(with_asleep(awake, VersionKey("z", 1)))
            async with asyncio.TaskGroup() as group:
                calls = [request("z")] * MAX_CALLS
                waiting = [group.create_task(converse(bench, calls)) for _ in range(4)]
                while await count_at_the_front_desk(bench) < 4 + 4 * MAX_CALLS:
                    pass
                other = await converse(bench, [request("m")])
                assert not any(stream.done() for stream in waiting)
                await bench.edge.apply(awake)
            answers = [reply for stream in waiting for reply in stream.result()]
            assert other[0].infer_response.model_version == "3"
            assert [reply.infer_response.model_version for reply in answers] == ["1"] * len(answers)
            assert len(answers) == 4 * MAX_CALLS

    asyncio.run(scenario())


def with_asleep(told: Snapshot, key: VersionKey) -> Snapshot:
    """The same, but for one version without a worker: calls wait for one."""
    pool = told.routes.versions[key].pool or ""
    versions = {**told.routes.versions, key: VersionRoute(pool, asleep=True)}
    routes = replace(
        told.routes, revision=1, pools={**told.routes.pools, pool: ()}, versions=versions
    )
    return replace(told, routes=routes)


async def count_at_the_front_desk(bench: Bench) -> int:
    """Return how many gRPC calls the front desk has now, streams among them."""
    admin = AdminSocket(bench.settings.run_dir / FOLDER / ADMIN_SOCKET)
    head, row, *_ = (await admin.ask("show stat front_desk_grpc 2 -1")).splitlines()
    names = head.removeprefix("# ").split(",")
    return int(dict(zip(names, row.split(","), strict=False))["scur"])
