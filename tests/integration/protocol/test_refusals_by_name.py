"""Refusals of models, versions and requests that hold for both protocols, word for word.

Triton's own tests and users' scripts read these texts. A text that Triton begins with the request's
id is compared by what follows it.
"""

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.fakes.protocol_server import Served, json_input, ones
from tests.fakes.worker_process import wait_until

X16 = json_input("x", "FP32", (1, 16), [1.0] * 16)
BATCH_NOTE = "NOTE: Setting a non-zero max_batch_size in the model config requires a batch "
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    503: grpc.StatusCode.UNAVAILABLE,
}


def int32(name: str, rows: int = 1, columns: int = 16) -> dict[str, object]:
    """An input of `simple`."""
    return json_input(name, "INT32", (rows, columns), [1] * rows * columns)


def as_grpc(model: str, inputs: list[dict], outputs: list[str], version: str = "") -> object:
    """Write the same call as a message, its data as raw bytes."""
    call = pb.ModelInferRequest(model_name=model, model_version=version)
    kinds = {"FP32": "<f4", "INT32": "<i4", "INT64": "<i8"}
    for each in inputs:
        call.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        call.raw_input_contents.append(np.array(each["data"], kinds[each["datatype"]]).tobytes())
    for name in outputs:
        call.outputs.add(name=name)
    return call


MODELS = {
    "unknown model": ("nobody", "", 404, "Request for unknown model: 'nobody' is not found"),
    "missing version": (
        "tiny", "99", 404, "Request for unknown model: 'tiny' version 99 is not found"
    ),
    "version outside of the policy": (
        "choice", "3", 404, "Request for unknown model: 'choice' version 3 is not found"
    ),
}  # fmt: skip
UNLOADED = ("spare", "", 404, "Request for unknown model: 'spare' has no available versions")


@pytest.mark.parametrize(("model", "version", "status", "text"), MODELS.values(), ids=MODELS.keys())
def test_models_and_versions_that_cannot_answer(
    served: Served, model: str, version: str, status: int, text: str
) -> None:
    """Infer, metadata and readiness give one text; infer gives it over both protocols."""
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
    call = as_grpc(model, [X16], [], version)

    told = [
        served.ask("POST", f"{path}/infer", {"inputs": [X16]}),
        served.get(path),
        served.get(f"{path}/ready"),
    ]

    assert [reply.refusal() for reply in told] == [(status, text)] * 3
    assert served.grpc_refusal(call) == (CODES[status], text)


@pytest.mark.front_desk("configuration, and metadata over gRPC")
@pytest.mark.parametrize(
    ("model", "version", "status", "text"),
    [*MODELS.values(), UNLOADED],
    ids=[*MODELS, "unloaded model"],
)
def test_what_cannot_answer_is_told_by_the_front_desk(
    served: Served, model: str, version: str, status: int, text: str
) -> None:
    """Configuration and metadata are refused in the words of infer, over both protocols."""
    served.http.load_model("spare")
    served.http.unload_model("spare")
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")

    told = [
        served.ask("POST", f"{path}/infer", {"inputs": [X16]}),
        *(served.get(path + part) for part in ("", "/config", "/ready")),
    ]

    assert [reply.refusal() for reply in told] == [(status, text)] * 4
    assert served.grpc_refusal(as_grpc(model, [X16], [], version)) == (CODES[status], text)
    for ask, request in (
        (served.stub.ModelMetadata, pb.ModelMetadataRequest(name=model, version=version)),
        (served.stub.ModelConfig, pb.ModelConfigRequest(name=model, version=version)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask(request)
        assert (caught.value.code(), caught.value.details()) == (CODES[status], text)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (
            "a",
            (
                "failed to get model version from specified version string 'a' (details: not a "
                "decimal number), version should be an integral value > 0"
            ),
        ),
        ("-1", "invalid model version specified '-1' , version should be an integral value > 0"),
    ],
)
def test_a_version_is_a_positive_number(served: Served, version: str, text: str) -> None:
    """Over gRPC, where a version is text, another one is told."""
    found = served.grpc_refusal(as_grpc("tiny", [X16], [], version))

    assert found == (grpc.StatusCode.INVALID_ARGUMENT, text)


