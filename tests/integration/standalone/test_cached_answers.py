"""A response cache on a real instance: the same bits on both wires, and what is counted of it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fakes.models import simple_string, tiny
from tests.fakes.standalone_server import Server, put_model, serving

CACHED = "response_cache { enable: true }"
VALUES = np.linspace(-3, 7, 32, dtype=np.float32).reshape(2, 16)


@pytest.fixture(scope="module", name="server")
def cached_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance with a model and its cached twin, and a cached model of texts."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "plain", content=tiny())
    put_model(repository, "cached", content=tiny())
    put_model(repository, "texts", content=simple_string())
    for model in ("cached", "texts"):
        (repository / model / "config.pbtxt").write_text(CACHED)
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        yield server


@pytest.fixture(name="clients")
def open_clients(server: Server) -> Iterator[dict[str, tuple[ModuleType, Any]]]:
    """A client for each wire, with its module."""
    with ExitStack() as stack:
        http = stack.enter_context(triton_http.InferenceServerClient(server.http))
        grpc = stack.enter_context(triton_grpc.InferenceServerClient(server.grpc))
        yield {"http": (triton_http, http), "grpc": (triton_grpc, grpc)}


def ask(wire: tuple[ModuleType, Any], model: str, *outputs: Any, **options: Any) -> Any:  # noqa: ANN401
    """Infer with the values."""
    module, client = wire
    tensor = module.InferInput("x", [2, 16], "FP32")
    tensor.set_data_from_numpy(VALUES, **options)
    return client.infer(model, [tensor], outputs=list(outputs) or None)


@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize("form", ["all", "named", "classes"])
def test_a_kept_answer_is_bit_equal(
    clients: dict[str, tuple[ModuleType, Any]], wire: str, form: str
) -> None:
    """First and second answer equal the uncached model's, in every form, on both wires."""
    module, _ = clients[wire]
    wanted = {
        "all": (),
        "named": (module.InferRequestedOutput("y"),),
        "classes": (module.InferRequestedOutput("y", class_count=3),),
    }[form]
    found = [ask(clients[wire], model, *wanted) for model in ("plain", "cached", "cached")]
    bits = [bits_of(result.as_numpy("y")) for result in found]
    assert bits[1:] == bits[:1] * 2


def bits_of(array: Any) -> tuple[object, ...]:  # noqa: ANN401  an untyped client's array
    """Return all that distinguishes a tensor."""
    elements = array.tolist() if array.dtype == object else array.tobytes()
    return array.shape, array.dtype, elements


def test_json_and_binary_share_one_answer(
    server: Server, clients: dict[str, tuple[ModuleType, Any]]
) -> None:
    """Content is the key, not its form on the wire."""
    ask(clients["http"], "cached")
    before = statistics(server, "cached")
    ask(clients["http"], "cached", binary_data=False)
    ask(clients["grpc"], "cached")
    after = statistics(server, "cached")
    assert after["execution_count"] == before["execution_count"]
    hits = [each["inference_stats"]["cache_hit"]["count"] for each in (before, after)]
    assert hits[1] - hits[0] == 2


def test_texts_are_kept_too(clients: dict[str, tuple[ModuleType, Any]]) -> None:
    """BYTES in and out."""
    module, client = clients["grpc"]
    tensor = module.InferInput("INPUT0", [1, 16], "BYTES")
    tensor.set_data_from_numpy(np.array([[b"7"] * 16], dtype=object))
    answers = [client.infer("texts", [tensor]).as_numpy("OUTPUT0").tolist() for _ in range(2)]
    assert answers == [[[b"8"] * 16]] * 2


def test_statistics_metrics_and_configuration_tell_of_the_cache(
    server: Server, clients: dict[str, tuple[ModuleType, Any]]
) -> None:
    """The equations of the protocol hold, over all three doors."""
    for _ in range(3):
        ask(clients["http"], "cached")
    found = statistics(server, "cached")
    counts = {name: each["count"] for name, each in found["inference_stats"].items()}
    assert counts["cache_hit"] >= 2
    assert counts["cache_hit"] + counts["cache_miss"] == counts["success"] == counts["queue"]
    assert counts["compute_infer"] == counts["cache_miss"]
    assert found["inference_count"] == 2 * counts["cache_miss"]
    metrics = get(f"127.0.0.1:{server.ports[2]}", "/metrics").decode()
    labels = '{model="cached",version="1"}'
    assert f"nv_cache_num_hits_per_model{labels} {counts['cache_hit']}" in metrics
    assert f"nv_cache_num_misses_per_model{labels} {counts['cache_miss']}" in metrics
    assert 'nv_cache_num_hits_per_model{model="plain"' not in metrics
    config = json.loads(get(server.http, "/v2/models/cached/config"))
    assert config["response_cache"] == {"enable": True}
    assert b"response_cache" not in get(server.http, "/v2/models/plain/config")


def statistics(server: Server, model: str) -> dict[str, Any]:
    """Ask for a model's statistics."""
    found: dict[str, Any] = json.loads(get(server.http, f"/v2/models/{model}/stats"))
    entry: dict[str, Any] = found["model_stats"][0]
    return entry


def get(address: str, path: str) -> bytes:
    """Read a page."""
    with closing(HTTPConnection(address)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()
