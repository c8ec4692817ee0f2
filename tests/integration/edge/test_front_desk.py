"""What reference clients are told over both transports, through the edge."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import grpc
import msgspec
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf import json_format
from tritonclient.utils import InferenceServerException

from runtimes.errors import ModelLoadError
from runtimes.findings import Severity
from serving.edge.control import Snapshot, WorkerStatus
from serving.errors import NotFoundError, NotReadyError
from serving.monitor.statistics import (
    BatchStatistics,
    DurationSum,
    FailureReason,
    VersionStatistics,
)
from tests.fakes.gate_parts import finding
from tests.integration.edge.bench import Answer, Bench, fetch, fresh_edge, snapshot

COUNTED = VersionStatistics(
    model="m a",
    version=1,
    inference_count=4,
    execution_count=2,
    last_inference_ms=1_790_000_000_000,
    success=DurationSum(count=2, ns=4_000),
    queue=DurationSum(count=2, ns=1_000),
    failures=dict.fromkeys(FailureReason, 0),
    batches=(BatchStatistics(batch_rows=2, execution_count=2, compute_infer_ns=700),),
)


class Clients:
    """tritonclient, both kinds. Every method blocks: call them in a thread."""

    def __init__(self, bench: Bench) -> None:
        """Connect to the edge's ports."""
        self.http = triton_http.InferenceServerClient(str(bench.settings.http))
        self.grpc = triton_grpc.InferenceServerClient(str(bench.settings.grpc))

    def close(self) -> None:
        """Close both."""
        self.http.close()
        self.grpc.close()


def with_clients(
    ask: Callable[[Clients], None],
    arrange: Callable[[Bench], Awaitable[None]] | None = None,
) -> None:
    """Run blocking questions against an edge with two workers of one pool."""

    async def run() -> None:
        async with fresh_edge() as bench:
            workers = [await bench.add_worker(name) for name in ("w0", "w1")]
            for worker in bench.workers.values():
                worker.statistics = msgspec.json.encode([COUNTED])
            await bench.edge.apply(
                snapshot(
                    1,
                    {"p": workers},
                    {("m a", 1): "p", ("m a", 2): None},
                    {"m a": 1, "dead": None},
                )
            )
            if arrange is not None:
                await arrange(bench)
            clients = Clients(bench)
            try:
                await asyncio.to_thread(ask, clients)
            finally:
                clients.close()

    asyncio.run(run())


def as_json(message: object) -> Mapping[str, object]:
    """A message with the protocol's field names."""
    parsed: Mapping[str, object] = json_format.MessageToDict(
        message, preserving_proto_field_name=True
    )
    return parsed


def test_health_is_true_when_all_is_ready() -> None:
    """Live, ready and model-ready, on both transports."""

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("m a")
            assert client.is_model_ready("m a", "1")

    with_clients(ask)


def test_what_cannot_answer_is_not_ready() -> None:
    """A version that loads, a model without versions, an unknown model: false, not an error."""

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            assert not client.is_model_ready("m a", "2")
            assert not client.is_model_ready("dead")
            assert not client.is_model_ready("never")

    with_clients(ask)


def test_a_server_that_waits_for_models_is_live_and_not_ready() -> None:
    """Before the first snapshot."""

    async def arrange(bench: Bench) -> None:
        await bench.edge.apply(Snapshot())

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            assert client.is_server_live()
            assert not client.is_server_ready()

    with_clients(ask, arrange)


def test_both_transports_describe_server_and_model_alike() -> None:
    """Metadata is equal, and the statistics extension is listed."""

    def ask(clients: Clients) -> None:
        server = clients.http.get_server_metadata()
        model = clients.http.get_model_metadata("m a")
        over_grpc = as_json(clients.grpc.get_model_metadata("m a"))
        inputs = [
            {**tensor, "shape": [int(size) for size in tensor["shape"]]}
            for tensor in over_grpc["inputs"]
        ]
        assert as_json(clients.grpc.get_server_metadata()) == server
        assert "statistics" in server["extensions"]
        assert model["versions"] == over_grpc["versions"] == ["1"]
        assert model["inputs"] == inputs == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]

    with_clients(ask)