CALLS = {
    "unknown input": (
        "tiny", [X16 | {"name": "z"}], [], "unexpected inference input 'z' for model 'tiny'"
    ),
    "unknown output": ("tiny", [X16], ["z"], "unexpected inference output 'z' for model 'tiny'"),
    "input twice": ("tiny", [X16, X16], [], "input 'x' already exists in request"),
    "output twice": ("tiny", [X16], ["y", "y"], "output 'y' already exists in request"),
    "one input of two": (
        "simple", [int32("INPUT0")], [],
        ("expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) ['INPUT0'], but "
        "missing required input(s) ['INPUT1']. Please provide all required input(s)."),
    ),
    "no input": (
        "simple", [], [],
        ("expected 2 inputs but got 0 inputs for model 'simple'. Got input(s) [], but missing "
        "required input(s) ['INPUT0','INPUT1']. Please provide all required input(s)."),
    ),
    "datatype": (
        "tiny", [json_input("x", "INT32", (1, 16), [1] * 16)], [],
        "inference input 'x' data-type is 'INT32', but model 'tiny' expects 'FP32'",
    ),
    "shape": (
        "tiny", [json_input("x", "FP32", (1, 17), [1.0] * 17)], [],
        (f"unexpected shape for input 'x' for model 'tiny'. Expected [-1,16], got [1,17]. "
        f"{BATCH_NOTE}"),
    ),
    "shape without a batch": (
        "flat", [json_input("x", "FP32", (17,), [1.0] * 17)], [],
        "unexpected shape for input 'x' for model 'flat'. Expected [16], got [17].",
    ),
    "rank": (
        "tiny", [json_input("x", "FP32", (16,), [1.0] * 16)], [],
        "inference request batch-size must be <= 8 for 'tiny'",
    ),
    "too many rows": (
        "tiny", [json_input("x", "FP32", (9, 16), [1.0] * 144)], [],
        "inference request batch-size must be <= 8 for 'tiny'",
    ),
    "unequal rows": (
        "simple", [int32("INPUT0"), int32("INPUT1", 2)], [],
        "input 'INPUT1' batch size does not match other inputs for 'simple'",
    ),
    "no batch dimension": (
        "tiny", [json_input("x", "FP32", (), [1.0])], [],
        "input 'x' has no shape but model requires batch dimension for 'tiny'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "inputs", "outputs", "words"), CALLS.values(), ids=CALLS.keys())
def test_calls_that_do_not_fit_the_model(
    served: Served, model: str, inputs: list[dict], outputs: list[str], words: str
) -> None:
    """The same mistake is told in the same words over JSON and gRPC, and is 400."""
    document = {"inputs": inputs, "outputs": [{"name": name} for name in outputs], "id": "r7"}
    call = as_grpc(model, inputs, outputs)
    call.id = "r7"

    status, text = served.infer(model, document).refusal()
    code, details = served.grpc_refusal(call)

    assert (status, code) == (400, grpc.StatusCode.INVALID_ARGUMENT)
    assert text.removeprefix("[request id: r7] ")[: len(words)] == words
    assert details == text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            bytes(60),
            "input byte size mismatch for input 'x' for model 'tiny'. Expected 64, got 60",
        ),
        (
            bytes(68),
            "input byte size mismatch for input 'x' for model 'tiny'. Expected 64, got 68",
        ),
    ],
)
def test_bytes_that_are_not_shape_times_type(served: Served, data: bytes, words: str) -> None:
    """Both sizes are in the message, over both protocols."""
    document = {"inputs": [json_input("x", "FP32", (1, 16), None, binary_data_size=len(data))]}
    call = as_grpc("tiny", [X16], [])
    call.raw_input_contents[0] = data

    status, text = served.infer("tiny", document, data).refusal()

    assert (status, words in text) == (400, True)
    assert served.grpc_refusal(call) == (CODES[400], text)


