"""Which worker and version a call reaches, and what is answered when none does."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from serving.edge.routes import LiveRoute
from tests.fakes.waiting import PATIENCE_S
from tests.integration.edge.bench import Bench, fetch, fresh_edge, snapshot

NAMES = ("m", "m a", "50% ü", "a+b&c")


async def publish_names(bench: Bench) -> None:
    """Route every name's version 1 to one worker; `late` is not ready, `dead` has nothing."""
    worker = await bench.add_worker("w0")
    versions: dict[tuple[str, int], str | None] = {(name, 1): "p" for name in NAMES}
    live: dict[str, LiveRoute | int | None] = dict.fromkeys(NAMES, 1)
    await bench.edge.apply(
        snapshot(
            1,
            {"p": [worker]},
            {**versions, ("m", 2): None, ("late", 3): None},
            {**live, "late": 3, "dead": None},
        )
    )


def on_an_edge(scenario: Callable[[Bench], Awaitable[None]], **settings: object) -> None:
    """Run a scenario on a fresh edge that knows the names."""

    async def run() -> None:
        async with fresh_edge(**settings) as bench:
            await publish_names(bench)
            await scenario(bench)

    asyncio.run(run())


def grpc_infer(bench: Bench, model: str, version: str = "", **more: object) -> object:
    """Send one infer call by tritonclient. Blocks."""
    client = triton_grpc.InferenceServerClient(str(bench.settings.grpc))
    try:
        tensor = triton_grpc.InferInput("x", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))
        return client.infer(model, [tensor], version, **more).get_response()
    finally:
        client.close()


