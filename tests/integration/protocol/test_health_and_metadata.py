"""What a server says of itself and of its models: health, metadata, configuration, routes."""

import json
from typing import Any

import pytest
import tritonclient.http as triton_http
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2 as config_pb

from tests.fakes.protocol_server import Served, json_input, ones

LOADED_ROUTES = ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny",
                 "/v2/models/tiny/ready", "/v2/models/tiny/stats", "/v2/models/stats")  # fmt: skip
DESKS_ROUTES = ("/v2/models/tiny/config", "/v2/logging", "/v2/trace/setting")
OF_DESK = pytest.mark.front_desk("configuration and settings")


def as_dict(message: object) -> dict[str, Any]:
    """A gRPC reply with the protocol's field names."""
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


def test_health_has_bodies_that_kserve_reads(served: Served) -> None:
    """Live and ready are 200 with the keys that KServe's client looks up."""
    assert served.get("/v2/health/live").json()["live"] is True
    assert served.get("/v2/health/ready").json()["ready"] is True
    assert served.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}


@pytest.mark.front_desk("health over gRPC")
def test_health_is_true_for_both_clients(served: Served) -> None:
    """Server and loaded model are live and ready over HTTP and gRPC."""
    for client in served.clients:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.is_model_ready("tiny", "1")


@pytest.mark.parametrize(
    "wire", ["http", pytest.param("grpc", marks=pytest.mark.front_desk("health over gRPC"))]
)
@pytest.mark.parametrize("model", ["spare", "broken", "nobody"])
def test_a_model_that_cannot_answer_is_not_ready(served: Served, model: str, wire: str) -> None:
    """For an unloaded, failed or unknown model both clients say False and raise nothing."""
    client = served.http if wire == "http" else served.grpc

    assert client.is_model_ready(model) is False


@pytest.mark.front_desk("metadata over gRPC")
def test_server_metadata_has_its_three_keys(served: Served) -> None:
    """Name, version and the extensions that are on, alike over HTTP and gRPC."""
    told = served.get("/v2").json()

    assert told["name"] == "triton"
    assert told["version"]
    assert {"binary_tensor_data", "classification", "statistics", "model_repository"} <= set(
        told["extensions"]
    )
    assert as_dict(served.grpc.get_server_metadata()) == told


@pytest.mark.parametrize(
    ("model", "shape"), [("tiny", [-1, 16]), ("simple", [-1, 16]), ("flat", [16])]
)
def test_model_metadata_leads_with_the_batch(served: Served, model: str, shape: list[int]) -> None:
    """All five keys are there, and shapes begin with -1 exactly where calls are batched."""
    told = served.get(f"/v2/models/{model}").json()

    assert set(told) == {"name", "versions", "platform", "inputs", "outputs"}
    assert (told["name"], told["versions"], told["platform"]) == (model, ["1"], "onnxruntime_onnx")
    assert [tensor["shape"] for tensor in told["inputs"]] == [shape] * len(told["inputs"])


@pytest.mark.front_desk("metadata over gRPC")
@pytest.mark.parametrize("model", ["tiny", "simple", "flat", "id_BF16", "m a", "choice"])
def test_both_wires_tell_the_same_of_a_model(served: Served, model: str) -> None:
    """Metadata, configuration and statistics over HTTP are those over gRPC."""
    http, grpc = served.clients
    config = config_pb.ModelConfig()
    json_format.ParseDict(http.get_model_config(model), config, ignore_unknown_fields=True)
    metadata = http.get_model_metadata(model)
    over_grpc = grpc.get_model_metadata(model)

    assert (over_grpc.name, list(over_grpc.versions), over_grpc.platform) == (
        metadata["name"], metadata["versions"], metadata["platform"]
    )  # fmt: skip
    assert [(t.name, t.datatype, list(t.shape)) for t in (*over_grpc.inputs, *over_grpc.outputs)
            ] == [(t["name"], t["datatype"], t["shape"])
                  for t in (*metadata["inputs"], *metadata["outputs"])]  # fmt: skip
    assert grpc.get_model_config(model).config == config
    counted = http.get_inference_statistics(model)["model_stats"]
    same = [(s["version"], s["inference_count"], s["execution_count"],
             s["inference_stats"]["success"]["ns"]) for s in counted]  # fmt: skip
    assert [(s.version, s.inference_count, s.execution_count, s.inference_stats.success.ns)
            for s in grpc.get_inference_statistics(model).model_stats] == same  # fmt: skip