def test_both_transports_give_the_completed_configuration() -> None:
    """The keys that clients index are there."""

    def ask(clients: Clients) -> None:
        config = clients.http.get_model_config("m a")
        message = clients.grpc.get_model_config("m a").config
        assert config["max_batch_size"] == message.max_batch_size == 8
        assert config["input"][0]["dims"] == list(message.input[0].dims) == [2]
        assert config["backend"] == message.backend == "onnxruntime"

    with_clients(ask)


def test_statistics_are_summed_over_workers() -> None:
    """Two workers that counted the same give twice that, on both transports and in metrics."""

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            reply = client.get_inference_statistics("m a")
            stats = reply if isinstance(reply, dict) else as_json(reply)
            (model,) = stats["model_stats"]
            assert (int(model["inference_count"]), int(model["execution_count"])) == (8, 4)
            assert int(model["inference_stats"]["success"]["count"]) == 4
            assert int(model["batch_stats"][0]["compute_infer"]["ns"]) == 1_400

    with_clients(ask)


def test_errors_have_the_same_text_on_both_transports() -> None:
    """Metadata of an unknown model."""

    def ask(clients: Clients) -> None:
        text = "Request for unknown model: 'zz' is not found"
        for client, status in ((clients.http, "404"), (clients.grpc, "StatusCode.NOT_FOUND")):
            with pytest.raises(InferenceServerException) as caught:
                client.get_model_metadata("zz")
            assert (caught.value.status(), caught.value.message()) == (status, text)

    with_clients(ask)


def test_the_index_lists_every_model() -> None:
    """The same entries on both transports."""

    def ask(clients: Clients) -> None:
        index = clients.http.get_model_repository_index()
        assert index == as_json(clients.grpc.get_model_repository_index())["models"]
        assert {entry["name"] for entry in index} == {"m a", "dead"}

    with_clients(ask)


def test_load_and_unload_reach_the_controller() -> None:
    """By either transport, with the model's own name."""
    asked: list[object] = []

    async def arrange(bench: Bench) -> None:
        asked.append(bench.control.asked)

    def ask(clients: Clients) -> None:
        clients.http.load_model("m a")
        clients.grpc.load_model("m a")
        clients.http.unload_model("m a")
        clients.grpc.unload_model("m a")

    with_clients(ask, arrange)
    assert asked == [[("load", "m a"), ("load", "m a"), ("unload", "m a"), ("unload", "m a")]]


@pytest.mark.parametrize(
    ("failure", "http", "code"),
    [
        (NotFoundError("failed to poll from model repository"), "404", "NOT_FOUND"),
        (ModelLoadError("load failed for model 'm a': version 1"), "400", "INVALID_ARGUMENT"),
    ],
    ids=["absent", "broken"],
)
def test_a_failed_load_says_so(failure: NotFoundError, http: str, code: str) -> None:
    """The words `failed to load 'x'` are in it, and it is never a 5xx."""

    async def arrange(bench: Bench) -> None:
        bench.control.failure = failure

    def ask(clients: Clients) -> None:
        statuses = ((clients.http, http), (clients.grpc, f"StatusCode.{code}"))
        for client, status in statuses:
            with pytest.raises(InferenceServerException, match="failed to load 'm a'") as caught:
                client.load_model("m a")
            assert caught.value.status() == status

    with_clients(ask, arrange)


def test_a_load_with_a_configuration_that_is_none_is_the_callers_mistake() -> None:
    """As Triton's own example expects."""

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            with pytest.raises(InferenceServerException, match="failed to load 'm a'"):
                client.load_model("m a", config="garbage")

    with_clients(ask)


def test_shared_memory_is_off() -> None:
    """Nothing is registered, registering is refused, unregistering all succeeds."""

    def ask(clients: Clients) -> None:
        assert clients.http.get_system_shared_memory_status() == []
        assert not clients.grpc.get_cuda_shared_memory_status().regions
        for client in (clients.http, clients.grpc):
            client.unregister_system_shared_memory()
            with pytest.raises(InferenceServerException, match="Client shared memory is disabled"):
                client.register_system_shared_memory("r", "/k", 64)

    with_clients(ask)


def test_trace_settings_are_kept() -> None:
    """A subset changes, the rest is as before, and both transports see it."""

    def ask(clients: Clients) -> None:
        clients.http.update_trace_settings(settings={"trace_rate": "5", "trace_count": None})
        settings = clients.grpc.get_trace_settings().settings
        assert list(settings["trace_rate"].value) == ["5"]
        assert clients.http.get_trace_settings()["trace_count"] == "-1"

    with_clients(ask)