def test_the_edge_says_which_version_answers() -> None:
    """A worker gets the version from the route's value; a header that the client sent is gone."""

    async def scenario(bench: Bench) -> None:
        await bench.ask("POST", "/v2/models/m/infer?x=1", b"{}", bascule_version="77")
        await bench.ask("POST", "/v2/models/m/versions/001/infer", b"{}", bascule_version="77")
        chosen = [call.headers["bascule-version"] for call in bench.workers["w0"].seen]
        assert chosen == ["1", "1"]

    on_an_edge(scenario)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_routed_on_both_transports(name: str) -> None:
    """Names with blanks, percent signs and letters of any language reach their worker."""

    async def scenario(bench: Bench) -> None:
        http = triton_http.InferenceServerClient(str(bench.settings.http))
        tensor = triton_http.InferInput("x", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))
        try:
            await asyncio.to_thread(http.infer, name, [tensor])
        finally:
            http.close()
        reply = await asyncio.to_thread(grpc_infer, bench, name)
        assert (reply.model_version, len(bench.workers["w0"].seen)) == ("1", 2)

    on_an_edge(scenario)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("zz/infer", 404, "Request for unknown model: 'zz' is not found"),
        ("z%22%20%25/infer", 404, "Request for unknown model: 'z\\\" %' is not found"),
        ("m/versions/9/infer", 404, "Request for unknown model: 'm' version 9 is not found"),
        (
            "m/versions/18446744073709551617/infer",
            404,
            "Request for unknown model: 'm' version 18446744073709551617 is not found",
        ),
        ("zz/versions/9/infer", 404, "Request for unknown model: 'zz' is not found"),
        ("dead/infer", 404, "Request for unknown model: 'dead' has no available versions"),
        (
            "m/versions/2/infer",
            503,
            "Request for unknown model: 'm' version 2 is not at ready state",
        ),
        ("late/infer", 503, "Request for unknown model: 'late' version 3 is not at ready state"),
        ("m/versions/x/infer", 404, "Not Found"),
        ("m/versions/+1/infer", 404, "Not Found"),
        ("m/infer/", 404, "Not Found"),
    ],
)
def test_a_wrong_name_is_refused_in_the_protocols_words(path: str, status: int, text: str) -> None:
    """HTTP: status, exactly `application/json`, and the text that clients look for."""

    async def scenario(bench: Bench) -> None:
        answer = await bench.ask("POST", f"/v2/models/{path}", b"{}")
        expected = f'{{"error":"{text}"}}'.encode()
        assert (answer.status, answer.content_type, answer.body) == (
            status,
            "application/json",
            expected,
        )

    on_an_edge(scenario)


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("zz 50%ü", "", "NOT_FOUND", "Request for unknown model: 'zz 50%ü' is not found"),
        ("m", "9", "NOT_FOUND", "Request for unknown model: 'm' version 9 is not found"),
        ("dead", "", "NOT_FOUND", "Request for unknown model: 'dead' has no available versions"),
        (
            "m",
            "2",
            "UNAVAILABLE",
            "Request for unknown model: 'm' version 2 is not at ready state",
        ),
        (
            "m",
            "a",
            "INVALID_ARGUMENT",
            (
                "failed to get model version from specified version string 'a' (details: not a "
                "decimal number), version should be an integral value > 0"
            ),
        ),
        (
            "m",
            "-1",
            "INVALID_ARGUMENT",
            "invalid model version specified '-1' , version should be an integral value > 0",
        ),
    ],
)
def test_a_wrong_name_is_refused_on_grpc(model: str, version: str, code: str, text: str) -> None:
    """gRPC: a status of its own and the same text as HTTP."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(InferenceServerException) as caught:
            await asyncio.to_thread(grpc_infer, bench, model, version)
        assert (caught.value.status(), caught.value.message()) == (f"StatusCode.{code}", text)

    on_an_edge(scenario)


def test_a_compressed_call_is_routed() -> None:
    """HAProxy cannot read a compressed message; the front desk unpacks it and sends it back in."""

    async def scenario(bench: Bench) -> None:
        client = triton_grpc.InferenceServerClient(str(bench.settings.grpc))
        tensor = triton_grpc.InferInput("x", [1, 4096], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 4096), np.float32))

        def infer() -> object:
            return client.infer("m a", [tensor], compression_algorithm="gzip").get_response()

        try:
            reply = await asyncio.to_thread(infer)
        finally:
            client.close()
        assert (reply.model_version, bench.workers["w0"].seen[0].body[0]) == ("1", 0)

    on_an_edge(scenario)


def test_a_stream_survives_a_wrong_call() -> None:
    """A stream answers in order; a refused call is an answer with an error, not the end."""

    async def scenario(bench: Bench) -> None:
        results: asyncio.Queue[tuple[object, object]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        client = triton_grpc.InferenceServerClient(str(bench.settings.grpc))
        tensor = triton_grpc.InferInput("x", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))

        def arrived(result: object, error: object) -> None:
            loop.call_soon_threadsafe(results.put_nowait, (result, error))

        def talk() -> None:
            client.start_stream(arrived)
            client.async_stream_infer("zz", [tensor], request_id="r1")
            client.async_stream_infer("m", [tensor], request_id="r2")

        await asyncio.to_thread(talk)
        try:
            async with asyncio.timeout(PATIENCE_S):
                first, second = await results.get(), await results.get()
        finally:
            await asyncio.to_thread(client.stop_stream)
            client.close()
        assert "Request for unknown model: 'zz' is not found" in str(first[1])
        reply = second[0].get_response()
        assert reply.parameters["triton_final_response"].bool_param

    on_an_edge(scenario)


def test_either_port_takes_both_protocols() -> None:
    """HTTP on the gRPC port and gRPC on the HTTP port reach the same worker."""

    async def scenario(bench: Bench) -> None:
        url = f"http://{bench.settings.grpc}/v2/models/m/infer"
        over_grpc_port = await fetch(bench.http, "POST", url, b"{}")

        def call() -> bytes:
            with grpc.insecure_channel(str(bench.settings.http)) as channel:
                infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                answer: bytes = infer(b"\x0a\x01m")
                return answer

        assert over_grpc_port.status == 200
        assert await asyncio.to_thread(call) == b"\x0a\x02w0\x12\x011"

    on_an_edge(scenario)


def test_a_large_body_is_refused_before_it_is_read() -> None:
    """413 in JSON where content-length tells, RESOURCE_EXHAUSTED on gRPC; no worker sees it."""

    async def scenario(bench: Bench) -> None:
        answer = await bench.ask("POST", "/v2/models/m/infer", bytes(5_000))
        with pytest.raises(InferenceServerException) as caught:
            await asyncio.to_thread(grpc_infer, bench, "m" * 5_000)
        assert (answer.status, answer.content_type) == (413, "application/json")
        assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        assert bench.workers["w0"].seen == []

    on_an_edge(scenario, max_request_bytes=4_096)


def test_a_wrong_method_is_refused() -> None:
    """GET on infer is 405 in JSON, whatever the model."""

    async def scenario(bench: Bench) -> None:
        answer = await bench.ask("GET", "/v2/models/zz/infer")
        assert (answer.status, answer.body) == (405, b'{"error":"Method Not Allowed"}')

    on_an_edge(scenario)


def test_a_message_with_two_lengths_reaches_a_worker_with_one() -> None:
    """Content-Length beside Transfer-Encoding is dropped at the edge: nothing can be smuggled."""

    async def scenario(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection(
            bench.settings.http.host, bench.settings.http.port
        )
        writer.write(
            b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        await reader.read(-1)
        writer.close()
        calls = [
            (call.headers.get("content-length"), call.body) for call in bench.workers["w0"].seen
        ]
        assert calls in ([], [(None, b"{}")])

    on_an_edge(scenario)


def test_metrics_have_a_port_of_their_own() -> None:
    """GET /metrics and /metrics/ answer there, nothing else does; the HTTP port has none."""

    async def scenario(bench: Bench) -> None:
        base = f"http://{bench.settings.metrics}"
        asked = [("GET", "/metrics"), ("GET", "/metrics/"), ("GET", "/"), ("POST", "/metrics")]
        answers = [await fetch(bench.http, method, base + path) for method, path in asked]
        own = await bench.ask("GET", "/metrics")
        assert [answer.status for answer in answers] == [200, 200, 404, 405]
        assert own.status == 404
        text = answers[0].body.decode()
        async with asyncio.timeout(PATIENCE_S):
            while "haproxy_frontend" not in text:  # it is asked for its own, and may be late
                text = (await fetch(bench.http, "GET", f"{base}/metrics")).body.decode()
        assert 'nv_inference_request_success{model="50% ü",version="1"} 0' in text
        assert "bascule_route_revision 1" in text
        assert 'haproxy_frontend_http_requests_total{proxy="http"}' in text

    on_an_edge(scenario)
