"""A real worker, asked with raw HTTP/1.1: framing, order, limits, codings, slow readers."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtimes.datatypes import Datatype
from serving.worker.listener import MAX_IN_FLIGHT
from tests.fakes import models
from tests.fakes.worker_process import (
    PATIENCE_S,
    RawClient,
    WorkerProcess,
    grpc_infer,
    infer,
    infer_body,
    request,
    running_worker,
    version,
    wait_until,
)

TINY = "/v2/models/tiny/infer"
X = np.arange(16, dtype="<f4")[None]
Y = (X @ models.WEIGHT + models.BIAS).ravel().tolist()
LIMIT_BYTES = 8 << 20


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker that hosts a few small models."""
    folder = tmp_path_factory.mktemp("worker")
    with running_worker(folder, "--max-request-bytes", str(LIMIT_BYTES)) as started:
        lines = started.apply(
            version(folder, "tiny", models.tiny()),
            version(folder, "tiny", models.tiny(), number=3),
            version(folder, "m a", models.tiny()),
            version(folder, "echo", models.identity(Datatype.FP32)),
            version(folder, "picky", models.fail_on_demand(), max_batch_rows=64),
        )
        assert {line["state"] for line in lines} == {"LOADING", "READY"}
        yield started


@pytest.fixture
def client(worker: WorkerProcess) -> Iterator[RawClient]:
    """A connection by TCP."""
    with worker.client() as opened:
        yield opened


def test_a_binary_call_is_answered(client: RawClient) -> None:
    """Tensor in, tensor out, with the version that ran."""
    reply = client.ask(infer(TINY, {"x": X}))
    assert (reply.status, reply.floats()) == (200, Y)
    assert reply.json()["model_version"] == "3"


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (TINY, (), "3"),
        (TINY, ("bascule-version: 1",), "1"),
        ("/v2/models/tiny/versions/1/infer", ("bascule-version: 3",), "1"),
        ("/v2/models/tiny/versions/0001/infer?trace=1&trace=2", (), "1"),
        ("/v2/models/ti%6ey/infer", (), "3"),
        ("http://localhost/v2/models/tiny/infer", (), "3"),
    ],
)
def test_the_version_is_chosen_in_order(
    client: RawClient, target: str, headers: tuple[str, ...], expected: str
) -> None:
    """Path before header before highest; however the target is spelt."""
    assert client.ask(infer(target, {"x": X}, headers=headers)).json()["model_version"] == expected


@pytest.mark.parametrize("name", ["m%20a", "m%20%61"])
def test_names_are_percent_decoded(client: RawClient, name: str) -> None:
    """A model whose name has a space is reachable."""
    assert client.ask(infer(f"/v2/models/{name}/infer", {"x": X})).json()["model_name"] == "m a"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/v2/models/nope/infer", "Request for unknown model: 'nope' is not found"),
        (
            "/v2/models/tiny/versions/9/infer",
            "Request for unknown model: 'tiny' version 9 is not found",
        ),
    ],
)
def test_what_is_not_hosted_is_not_found(client: RawClient, target: str, message: str) -> None:
    """404 with Triton's text; the connection lives on."""
    reply = client.ask(infer(target, {"x": X}))
    assert (reply.status, reply.json()) == (404, {"error": message})
    assert client.ask(infer(TINY, {"x": X})).status == 200


def test_replies_keep_the_order_of_a_pipelined_connection(worker: WorkerProcess) -> None:
    """Infer calls, other routes and errors, all in one burst, are answered in their order."""
    wanted: list[tuple[int, str]] = []
    burst = b""
    for place in range(300):
        if place % 7 == 3:
            burst += request("/v2/models/tiny", method="GET")
            wanted.append((200, "meta"))
        elif place % 11 == 5:
            burst += request("/none", method="GET")
            wanted.append((404, "Not Found"))
        elif place % 13 == 6:
            burst += request(TINY, b"{oops")
            wanted.append((400, "bad"))
        else:
            burst += infer(TINY, {"x": X}, request_id=f"call-{place}")
            wanted.append((200, f"call-{place}"))
    with worker.client() as client:
        client.send(burst)
        got = []
        for _ in wanted:
            reply = client.read()
            document = reply.json()
            name = document.get("id") or ("meta" if "platform" in document else "")
            got.append((reply.status, name or document["error"]))
    assert [(status, "bad") if status == 400 else (status, name) for status, name in got] == wanted


def test_a_chunked_body_is_joined(client: RawClient) -> None:
    """Chunks of any size, down to one byte, make one body."""
    head, tail = infer_body({"x": X})
    body = head + tail
    client.send(
        f"POST {TINY} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n"
        f"inference-header-content-length: {len(head)}\r\n\r\n".encode()
    )
    for start in range(len(body)):
        client.send(b"1\r\n" + body[start : start + 1] + b"\r\n")
    assert client.ask(b"0\r\n\r\n").floats() == Y


