"""Refusals that one protocol alone has, and those of operators' calls, word for word."""

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.fakes.protocol_server import Served, grpc_request, json_input

X = np.ones((1, 16), np.float32)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
LIMIT_BYTES = 64 << 20


def other_contents() -> pb.ModelInferRequest:
    """A call whose data stands in the field of another datatype."""
    call = pb.ModelInferRequest(model_name="tiny")
    tensor = call.inputs.add(name="x", datatype="FP32", shape=[1, 16])
    tensor.contents.int_contents.extend([1] * 16)
    return call


def no_contents() -> pb.ModelInferRequest:
    """A call without any data."""
    call = pb.ModelInferRequest(model_name="tiny")
    call.inputs.add(name="x", datatype="FP32", shape=[1, 16])
    return call


def free_shape() -> pb.ModelInferRequest:
    """A call that leaves a dimension open."""
    call = grpc_request("tiny", ("x", X))
    call.inputs[0].shape[:] = [-1, 16]
    return call


def classes(kind: str, value: object) -> pb.ModelInferRequest:
    """A call that asks for classes in some form."""
    call = grpc_request("tiny", ("x", X))
    setattr(call.outputs.add(name="y").parameters["classification"], kind, value)
    return call


MESSAGES = {
    "other contents": (
        other_contents(),
        "unexpected explicit tensor data for input tensor 'x' for model 'tiny' of type ",
    ),
    "no data": (
        no_contents(),
        "unable to find data for input tensor 'x' for model 'tiny' in request.",
    ),
    "open dimension": (
        free_shape(),
        "All input dimensions should be specified for input 'x' for model 'tiny', got [-1,16]",
    ),
    "negative classes": (
        classes("int64_param", -1),
        "invalid value for 'classification' parameter, expected >= 0",
    ),
    "classes as text": (
        classes("string_param", "3"),
        "invalid value type for 'classification' parameter, expected int64_param",
    ),
}


@pytest.mark.parametrize(("call", "words"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages_that_are_not_of_the_protocols_form(
    served: Served, call: pb.ModelInferRequest, words: str
) -> None:
    """What is wrong with a message is told in Triton's words."""
    code, text = served.grpc_refusal(call)

    assert code is INVALID
    assert words in text


def test_a_json_tensor_over_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    """The shape alone says that it would be too large."""
    document = {"inputs": [json_input("INPUT0", "FP32", (1, LIMIT_BYTES), [1])]}

    status, text = served.infer("id_FP32", document).refusal()

    assert status == 400
    assert text.startswith(
        f"JSON input 'INPUT0' has a byte_size ({4 * LIMIT_BYTES} bytes) that exceeds the maximum "
        f"allowed value of {LIMIT_BYTES} bytes. Use --http-max-input-size"
    )


def test_json_over_the_limit_is_refused(served: Served) -> None:
    """Both sizes are told, and that the binary format has no such limit."""
    body = b'{"inputs":[]}' + b" " * LIMIT_BYTES

    status, text = served.ask("POST", "/v2/models/tiny/infer", body).refusal()

    assert status in {400, 413}
    assert text.startswith(
        f"request JSON size of {len(body)} bytes exceeds the maximum allowed input size of "
        f"{LIMIT_BYTES} bytes. Use --http-max-input-size to increase the limit"
    )


LOADS = {
    "no name": ("", "Model name cannot be empty. Please enter a valid name to deploy."),
    "a path": (
        "../x",
        "invalid model name '../x', model name must not contain path traversal characters",
    ),
    "not there": ("nobody", "failed to load 'nobody', failed to poll from model repository"),
}


@pytest.mark.front_desk("loads and unloads")
@pytest.mark.parametrize(("name", "text"), LOADS.values(), ids=LOADS.keys())
def test_loads_of_what_cannot_be(served: Served, name: str, text: str) -> None:
    """An empty name, a path and an unknown model are told apart."""
    with pytest.raises(InferenceServerException) as caught:
        served.grpc.load_model(name)

    assert caught.value.message().startswith(text)
    assert caught.value.status() == (
        "StatusCode.NOT_FOUND" if name == "nobody" else "StatusCode.INVALID_ARGUMENT"
    )


@pytest.mark.front_desk("repository calls")
def test_a_model_without_a_version_is_not_loaded(served: Served) -> None:
    """Over both protocols it is the caller's mistake, told without the server's paths."""
    for client, status in (
        (served.http, "400"),
        (served.grpc, "StatusCode.INVALID_ARGUMENT"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("empty")
        told = caught.value.message()
        assert told.startswith("failed to load 'empty', no version is available: empty holds no")
        assert (caught.value.status(), " /" in told) == (status, False)


@pytest.mark.front_desk("repository calls")
def test_a_load_that_fails_names_its_version(served: Served) -> None:
    """The version, its state and the reason are told over both protocols."""
    for client, status in (
        (served.http, "400"),
        (served.grpc, "StatusCode.INVALID_ARGUMENT"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("broken")
        assert caught.value.message().startswith(
            "failed to load 'broken': load failed for model 'broken': version 1 is at UNAVAILABLE "
            "state: "
        )
        assert caught.value.message().endswith(";")
        assert caught.value.status() == status
    served.http.unload_model("broken")
