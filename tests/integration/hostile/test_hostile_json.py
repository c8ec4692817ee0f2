"""JSON that ends other servers: nested without end, numbers and counts without measure."""

import gzip
import json

import psutil
import pytest

from tests.fakes.hostile import HttpReply, ask, post
from tests.fakes.standalone_server import Server

DEPTH = 1_000_000
SMALL_DEPTH = 150_000
"""In bodies that neither files nor tensors may be in: those end at 1 MiB."""


def nested(depth: int) -> dict[str, bytes]:
    """Write JSON that is nested so deep."""
    return {
        "open": b"[" * depth,
        "closed": b"[" * depth + b"]" * depth,
        "objects": b'{"a":' * depth,
        "inside": b'{"parameters":{"a":' + b"[" * depth,
    }


DEEP = nested(DEPTH)
INFER = "/v2/models/a/infer"
LOAD = "/v2/repository/models/a/load"
ADMIN = (
    "/v2/repository/index",
    "/v2/repository/models/a/unload",
    "/v2/logging",
    "/v2/trace/setting",
    "/v2/models/a/trace/setting",
)
INPUT = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0] * 16}
TEXT = {"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}


def infer(server: Server, model: str = "a", **request: object) -> HttpReply:
    """Send an infer request."""
    return ask(server.http, post(f"/v2/models/{model}/infer", json.dumps(request).encode()))


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("path", [INFER, LOAD])
def test_a_million_levels_are_refused(server: Server, path: str, body: bytes) -> None:
    """Wherever JSON is read, nesting without end is the client's mistake and names the limit."""
    reply = ask(server.http, post(path, body))
    assert (reply.status, "maximum allowed limit (100)" in reply.error) == (400, True)


@pytest.mark.parametrize("form", DEEP)
@pytest.mark.parametrize("path", ADMIN)
def test_small_bodies_nested_deep_are_refused(server: Server, path: str, form: str) -> None:
    """So it is where neither files nor tensors may come."""
    reply = ask(server.http, post(path, nested(SMALL_DEPTH)[form]))
    assert (reply.status, "maximum allowed limit (100)" in reply.error) == (400, True)


@pytest.mark.parametrize("path", ADMIN)
def test_a_body_without_files_is_small(server: Server, path: str) -> None:
    """What is larger is refused for its size, before it is read."""
    reply = ask(server.http, post(path, DEEP["closed"]))
    assert (reply.status, "1048576" in reply.error) == (413, True)


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_a_million_levels_inside_gzip_are_refused(server: Server, body: bytes) -> None:
    """A packed body is no way around the limit."""
    reply = ask(server.http, post(INFER, gzip.compress(body), Content_Encoding="gzip"))
    assert (reply.status, "maximum allowed limit (100)" in reply.error) == (400, True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shape": [2**31, 16]}, "exceeds the maximum allowed value of 67108864 bytes"),
        ({"shape": [2**31, 2**31, 4]}, "exceed maximum size of 9223372036854775807"),
        ({"shape": [2**64]}, "exceed maximum size of 9223372036854775807"),
        ({"shape": [-1, 16]}, "Unable to parse 'shape'"),
        ({"shape": [1] * 65}, "input 'x' has 65 dimensions, the maximum is 64"),
        ({"shape": [1.5]}, "Unable to parse 'shape'"),
        ({"data": [10**400] * 16}, "number is infinity"),
        ({"data": [1e39] * 16}, "out of range for FP32"),
        ({"datatype": "INT8", "data": [128] * 16}, "out of range for INT8"),
        ({"parameters": {"binary_data_size": 2**62}, "data": None}, "additional bytes"),
        ({"name": "\0" * 300}, "unexpected inference input"),
    ],
    ids=str,
)
def test_numbers_without_measure_are_refused(
    server: Server, change: dict[str, object], text: str
) -> None:
    """Dimensions, products and elements beyond their range name the field and the limit."""
    reply = infer(server, inputs=[INPUT | change])
    assert (reply.status, text in reply.error) == (400, True), reply.error


@pytest.mark.parametrize("field", ["inputs", "outputs", "parameters"])
def test_entries_without_number_are_refused(server: Server, field: str) -> None:
    """Thousands of inputs, outputs or parameters are refused by their number, in a short text."""
    many = {
        "inputs": [INPUT | {"name": f"x{k}"} for k in range(5000)],
        "outputs": [{"name": f"y{k}"} for k in range(5000)],
        "parameters": {f"p{k}": k for k in range(5000)},
    }
    body = json.dumps({"inputs": [INPUT], field: many[field]}).encode()
    reply = ask(server.http, post(INFER, body))
    assert reply.status == 400
    assert reply.error == f"Unable to parse '{field}': 5000 entries exceed the maximum of 4096"


def test_millions_of_texts_are_refused(server: Server) -> None:
    """A BYTES tensor of more elements than the limit is refused by its shape."""
    reply = infer(server, "s", inputs=[TEXT | {"shape": [1, 2**31]}])
    assert (reply.status, "the maximum is 4194304" in reply.error) == (400, True), reply.error


def test_classes_of_texts_are_refused(server: Server) -> None:
    """Classification of a BYTES output is the client's mistake."""
    ask_classes = {"name": "OUTPUT0", "parameters": {"classification": 3}}
    reply = infer(server, "s", inputs=[TEXT], outputs=[ask_classes])
    assert (reply.status, "unsupported type 'BYTES'" in reply.error) == (400, True)


@pytest.mark.parametrize("text", ["a\0b\0", "\0" * 40, "\U0001f600", ""], ids=ascii)
def test_texts_come_back_as_they_are(server: Server, text: str) -> None:
    """NUL bytes, the empty text and characters of four bytes pass through the engine whole."""
    reply = infer(server, "s", inputs=[TEXT | {"data": [text]}])
    assert json.loads(reply.body)["outputs"][0]["data"] == [text]


def test_a_bomb_stops_at_the_limit(server: Server) -> None:
    """256 MiB of zeros, packed into 260 kB, are refused at 64 MiB."""
    bomb = gzip.compress(bytes(256 << 20))
    reply = ask(server.http, post(INFER, bomb, Content_Encoding="gzip"))
    assert reply.status == 400
    assert "exceeds the maximum allowed value of 67108864 bytes" in reply.error


def test_many_bombs_leave_no_memory(server: Server) -> None:
    """What a refused body was inflated to is given back at once, one after the other."""
    worker = psutil.Process(server.worker_pids()["s1"])
    bomb = post(INFER, gzip.compress(bytes(80 << 20)), Content_Encoding="gzip")
    before = worker.memory_info().rss
    statuses = {ask(server.http, bomb).status for _ in range(12)}
    assert statuses == {400}
    assert worker.memory_info().rss - before < 300 << 20


@pytest.mark.parametrize(
    "name", ["a" * 256, "..%2f..%2fetc", "a%00b", "%ff%fe", "..", "a%5c..%5cb"]
)
def test_names_that_are_no_names(server: Server, name: str) -> None:
    """Long names, paths and bytes that are no text load nothing, and no path comes back."""
    reply = ask(server.http, post(f"/v2/repository/models/{name}/load", b"{}"))
    assert reply.status in {400, 404}
    assert "/tmp" not in reply.error  # noqa: S108  a text, no file
