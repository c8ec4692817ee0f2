"""Extensions that an operator turns on: loads with a request's files, shared memory, generate."""

import json
import os
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, shared_memory

from tests.fakes import models
from tests.fakes.models import BIAS, WEIGHT
from tests.fakes.protocol_server import Served, tensors

X = np.ones((1, 16), np.float32)
Y = (X @ WEIGHT + BIAS)[0].tolist()
WIRES = pytest.mark.parametrize("library", [triton_http, triton_grpc], ids=["http", "grpc"])
LARGER = {"max_batch_size": "16", "backend": "onnxruntime"}


def client_of(served: Served, library: Any) -> Any:  # noqa: ANN401  tritonclient has no types
    """The client of a library."""
    return served.http if library is triton_http else served.grpc


@pytest.mark.front_desk("loads and unloads")
@WIRES
def test_a_load_takes_another_configuration(served: Served, library: Any) -> None:  # noqa: ANN401  no types
    """A number in quotes is taken, the configuration shows it, and a plain load ends it."""
    client = client_of(served, library)

    client.load_model("spare", config=json.dumps(LARGER))
    told = served.get("/v2/models/spare/config").json()
    answer = client.infer("spare", tensors(library, ("x", np.ones((16, 16), np.float32))))
    client.load_model("spare")
    plain = served.get("/v2/models/spare/config").json()
    client.unload_model("spare")

    assert told["max_batch_size"] == 16
    assert answer.as_numpy("y").shape == (16, 4)
    assert plain["max_batch_size"] == 8


@pytest.mark.front_desk("loads and unloads")
@WIRES
def test_a_load_takes_files(served: Served, library: Any) -> None:  # noqa: ANN401  no types
    """Files of the request stand in for the model's folder, versions included."""
    client = client_of(served, library)

    client.load_model(
        "spare", config=json.dumps(LARGER), files={"file:7/model.onnx": models.tiny()}
    )
    version = client.infer("spare", tensors(library, ("x", X))).get_response()
    client.load_model("spare")
    client.unload_model("spare")

    assert (version["model_version"] if isinstance(version, dict) else version.model_version) == "7"


@pytest.mark.front_desk("loads and unloads")
@WIRES
@pytest.mark.parametrize("path", ["file:../model.onnx", "file:1/../../x", "file:/etc/passwd"])
def test_files_outside_of_the_model_are_refused(
    served: Served,
    library: Any,  # noqa: ANN401  no types
    path: str,
) -> None:
    """No path leaves the model's folder."""
    with pytest.raises(InferenceServerException) as caught:
        client_of(served, library).load_model(
            "spare", config=json.dumps(LARGER), files={path: b"x"}
        )

    assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


@pytest.mark.front_desk("loads and unloads")
def test_unknown_load_parameters_are_named(served: Served) -> None:
    """What a load does not know is the caller's mistake."""
    reply = served.ask("POST", "/v2/repository/models/spare/load", {"parameters": {"odd": "1"}})

    assert reply.refusal() == (400, "unrecognized load parameter 'odd'.")


@pytest.mark.front_desk("registration of shared memory")
@WIRES
def test_tensors_travel_in_shared_memory(served: Served, library: Any) -> None:  # noqa: ANN401  no types
    """A call reads its input from a region and writes its output into it, on both wires."""
    client, key = client_of(served, library), f"/bascule-protocol-{os.getpid()}"
    region = shared_memory.create_shared_memory_region("both", key, 256)
    try:
        shared_memory.set_shared_memory_region(region, [X])
        client.register_system_shared_memory("both", key, 256)
        x = library.InferInput("x", [1, 16], "FP32")
        x.set_shared_memory("both", 64)
        y = library.InferRequestedOutput("y")
        y.set_shared_memory("both", 16, 128)
        client.infer("tiny", [x], outputs=[y])
        found = shared_memory.get_contents_as_numpy(region, np.float32, [1, 4], offset=128)
        answer = found[0].tolist()
        del found
        client.unregister_system_shared_memory("both")
        with pytest.raises(InferenceServerException) as caught:
            client.infer("tiny", [x])
    finally:
        shared_memory.destroy_shared_memory_region(region)

    assert answer == Y
    assert caught.value.message() == "Unable to find shared memory region: 'both'"


@pytest.mark.front_desk("generate")
def test_generate_is_one_flat_answer(served: Served) -> None:
    """Inputs by name in, outputs by name out, the id beside them."""
    body = {"id": "42", "x": [1.0] * 16, "parameters": {"temperature": 0}}

    reply = served.ask("POST", "/v2/models/tiny/generate", body)

    assert reply.json() == {"id": "42", "model_name": "tiny", "model_version": "1", "y": Y}


@pytest.mark.front_desk("generate")
def test_generate_stream_sends_events(served: Served) -> None:
    """Each response is `data: …` with an empty line; an error before the start is a plain one."""
    reply = served.ask("POST", "/v2/models/tiny/generate_stream", {"x": [1.0] * 16})
    refused = served.ask("POST", "/v2/models/nobody/generate_stream", {"x": [1.0]})

    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.body.startswith(b"data: {")
    assert reply.body.endswith(b"}\n\n")
    assert json.loads(reply.body.removeprefix(b"data: "))["y"] == Y
    assert refused.refusal() == (404, "Request for unknown model: 'nobody' is not found")
