"""The OpenAPI document against what a running server answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.fakes.hostile import ask, post
from tests.fakes.standalone_server import Server, put_model, serving

INFER = {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16}]}
PLACES = {"{model}": "a", "{version}": "1", "{repository}": "r", "{region}": "r"}


@pytest.fixture(scope="module", name="server")
def described_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one model, whose models are loaded by hand."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "a")
    mode = ("--model-control-mode", "explicit", "--load-model", "*")
    home = tmp_path_factory.mktemp("h")
    with serving(home, "--model-repository", str(repository), *mode) as started:
        yield started


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The document as it is served."""
    reply = ask(server.http, b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(reply.body)
    return found


def misfits(document: dict[str, Any], operation: dict[str, Any], status: int, body: bytes) -> list:
    """What a reply's body has that the document does not say."""
    said = operation["responses"].get(str(status)) or operation["responses"]["default"]
    if "$ref" in said:
        said = document["components"]["responses"][said["$ref"].rpartition("/")[2]]
    content = said.get("content")
    if content is None:
        return [] if body == b"" else ["a body where none is described"]
    schema = content["application/json"]["schema"] | {"components": document["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(json.loads(body))]


def test_every_get_answers_as_described(server: Server, document: dict[str, Any]) -> None:
    """Status and body of each readable route fit its schema, with a model and without."""
    faults = {}
    asked = 0
    for path, item in document["paths"].items():
        for model in ("a", "nobody") if "get" in item else ():
            target = path.replace("{model}", model)
            for place, value in PLACES.items():
                target = target.replace(place, value)
            reply = ask(server.http, f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert reply.status not in {404, 405} or model == "nobody" or "region" in path, target
            asked += 1
            if fault := misfits(document, item["get"], reply.status, reply.body):
                faults[target] = (reply.status, fault)
    assert faults == {}
    assert asked >= 30


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/{model}/infer", INFER, 200),
        ("/v2/models/{model}/versions/{version}/infer", INFER, 200),
        ("/v2/models/{model}/infer", {"inputs": []}, 400),
        ("/v2/models/{model}/infer", INFER | {"outputs": [{"name": "nobody"}]}, 400),
        ("/v2/repository/index", {}, 200),
        ("/v2/repository/index", {"ready": True}, 200),
        ("/v2/repository/index", {"ready": 1}, 400),
        ("/v2/repository/models/{model}/load", {}, 200),
        ("/v2/trace/setting", {"trace_rate": "5"}, 200),
        ("/v2/trace/setting", {"trace_rate": "x"}, 400),
        ("/v2/logging", {"log_verbose_level": 0}, 200),
        ("/v2/systemsharedmemory/unregister", {}, 200),
        ("/v2/systemsharedmemory/region/{region}/register", {"key": "/k", "byte_size": 1}, 501),
        ("/v2/models/{model}/generate", {"x": [0.5] * 16}, 200),
    ],
)
def test_posts_answer_as_described(
    server: Server, document: dict[str, Any], path: str, body: object, status: int
) -> None:
    """Replies to good and bad requests fit the schemas of their status."""
    target = path
    for place, value in PLACES.items():
        target = target.replace(place, value)
    reply = ask(server.http, post(target, json.dumps(body).encode()))
    assert reply.status == status, reply.body
    assert misfits(document, document["paths"][path]["post"], status, reply.body) == []


def test_methods_that_are_not_described_are_refused(
    server: Server, document: dict[str, Any]
) -> None:
    """405 for any other method of a described path."""
    others = {}
    for path, item in document["paths"].items():
        target = path
        for place, value in PLACES.items():
            target = target.replace(place, value)
        method = "DELETE" if "delete" not in item else "PUT"
        reply = ask(server.http, f"{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        others[target] = reply.status
    assert set(others.values()) == {405}