def test_a_large_body_of_many_chunks_is_joined(client: RawClient) -> None:
    """More pieces than are kept apart."""
    x = np.random.default_rng(0).random((1, 1 << 18), np.float32)
    head, tail = infer_body({"INPUT0": x})
    body = head + tail
    chunks = [body[start : start + 777] for start in range(0, len(body), 777)]
    client.send(
        b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n"
        b"inference-header-content-length: %d\r\n\r\n"
        % len(head)
        + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    )
    assert client.ask(b"0\r\n\r\n").floats() == x.ravel().tolist()


@pytest.mark.parametrize("columns", [1, 1 << 14, (1 << 14) + 1, 1 << 20])
def test_bodies_of_all_sizes_come_back_bit_for_bit(client: RawClient, columns: int) -> None:
    """Joined, aligned and vectored paths give the same bytes."""
    x = np.random.default_rng(columns).random((1, columns), np.float32)
    reply = client.ask(infer("/v2/models/echo/infer", {"INPUT0": x}))
    assert reply.floats() == x.ravel().tolist()


def test_expect_100_continue_is_granted(client: RawClient) -> None:
    """A client that asks before it sends gets its go-ahead."""
    raw = infer(TINY, {"x": X}, headers=("expect: 100-continue",))
    head, _, body = raw.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.line() == b"HTTP/1.1 100 Continue\r\n"
    assert client.line() == b"\r\n"
    assert client.ask(body).floats() == Y


def test_an_oversized_body_is_refused_before_it_is_sent(client: RawClient) -> None:
    """413 on the announced size, without the go-ahead, and the connection ends."""
    reply = client.ask(
        b"POST %b HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        % (TINY.encode(), LIMIT_BYTES + 1)
    )
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert str(LIMIT_BYTES) in reply.json()["error"]


def test_an_oversized_body_that_is_sent_anyway_is_refused(client: RawClient) -> None:
    """A client that sends all of it can still read the answer."""
    client.send(request(TINY, b"x" * (LIMIT_BYTES + 1)))
    assert client.read().status == 413
    assert client.is_closed()


def test_an_endless_chunked_body_is_refused(client: RawClient) -> None:
    """A body without an announced size is cut at the limit."""
    client.send(f"POST {TINY} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for _ in range(9):
        client.send(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
    assert client.read().status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests_and_replies(client: RawClient, coding: str) -> None:
    """Both codings, both ways; the header length counts inflated bytes."""
    head, tail = infer_body({"x": X})
    packed = gzip.compress(head + tail) if coding == "gzip" else zlib.compress(head + tail)
    reply = client.ask(
        request(
            TINY,
            packed,
            headers=(
                f"content-encoding: {coding}",
                f"accept-encoding: {coding}",
                f"inference-header-content-length: {len(head)}",
            ),
        )
    )
    assert reply.headers["content-encoding"] == coding
    reply.body = gzip.decompress(reply.body) if coding == "gzip" else zlib.decompress(reply.body)
    assert reply.floats() == Y


def test_large_replies_are_compressed_in_a_thread(client: RawClient) -> None:
    """A reply over the inline bound comes back whole."""
    x = np.zeros((1, 1 << 18), np.float32)
    reply = client.ask(
        infer("/v2/models/echo/infer", {"INPUT0": x}, headers=("accept-encoding: gzip",))
    )
    reply.body = gzip.decompress(reply.body)
    assert len(reply.floats()) == 1 << 18


def test_a_list_of_codings_is_not_taken_as_a_wish(client: RawClient) -> None:
    """HTTP libraries announce lists unasked."""
    reply = client.ask(infer(TINY, {"x": X}, headers=("accept-encoding: gzip, deflate, br",)))
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", b"not gzip", 400),
        ("br", b"x", 415),
        ("gzip", gzip.compress(bytes(LIMIT_BYTES + 1)), 400),
    ],
    ids=["corrupt", "unknown", "bomb"],
)
def test_bad_compression_is_refused(
    client: RawClient, coding: str, body: bytes, status: int
) -> None:
    """Corrupt, unknown and over-limit bodies are client errors; the connection lives on."""
    reply = client.ask(request(TINY, body, headers=(f"content-encoding: {coding}",)))
    assert reply.status == status
    assert "error" in reply.json()
    assert client.ask(infer(TINY, {"x": X})).status == 200


def test_malformed_http_gets_json(client: RawClient) -> None:
    """Garbage ends the connection, with an error body that clients can read."""
    reply = client.ask(b"GARBAGE\r\n\r\n")
    assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
    assert client.is_closed()


def test_a_bad_header_length_spares_the_connection(client: RawClient) -> None:
    """400 with the value, and the next call works."""
    reply = client.ask(request(TINY, b"{}", headers=("inference-header-content-length: abc",)))
    assert reply.status == 400
    assert reply.json()["error"].endswith("got: abc")
    assert client.ask(infer(TINY, {"x": X})).status == 200


def test_connection_close_is_honoured(client: RawClient) -> None:
    """The reply says so, and the connection ends after it."""
    reply = client.ask(infer(TINY, {"x": X}, headers=("connection: close",)))
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert client.is_closed()


