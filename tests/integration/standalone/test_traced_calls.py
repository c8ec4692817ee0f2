"""Traces of calls on a real instance: W3C context in, OTLP out."""

import http.client
import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from queue import Queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from serving.clock import SystemClock
from tests.fakes.models import tiny
from tests.fakes.otlp_receiver import Received, Receiver, receiving
from tests.fakes.standalone_server import LIMIT_S, Server, put_model, serving
from tests.fakes.waiting import until

SERVER_KIND = 2
STAGES = ["queue", "batch", "compute", "encode"]
PARENT_SPAN = "00f067aa0ba902b7"


@pytest.fixture(name="receiver", scope="module")
def running_receiver() -> Iterator[Receiver]:
    """Takes spans."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(name="server", scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Server]:
    """An instance that traces every call."""
    repository = tmp_path_factory.mktemp("r")
    put_model(repository, "tiny", content=tiny())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASCULE_OTLP_ENDPOINT", receiver.url)
        patch.setenv("BASCULE_OTLP_SHARE", "1")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        patch.setenv("BASCULE_ACCESS_LOG", "all")
        home = tmp_path_factory.mktemp("h")
        with serving(home, "--model-repository", str(repository)) as server:
            yield server


def context(trace_id: str, flags: str = "01") -> dict[str, str]:
    """A client's trace context."""
    return {"traceparent": f"00-{trace_id}-{PARENT_SPAN}-{flags}", "tracestate": "vendor=7"}


def ask_http(
    server: Server, headers: dict[str, str], request_id: str = "", model: str = "tiny"
) -> None:
    """Call over HTTP; a model that is none is refused."""
    with triton_http.InferenceServerClient(server.http) as client:
        x = triton_http.InferInput("x", [2, 16], "FP32")
        x.set_data_from_numpy(np.ones((2, 16), np.float32))
        with suppress(InferenceServerException) if model != "tiny" else nullcontext():
            client.infer(model, [x], headers=headers, request_id=request_id)


def ask_grpc(server: Server, headers: dict[str, str], *, streamed: bool = False) -> None:
    """Call over gRPC."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        x = triton_grpc.InferInput("x", [1, 16], "FP32")
        x.set_data_from_numpy(np.ones((1, 16), np.float32))
        if not streamed:
            client.infer("tiny", [x], headers=headers)
            return
        answers: Queue[object] = Queue()
        client.start_stream(lambda **told: answers.put(told["error"]), headers=headers)
        client.async_stream_infer("tiny", [x])
        assert answers.get(timeout=LIMIT_S) is None
        client.stop_stream()


def checked(spans: dict[str, Received], trace_id: str) -> Received:
    """Return the call's span; its stages follow each other inside it."""
    call = spans["infer tiny"]
    assert call.kind == SERVER_KIND
    assert {spans[stage].parent_id for stage in STAGES} == {call.span_id}
    assert {span.trace_id for span in spans.values()} == {trace_id}
    at_ns = call.begin_ns
    for stage in STAGES:
        assert spans[stage].begin_ns == at_ns
        at_ns = spans[stage].end_ns
        assert at_ns >= spans[stage].begin_ns
    assert at_ns == call.end_ns
    return call


def test_a_call_over_http_goes_on_with_its_clients_trace(
    server: Server, receiver: Receiver
) -> None:
    """Its span is a child of the client's, with what ran it; times are those of the wall clock."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    begin_s = SystemClock().utc_now().timestamp()

    ask_http(server, context(trace_id), request_id="r-1")

    call = checked(receiver.trace(trace_id), trace_id)
    assert call.parent_id == PARENT_SPAN
    assert call.trace_state == "vendor=7"
    assert begin_s <= call.begin_ns / 1e9 <= call.end_ns / 1e9
    assert call.end_ns / 1e9 <= SystemClock().utc_now().timestamp()
    assert call.attributes == {
        "bascule.model": "tiny",
        "bascule.version": 1,
        "bascule.transport": "http",
        "bascule.rows": 2,
        "bascule.batch.rows": 2,
        "bascule.batch.calls": 1,
        "bascule.request_id": "r-1",
    }
    assert call.resource["service.name"] == "bascule"
    assert call.resource["service.instance.id"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_over_grpc_goes_on_with_its_clients_trace(
    server: Server, receiver: Receiver, *, streamed: bool
) -> None:
    """Its metadata says it; all calls of a stream have the stream's."""
    trace_id = f"{7 + streamed:032x}"
    ask_grpc(server, context(trace_id), streamed=streamed)
    call = checked(receiver.trace(trace_id), trace_id)
    assert (call.parent_id, call.attributes["bascule.transport"]) == (PARENT_SPAN, "grpc")