TEXTS = {
    "few": (b"\1\0\0\0a", ("expected 2 string elements for inference input 'INPUT0' for model "
            "'id_BYTES', got 1")),
    "many": (b"\1\0\0\0a" * 3, ("unexpected number of string elements 3 for inference input "
             "'INPUT0' for model 'id_BYTES', expecting 2")),
    "cut length": (b"\1\0\0\0a\1\0", ("incomplete string length indicator for inference input "
                   "'INPUT0' for model 'id_BYTES', expecting 4 bytes but only 2 bytes available.")),
    "cut text": (b"\1\0\0\0a\7\0\0\0b", ("incomplete string data for inference input 'INPUT0' for "
                 "model 'id_BYTES', expecting string of length 7 but only 1 bytes available")),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), TEXTS.values(), ids=TEXTS.keys())
def test_texts_that_are_not_as_many_as_the_shape(served: Served, data: bytes, words: str) -> None:
    """Elements of BYTES tensors are counted, and their lengths checked."""
    tensor = json_input("INPUT0", "BYTES", (1, 2), None, binary_data_size=len(data))
    call = pb.ModelInferRequest(model_name="id_BYTES", raw_input_contents=[data])
    call.inputs.add(name="INPUT0", datatype="BYTES", shape=[1, 2])

    status, text = served.infer("id_BYTES", {"inputs": [tensor]}, data).refusal()

    assert (status, words in text) == (400, True)
    assert served.grpc_refusal(call) == (CODES[400], text)


def test_the_runtimes_failure_is_told_without_its_place(served: Served) -> None:
    """An index out of bounds is the caller's mistake; no path or trace is told."""
    inputs = [
        json_input("x", "FP32", (1, 4), [1.0] * 4),
        json_input("index", "INT64", (1, 1), [9]),
    ]

    status, text = served.infer("picky", {"inputs": inputs}).refusal()

    assert status == 400
    assert [word for word in ("/", "Traceback", ".cc") if word in text] == []
    assert served.grpc_refusal(as_grpc("picky", inputs, [])) == (CODES[400], text)


def test_a_full_queue_refuses_at_once(served: Served) -> None:
    """`Exceeds maximum queue size` is 503 and UNAVAILABLE: not executed, to be tried again."""
    inputs = [
        json_input("x", "FP32", (1, 4), [1.0] * 4),
        json_input("n", "INT64", (1,), [10]),
    ]
    call = as_grpc("narrow", inputs, [])
    futures = [served.stub.ModelInfer.future(call) for _ in range(6)]
    wait_until(lambda: served.waiting("narrow") == 1, "one call runs and one waits")

    status, text = served.infer("narrow", {"inputs": inputs}).refusal()
    outcomes = [future.exception() for future in futures]
    refused = [error for error in outcomes if error is not None]

    assert status == 503
    assert "Exceeds maximum queue size" in text
    assert refused
    assert {error.code() for error in refused} == {grpc.StatusCode.UNAVAILABLE}
    assert all("Exceeds maximum queue size" in error.details() for error in refused)


def test_every_refusal_has_the_form_that_clients_read(served: Served) -> None:
    """A reply that is no success is a JSON object with a text, exactly `application/json`."""
    for path, body in (
        ("/v2/models/nobody/infer", ones()),
        ("/v2/models/tiny/infer", b"\0"),
        ("/v2/models/tiny/versions/99/infer", ones()),
        ("/nothing", b""),
        ("/v2/models/%zz/infer", b"{}"),
    ):
        status, text = served.ask("POST", path, body).refusal()
        assert 400 <= status < 500
        assert text