def test_grpc_health_follows_readiness() -> None:
    """`grpc.health.v1.Health/Check` of the whole server."""

    async def run() -> None:
        async with (
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            before = await check(b"")
            await bench.edge.apply(snapshot(1, {}, {}, {}))
            assert (before, await check(b"")) == (b"\x08\x02", b"\x08\x01")

    asyncio.run(run())


def test_an_unknown_grpc_method_is_unimplemented() -> None:
    """As any gRPC server says."""

    async def run() -> None:
        async with (
            fresh_edge() as bench,
            grpc.aio.insecure_channel(str(bench.settings.grpc)) as channel,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/inference.GRPCInferenceService/Nope")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/inference.x", 404),
        ("POST", "/grpc.x", 404),
        ("FOO", "/v2", 400),
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/m%20a/", 404),
        ("GET", "/v2/models/m%20a/versions/x", 404),
        ("POST", "/v2", 405),
        ("GET", "/v2/repository/index", 405),
        ("POST", "/v2/repository/other/models/m/load", 501),
        ("POST", "/v2/models/m%20a/generate", 503),
        ("POST", "/v2/repository/models//load", 400),
    ],
)
def test_every_refusal_is_json(method: str, path: str, status: int) -> None:
    """The status of the protocol, exactly `application/json`, and an error text."""

    async def run() -> Answer:
        async with fresh_edge() as bench:
            await bench.edge.apply(snapshot(1, {"p": []}, {("m a", 1): "p"}, {"m a": 1}))
            return await bench.ask(method, path)

    answer = asyncio.run(run())
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert isinstance(msgspec.json.decode(answer.body)["error"], str)


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff", b'{"ready":1}', b"[" * 100_000])
def test_a_body_that_is_no_request_is_the_clients_mistake(body: bytes) -> None:
    """400 with JSON, whatever it is."""

    async def run() -> Answer:
        async with fresh_edge() as bench:
            return await bench.ask("POST", "/v2/repository/index", body)

    answer = asyncio.run(run())
    assert (answer.status, answer.content_type) == (400, "application/json")


def test_metrics_show_workers_and_states() -> None:
    """What the controller knows of workers, and the sums that statistics give."""

    async def run() -> str:
        async with fresh_edge() as bench:
            bench.control.workers = (
                WorkerStatus(
                    worker="w0", pool="p", node="local", pid=1, state="ready", restart_count=3
                ),
            )
            worker = await bench.add_worker("w0")
            bench.workers["w0"].statistics = msgspec.json.encode([COUNTED])
            shown = snapshot(1, {"p": [worker]}, {("m a", 1): "p"}, {"m a": 1})
            odd = {
                key: replace(record, findings=(finding(Severity.WARNING),))
                for key, record in shown.versions.items()
            }
            await bench.edge.apply(replace(shown, versions=odd))
            url = f"http://{bench.settings.metrics}/metrics"
            return (await fetch(bench.http, "GET", url)).body.decode()

    lines = asyncio.run(run()).splitlines()
    assert 'bascule_worker_restarts_total{pool="p",worker="w0"} 3' in lines
    assert 'nv_inference_count{model="m a",version="1"} 4' in lines
    assert 'nv_model_load_duration_secs{model="m a",version="1"} 0.25' in lines
    assert 'bascule_versions{state="READY"} 1' in lines
    noticed = 'bascule_preflight_findings{code="BP-O01",model="m a",severity="warning",version="1"}'
    ordered = 'bascule_preflight_findings{model="m a",version="1",code="BP-O01",severity="warning"}'
    assert {f"{noticed} 1", f"{ordered} 1"} & set(lines)


def test_loading_that_is_off_is_unavailable() -> None:
    """503 / UNAVAILABLE with the controller's words."""
    text = "explicit model load / unload is not allowed if polling is enabled"

    async def arrange(bench: Bench) -> None:
        bench.control.failure = NotReadyError(text)

    def ask(clients: Clients) -> None:
        for client, status in ((clients.http, "503"), (clients.grpc, "StatusCode.UNAVAILABLE")):
            with pytest.raises(InferenceServerException) as caught:
                client.unload_model("m a")
            assert (caught.value.status(), caught.value.message()) == (status, text)

    with_clients(ask, arrange)
