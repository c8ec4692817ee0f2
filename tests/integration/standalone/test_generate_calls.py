"""`generate` and `generate_stream` behind a whole server, as curl would call them."""

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.models import nan_on_demand, simple_string
from tests.fakes.sequence_models import HISTORY_CONFIG, history
from tests.fakes.standalone_server import Server, put_model, serving

TEN = [str(number) for number in range(16)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model of text, one of numbers, and one with sequences."""
    home = tmp_path_factory.mktemp("h")
    models = home / "models"
    put_model(models, "text model", content=simple_string())
    put_model(models, "roots", content=nan_on_demand())
    put_model(models, "history", content=history())
    (models / "history" / "config.pbtxt").write_text(HISTORY_CONFIG)
    with serving(home / "b", "--model-repository", str(models)) as running:
        yield running


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> dict[str, Any]:
        """Read it as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def post(
    server: Server, path: str, body: object, headers: Mapping[str, str] | None = None
) -> Reply:
    """Send JSON, or bytes as they are."""
    host, _, port = server.http.partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/v2/models/{path}", sent, dict(headers or {}))
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers["content-type"], reply.read())


@pytest.mark.parametrize("path", ["text%20model/generate", "text%20model/versions/1/generate"])
def test_generate_answers_flat_json(server: Server, path: str) -> None:
    """Inputs by their names in, outputs by their names out; id and version beside them."""
    reply = post(server, path, {"id": "42", "INPUT0": TEN, "parameters": {"own": 3}})
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert reply.json() == {
        "id": "42",
        "model_name": "text model",
        "model_version": "1",
        "OUTPUT0": [str(number + 1) for number in range(16)],
    }


def test_generate_stream_is_one_event(server: Server) -> None:
    """A model that answers once streams one event."""
    reply = post(server, "text%20model/generate_stream", {"INPUT0": TEN})
    assert reply.content_type == "text/event-stream; charset=utf-8"
    text = reply.body.decode()
    assert text.startswith("data: {")
    assert text.endswith("}\n\n")
    assert json.loads(text.removeprefix("data: "))["OUTPUT0"][0] == "1"


def test_numbers_that_are_none_come_through(server: Server) -> None:
    """A reply may hold NaN, as infer replies may."""
    reply = post(server, "roots/generate", {"x": [4.0, -1.0, 0.0, 1.0]})
    assert b'"y":[2.0,NaN,0.0,1.0]' in reply.body


def test_headers_of_infer_calls_change_no_generate_call(server: Server) -> None:
    """Neither how its own body nor how the reply to it is written."""
    infers = {"Accept-Encoding": "gzip", "Inference-Header-Content-Length": "3"}
    reply = post(server, "roots/generate", {"x": [4, 1, 0, 1]}, infers)
    assert (reply.status, reply.json()["y"]) == (200, [2, 1, 0, 1])


def test_generate_takes_steps_of_sequences(server: Server) -> None:
    """Scalars beside the inputs are the call's parameters; one element is a bare scalar."""
    steps = [
        post(server, "history/generate", {"x": 0, "sequence_id": 5, "sequence_start": first})
        for first in (True, False)
    ]
    assert [step.json()["y"] for step in steps] == [1, 2]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("roots/generate", {"x": [1, 2]}, 400, "fit no shape of"),
        ("roots/generate", {}, 400, "missing required input(s) ['x']"),
        ("roots/generate", {"x": [1, 2, 3, "a"]}, 400, "Unable to parse 'data'"),
        ("roots/generate", {"x": [1, 2, 3, 4], "odd": {"a": 1}}, 400, "'odd' has invalid type"),
        ("roots/generate", {"x": 4 * [1], "binary_data_output": True}, 400, "answers as JSON"),
        ("roots/generate_stream", {"x": [1, 2]}, 400, "fit no shape of"),
        ("unknown/generate", {"x": 1}, 404, "Request for unknown model: 'unknown' is not found"),
        ("roots/versions/9/generate", {"x": 1}, 404, "version 9 is not found"),
    ],
)
def test_errors_are_those_of_infer(
    server: Server, path: str, body: object, status: int, said: str
) -> None:
    """As JSON, before a stream begins as well."""
    reply = post(server, path, body)
    assert reply.status == status
    assert said in reply.json()["error"]
    assert reply.content_type == "application/json"


@pytest.mark.parametrize("body", [b"{}", gzip.compress(b"{}")], ids=["as it is", "gzip"])
def test_a_compressed_body_is_refused(server: Server, body: bytes) -> None:
    """In Triton's words."""
    reply = post(server, "roots/generate", body, {"Content-Encoding": "gzip"})
    assert reply.status == 400
    expected = "Unsupported content-encoding, only 'identity' is supported."
    assert reply.json()["error"] == expected