@pytest.mark.front_desk("configuration")
def test_configuration_is_printed_as_triton_prints_it(served: Served) -> None:
    """64-bit integers are numbers, enums names, keys snake case; nothing of it is lost."""
    told = served.get("/v2/models/tiny/config").json()

    assert told["input"][0] | {"data_type": "TYPE_FP32", "dims": [16]} == told["input"][0]
    assert told["dynamic_batching"]["preferred_batch_size"] == [4, 8]
    assert told["dynamic_batching"]["max_queue_delay_microseconds"] == 500
    assert told["version_policy"] == {"latest": {"num_versions": 2}}
    assert told["instance_group"][0] | {"kind": "KIND_CPU", "count": 1} == told["instance_group"][0]
    assert told["max_batch_size"] == 8
    assert "sequence_batching" not in told
    over_grpc = served.grpc.get_model_config("tiny").config
    assert list(over_grpc.input[0].dims) == [16]
    assert over_grpc.dynamic_batching.max_queue_delay_microseconds == 500
    assert over_grpc.version_policy.latest.num_versions == 2


@pytest.mark.parametrize(
    "route", [*LOADED_ROUTES, *(pytest.param(route, marks=OF_DESK) for route in DESKS_ROUTES)]
)
def test_queries_and_unknown_headers_mean_nothing(served: Served, route: str) -> None:
    """A query string, keys repeated, and headers that nobody knows change no answer."""
    plain = served.get(route)
    odd = served.ask("GET", f"{route}?a=1&a=2&%00=%zz", headers={"X-Odd": "1", "te": "x"})

    assert (plain.status, odd.status) == (200, 200)
    assert set(odd.json()) == set(plain.json())


def test_infer_ignores_queries_and_content_types(served: Served) -> None:
    """No content type, a wrong one and a query string all give the answer."""
    text = json.dumps(ones()).encode()
    answers = [
        served.ask("POST", "/v2/models/tiny/infer" + query, text, headers).json()["outputs"]
        for query, headers in (
            ("", {}),
            ("?x=1&x=2", {"Content-Type": "application/octet-stream"}),
            ("", {"Content-Type": "text/html; charset=latin-1"}),
        )
    ]
    assert answers == [answers[0]] * 3


def test_names_with_spaces_are_decoded(served: Served) -> None:
    """A model called `m a` is reached by tritonclient, which percent-encodes the path."""
    http = served.http
    x = json_input("x", "FP32", (1, 16), [1.0] * 16)

    assert http.is_model_ready("m a")
    assert http.get_model_metadata("m a")["name"] == "m a"
    reply = served.ask("POST", "/v2/models/m%20a/infer", {"inputs": [x]}).json()
    assert reply["model_name"] == "m a"


@pytest.mark.front_desk("configuration, and health over gRPC")
def test_names_with_spaces_are_decoded_by_the_front_desk(served: Served) -> None:
    """What other parts than workers answer about `m a` is about `m a`."""
    assert served.http.get_model_config("m a")["name"] == "m a"
    assert served.grpc.is_model_ready("m a")


@pytest.mark.parametrize(
    ("method", "path", "refusal"),
    [
        ("POST", "/v2", (405, "Method Not Allowed")),
        ("GET", "/v2/models/tiny/infer", (405, "Method Not Allowed")),
        pytest.param("GET", "/v2/repository/index", (405, "Method Not Allowed"), marks=OF_DESK),
        ("DELETE", "/v2/models/tiny", (405, "Method Not Allowed")),
        ("GET", "/v3", (404, "Not Found")),
        ("GET", "/", (404, "Not Found")),
        ("GET", "/v2/", (404, "Not Found")),
        ("GET", "/v2/models/tiny/", (404, "Not Found")),
        ("POST", "/v2/models/tiny/infer/", (404, "Not Found")),
        ("GET", "/v2/models/tiny/versions/x", (404, "Not Found")),
        ("GET", "/v2/models/tiny/versions/-1/ready", (404, "Not Found")),
        ("POST", "/v2/models/tiny/versions/1.0/infer", (404, "Not Found")),
    ],
)
def test_routes_are_exact(served: Served, method: str, path: str, refusal: tuple[int, str]) -> None:
    """A wrong method is 405; another path, a trailing slash or a version that is no number 404."""
    assert served.ask(method, path, b"{}" if method == "POST" else b"").refusal() == refusal


def test_the_client_library_reads_the_refusals(served: Served) -> None:
    """The client library shows status and text of a refusal that the edge itself wrote."""
    with pytest.raises(triton_http.InferenceServerException, match="Request for unknown model"):
        served.http.get_model_metadata("nobody")