def test_generate_hands_the_trace_on(server: Server, receiver: Receiver) -> None:
    """The infer call that it becomes belongs to the client's trace."""
    trace_id = f"{99:032x}"
    connection = http.client.HTTPConnection(server.http, timeout=LIMIT_S)
    body = json.dumps({"x": [1.0] * 16})
    connection.request("POST", "/v2/models/tiny/generate", body, context(trace_id))
    assert connection.getresponse().status == 200
    connection.close()
    assert checked(receiver.trace(trace_id), trace_id).parent_id == PARENT_SPAN


def test_only_what_the_client_samples_is_traced(server: Server, receiver: Receiver) -> None:
    """A context that says no is obeyed; without one, the share of the settings begins a trace."""
    untraced, after = f"{1234:032x}", f"{5678:032x}"
    ask_http(server, context(untraced, "00"))
    ask_http(server, {}, request_id="own trace")
    ask_http(server, context(after))
    receiver.trace(after)

    assert not [span for span in receiver.spans if span.trace_id == untraced]
    (own,) = [s for s in receiver.spans if s.attributes.get("bascule.request_id") == "own trace"]
    assert own.parent_id == ""
    checked(receiver.trace(own.trace_id), own.trace_id)


def test_a_refused_call_is_an_error_of_the_trace(server: Server, receiver: Receiver) -> None:
    """With what its caller was told; it has no stages."""
    trace_id = f"{808:032x}"
    with triton_http.InferenceServerClient(server.http) as client:
        x = triton_http.InferInput("x", [1, 3], "FP32")
        x.set_data_from_numpy(np.ones((1, 3), np.float32))
        with pytest.raises(InferenceServerException) as told:
            client.infer("tiny", [x], headers=context(trace_id))

    (span,) = receiver.trace(trace_id, span_count=1).values()
    assert span.error
    assert span.error in str(told.value)
    assert (span.name, span.parent_id) == ("infer tiny", PARENT_SPAN)
    assert span.attributes["error.type"] == "INVALID_ARGUMENT"


def test_haproxy_logs_requests_as_json(server: Server) -> None:
    """With its own times, the trace, and the request's id where a header has it."""
    trace_id = f"{4711:032x}"
    ask_http(server, {**context(trace_id), "x-request-id": 'say "hi"'})
    ask_grpc(server, context(trace_id))
    ask_http(server, context(trace_id), model="none")

    lines = logged(server, trace_id, 3)

    good, bad, grpc = sorted(lines, key=lambda line: (line["path"], line["status"]), reverse=True)
    assert (good["status"], good["path"]) == (200, "/v2/models/tiny/infer")
    assert good["request_id"] == 'say "hi"'
    assert 0 <= good["response_ms"] <= good["total_ms"]
    assert grpc["path"] == "/inference.GRPCInferenceService/ModelInfer"
    assert bad["status"] == 404


def logged(server: Server, trace_id: str, count: int) -> list[dict[str, Any]]:
    """Wait for HAProxy's lines of a trace."""
    path = server.home / "logs" / "haproxy.log"

    def found() -> list[str]:
        return [line for line in path.read_text().splitlines() if trace_id in line]

    until(lambda: len(found()) >= count, f"{count} lines of {trace_id}")
    return [json.loads(line) for line in found()]
