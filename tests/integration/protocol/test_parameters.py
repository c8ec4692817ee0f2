"""Request parameters and classification, on both protocols."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.fakes.protocol_models import LABELS
from tests.fakes.protocol_server import Served, grpc_request, ones, tensors

X = np.ones((1, 16), np.float32)
CUSTOM = {"text": "t", "whole": -3, "flag": True, "ratio": 0.5, "big": 2**62}


def tiny_call() -> object:
    """A gRPC call to `tiny`."""
    return grpc_request("tiny", ("x", X))


def test_custom_parameters_of_every_kind_are_accepted(served: Served) -> None:
    """Strings, integers, booleans and floats are passed or ignored, and fail nothing."""
    call = tiny_call()
    call.parameters["text"].string_param = "t"
    call.parameters["whole"].int64_param = -3
    call.parameters["flag"].bool_param = True
    call.parameters["ratio"].double_param = 0.5
    call.parameters["big"].uint64_param = 2**63

    assert served.infer("tiny", ones(parameters=CUSTOM)).status == 200
    assert served.stub.ModelInfer(call).model_name == "tiny"


@pytest.mark.parametrize("value", [[1], {"a": 1}, [[]]], ids=["array", "object", "nested"])
def test_parameters_are_no_containers(served: Served, value: object) -> None:
    """Arrays and objects have no place in the protocol's parameters."""
    assert served.infer("tiny", ones(parameters={"x": value})).refusal() == (
        400,
        "parameter 'x' has invalid type. It should be either 'int', 'bool', or 'string'.",
    )


def test_reserved_parameters_are_refused_on_both_wires(served: Served) -> None:
    """Keys that begin with `triton_` are not for callers."""
    words = "parameter keys starting with 'triton_' are reserved for Triton usage"
    call = tiny_call()
    call.parameters["triton_x"].int64_param = 1

    status, text = served.infer("tiny", ones(parameters={"triton_x": 1})).refusal()
    code, details = served.grpc_refusal(call)

    assert (status, text.startswith(words)) == (400, True)
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, text)


@pytest.mark.parametrize("kind", ["uint64_param", "int64_param"])
def test_priority_comes_in_both_integer_forms(served: Served, kind: str) -> None:
    """One client sends it unsigned, others signed."""
    call = tiny_call()
    setattr(call.parameters["priority"], kind, 1)

    assert served.stub.ModelInfer(call).model_version == "1"
    assert served.infer("tiny", ones(parameters={"priority": 1})).status == 200


@pytest.mark.parametrize("sequence", [7, "seven"])
def test_sequence_parameters_come_as_number_and_text(served: Served, sequence: int | str) -> None:
    """A model without sequences ignores them, in the three forms that clients send."""
    for library, client in ((triton_http, served.http), (triton_grpc, served.grpc)):
        result = client.infer(
            "tiny",
            tensors(library, ("x", X)),
            sequence_id=sequence,
            sequence_start=True,
            sequence_end=True,
        )
        assert result.as_numpy("y").shape == (1, 4)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"priority": "x"}, "Unable to parse 'priority': attempt to access JSON "),
        ({"timeout": "x"}, "Unable to parse 'timeout': attempt to access JSON "),
        ({"binary_data_output": 1}, "Unable to parse 'binary_data_output': attempt to access "),
    ],
)
def test_a_parameter_of_the_wrong_type_is_named(
    served: Served, parameters: dict[str, object], words: str
) -> None:
    """The message names the parameter and the type that is expected."""
    status, text = served.infer("tiny", ones(parameters=parameters)).refusal()

    assert (status, text[: len(words)]) == (400, words)


def test_a_timeout_in_the_queue_fails_that_call_alone(served: Served) -> None:
    """What waits longer than its `timeout` says is refused as not executed; others are answered."""

    def call(client_kind: str, timeout_us: int | None) -> str:
        library = triton_http if client_kind == "http" else triton_grpc
        address = served.instance.http if client_kind == "http" else served.instance.grpc
        inputs = tensors(
            library, ("x", np.ones((1, 4), np.float32)), ("n", np.array([20], np.int64))
        )
        with library.InferenceServerClient(address) as client:
            try:
                client.infer("slow", inputs, timeout=timeout_us)
            except InferenceServerException as error:
                return str(error)
        return "answered"

    with ThreadPoolExecutor(4) as pool:
        patient = [pool.submit(call, kind, None) for kind in ("http", "grpc")]
        hasty = [pool.submit(call, kind, 1) for kind in ("http", "grpc")]
        said = [each.result() for each in (*patient, *hasty)]

    assert said[:2] == ["answered", "answered"]
    refused = [text for text in said[2:] if text != "answered"]
    assert refused
    # The rest of the text, if there is any, says what it would have had to wait for.
    assert {text.partition(":")[0] for text in refused} <= {
        "[503] Request timeout expired",
        "[StatusCode.UNAVAILABLE] Request timeout expired",
    }


@pytest.mark.parametrize(("k", "shown"), [(1, 1), (3, 3), (9, 4)], ids=["one", "three", "capped"])
@pytest.mark.parametrize("rows", [1, 2])
def test_classification_is_the_same_everywhere(
    served: Served, k: int, shown: int, rows: int
) -> None:
    """BYTES of `value:index:label` a row, the largest first, at most all classes."""
    x = np.ones((rows, 16), np.float32)
    (scores,) = served.grpc.infer("classes", tensors(triton_grpc, ("x", X))).as_numpy("y")
    best = sorted(range(4), key=lambda index: -scores[index])[:shown]
    row = [f"{scores[index]:f}:{index}:{LABELS[index]}".encode() for index in best]
    answers = []
    for library, client, kinds in (
        (triton_http, served.http, ({"binary_data": True}, {"binary_data": False})),
        (triton_grpc, served.grpc, ({},)),
    ):
        for kind in kinds:
            output = library.InferRequestedOutput("y", class_count=k, **kind)
            found = client.infer("classes", tensors(library, ("x", x)), outputs=[output])
            answers.append(np.char.encode(found.as_numpy("y").astype(str)).tolist())

    assert answers == [[row] * rows] * 3


def test_classes_of_text_are_refused(served: Served) -> None:
    """Only numbers can be sorted into classes."""
    for library, client in ((triton_http, served.http), (triton_grpc, served.grpc)):
        output = library.InferRequestedOutput("OUTPUT0", class_count=2)
        given = tensors(library, ("INPUT0", np.array([[b"1"] * 16], object)))
        with pytest.raises(InferenceServerException, match="unsupported type 'BYTES'"):
            client.infer("text", given, outputs=[output])