def test_grpc_is_answered_with_trailers(client: RawClient) -> None:
    """One frame, then grpc-status 0 as a trailer."""
    reply = client.ask(grpc_infer("tiny", "x", X))
    assert reply.headers["content-type"] == "application/grpc"
    assert reply.trailers == {"grpc-status": "0"}
    assert reply.body[5:].endswith(np.asarray(Y, "<f4").tobytes())


def test_grpc_errors_are_trailers(client: RawClient) -> None:
    """An unknown model is NOT_FOUND, a wrong shape INVALID_ARGUMENT; the connection lives on."""
    assert client.ask(grpc_infer("nope", "x", X)).trailers["grpc-status"] == "5"
    assert client.ask(grpc_infer("tiny", "x", X[:, :15])).trailers["grpc-status"] == "3"
    assert client.ask(grpc_infer("tiny", "x", X)).trailers["grpc-status"] == "0"


def test_compressed_grpc_messages_are_inflated(client: RawClient) -> None:
    """The frame's flag decides, not the header."""
    raw = grpc_infer("tiny", "x", X)
    message = raw.partition(b"\r\n\r\n")[2][5:]
    packed = gzip.compress(message)
    reply = client.ask(
        request(
            "/inference.GRPCInferenceService/ModelInfer",
            b"\1" + len(packed).to_bytes(4, "big") + packed,
            headers=("grpc-encoding: gzip",),
        )
    )
    assert reply.trailers == {"grpc-status": "0"}


def test_a_bad_item_spares_its_batch_mates(worker: WorkerProcess) -> None:
    """Of calls that come together, only the bad one fails."""
    x = np.array([[1, 2, 3, 4]], np.float32)
    burst = b"".join(
        infer(
            "/v2/models/picky/infer",
            {"x": x, "index": np.array([[99 if place == 5 else place % 4]], np.int64)},
        )
        for place in range(12)
    )
    with worker.client() as client:
        client.send(burst)
        replies = [client.read() for _ in range(12)]
    bad = replies.pop(5)
    assert bad.status in (400, 500)
    assert [reply.floats()[0] for reply in replies] == [
        place % 4 + 1 for place in range(12) if place != 5
    ]


def test_a_slow_reader_disturbs_nobody(worker: WorkerProcess) -> None:
    """One who does not read holds few replies; others are served meanwhile."""
    x = np.zeros((1, 1 << 20), np.float32)
    call = infer("/v2/models/echo/infer", {"INPUT0": x})
    before_bytes = worker.state()["rss_bytes"]
    with worker.client(receive_bytes=1 << 16) as slow, worker.client() as other:
        slow.socket.settimeout(1.0)  # for all of it: a worker without a limit would take it by then
        with pytest.raises(TimeoutError):
            slow.send(call * 100)
        assert other.ask(infer(TINY, {"x": X})).floats() == Y
        assert worker.state()["rss_bytes"] - before_bytes < MAX_IN_FLIGHT * 2 * x.nbytes
        slow.socket.settimeout(PATIENCE_S)
        assert slow.read().floats() == x.ravel().tolist()


def test_metadata_and_health_are_served(client: RawClient) -> None:
    """A worker used directly answers the other routes too, with exact types."""
    metadata = client.ask(request("/v2/models/tiny", method="GET"))
    assert metadata.headers["content-type"] == "application/json"
    assert metadata.json() == {
        "name": "tiny",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }
    assert client.ask(request("/v2/health/ready", method="GET")).json()["ready"] is True
    assert client.ask(request("/v2/models/nope", method="GET")).status == 404
    assert client.ask(request("/v2/models/tiny", b"{}")).status == 405


def test_statistics_add_up(worker: WorkerProcess) -> None:
    """Executions by batch size sum to the executions; rows to the inferences."""
    with worker.client() as client:
        client.send(infer("/v2/models/m%20a/infer", {"x": X}) * 40)
        assert all(client.read().status == 200 for _ in range(40))
    counted = worker.statistics("m%20a")
    executions = [batch["compute_infer"]["count"] for batch in counted["batch_stats"]]
    rows = [
        batch["batch_size"] * batch["compute_infer"]["count"] for batch in counted["batch_stats"]
    ]
    assert sum(executions) == counted["execution_count"]
    assert sum(rows) == counted["inference_count"] >= 40


def test_control_routes_exist_on_the_unix_socket_only(client: RawClient) -> None:
    """By TCP there is no such path."""
    assert client.ask(request("/worker/state", method="GET")).status == 404
    assert client.ask(request("/worker/drain")).status == 404


def test_the_body_of_an_error_is_never_compressed(client: RawClient) -> None:
    """Clients do not inflate errors."""
    reply = client.ask(request(TINY, b"{}", headers=("accept-encoding: gzip",)))
    assert reply.status == 400
    assert json.loads(reply.body)["error"]


def test_a_client_that_leaves_is_forgotten(worker: WorkerProcess, tmp_path: Path) -> None:
    """Half a request, then nothing: no call stays open."""
    del tmp_path
    with worker.client() as client:
        client.send(infer(TINY, {"x": X})[:-3])
    wait_until(lambda: worker.state()["queued_rows"] == 0, "queue empty")
