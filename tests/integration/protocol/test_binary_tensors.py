"""Inference with binary tensors over HTTP: bits, lengths, chunks, raw requests."""

import json
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from runtimes.datatypes import DTYPES, Datatype
from tests.fakes.protocol_server import Served, json_input

TEXTS = [b"", b"plain", "é€".encode(), b"nul\0inside"]
X = np.arange(16, dtype=np.float32)


def values_of(datatype: Datatype) -> np.ndarray:
    """Four elements with every bit pattern that matters."""
    if datatype is Datatype.BYTES:
        return np.array(TEXTS, object).reshape(2, 2)
    if datatype is Datatype.BOOL:
        return np.array([[True, False], [False, True]])
    dtype = DTYPES[datatype]
    if datatype.value.endswith(("INT8", "INT16", "INT32", "INT64")):
        info = np.iinfo(dtype)
        return np.array([[info.min, info.max], [0, 1]], dtype)
    info = ml_dtypes.finfo(dtype)
    return np.array([[info.max, -0.0], [info.smallest_subnormal, np.nan]], dtype)


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("library", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_every_datatype_comes_back_bit_for_bit(
    served: Served, datatype: Datatype, library: object
) -> None:
    """Extremes, NaN, negative zero, empty text and embedded NUL survive through tritonclient."""
    client = served.http if library is triton_http else served.grpc
    values = values_of(datatype)
    tensor = library.InferInput("INPUT0", [2, 2], datatype.value)
    tensor.set_data_from_numpy(values)

    answer = client.infer(f"id_{datatype}", [tensor]).as_numpy("OUTPUT0")

    assert (answer.dtype, answer.shape) == (values.dtype, (2, 2))
    assert (answer.tolist() if datatype is Datatype.BYTES else answer.tobytes()) == (
        values.tolist() if datatype is Datatype.BYTES else values.tobytes()
    )


def test_text_that_is_no_utf8_is_refused_with_the_remedy(served: Served) -> None:
    """The engine carries text only: other bytes are told so, and are no server error."""
    document = {"inputs": [json_input("INPUT0", "BYTES", (1, 1), None, binary_data_size=6)]}

    status, text = served.infer("id_BYTES", document, b"\2\0\0\0\xff\xfe").refusal()

    assert status == 400
    assert "not valid UTF-8" in text
    assert "base64 or UINT8" in text


def test_mixed_outputs_have_their_lengths_and_order(served: Served) -> None:
    """The header counts the JSON's bytes; blobs follow in the order of `outputs`."""
    a, b = np.arange(16, dtype=np.int32), np.arange(16, dtype=np.int32) + 5
    inputs = [
        json_input("INPUT0", "INT32", (1, 16), None, binary_data_size=64),
        json_input("INPUT1", "INT32", (1, 16), b.tolist()),
    ]
    both = [{"name": name, "parameters": {"binary_data": True}} for name in ("OUTPUT1", "OUTPUT0")]

    mixed = served.infer(
        "simple", {"inputs": inputs, "outputs": [{"name": "OUTPUT0"}, both[0]]}, a.tobytes()
    )
    binary = served.infer("simple", {"inputs": inputs, "outputs": both}, a.tobytes())

    assert mixed.headers["content-type"] == "application/octet-stream"
    assert mixed.json()["outputs"][0]["data"] == (a + b).tolist()
    assert mixed.json()["outputs"][1]["parameters"] == {"binary_data_size": 64}
    assert mixed.tail == (a - b).tobytes()
    assert [o["name"] for o in binary.json()["outputs"]] == ["OUTPUT0", "OUTPUT1"]
    assert binary.tail == (a + b).tobytes() + (a - b).tobytes()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BF16"])
def test_tensors_without_elements_are_answered(
    served: Served, datatype: str, shape: tuple[int, int]
) -> None:
    """A dimension of 0 is legal with a size of 0, with no data at all, and over gRPC."""
    sized = json_input("INPUT0", datatype, shape, None, binary_data_size=0)
    bare = json_input("INPUT0", datatype, shape, None)
    asked = {"parameters": {"binary_data_output": True}}
    answers = [
        served.infer(f"id_{datatype}", {"inputs": [tensor], **asked}).json()["outputs"][0]
        for tensor in (sized, bare)
    ]
    tensor = triton_grpc.InferInput("INPUT0", list(shape), datatype)
    tensor.set_data_from_numpy(np.empty(shape, DTYPES[Datatype(datatype)]))

    assert [answer["shape"] for answer in answers] == [list(shape)] * 2
    assert served.grpc.infer(f"id_{datatype}", [tensor]).as_numpy("OUTPUT0").shape == shape


def test_chunked_bodies_are_read(served: Served) -> None:
    """A body in chunks, cut anywhere, is the body."""
    header = json.dumps(
        {"inputs": [json_input("x", "FP32", (16,), None, binary_data_size=64)]}
    ).encode()

    def pieces() -> Iterator[bytes]:
        whole = header + X.tobytes()
        yield from (whole[at : at + 7] for at in range(0, len(whole), 7))

    length = {"Inference-Header-Content-Length": str(len(header))}
    reply = served.ask("POST", "/v2/models/flat/infer", pieces(), length)

    assert reply.status == 200, reply.body
    assert len(reply.json()["outputs"][0]["data"]) == 4


@pytest.mark.parametrize(
    ("model", "body", "shape"),
    [
        ("flat", X.tobytes(), [4]),
        ("tiny", X.tobytes(), [1, 4]),
        ("m%20a", X.tobytes(), [1, 4]),
    ],
)
def test_a_header_of_zero_makes_the_body_the_input(
    served: Served, model: str, body: bytes, shape: list[int]
) -> None:
    """A raw request is the one input's bytes; the reply is binary."""
    reply = served.ask(
        "POST", f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": "0"}
    )

    assert reply.status == 200, reply.body
    assert reply.json()["outputs"][0]["shape"] == shape
    assert len(reply.tail) == 16


@pytest.mark.parametrize("model", ["simple", "picky"])
def test_raw_requests_are_for_one_input(served: Served, model: str) -> None:
    """Where a model has two inputs nobody could say which one is meant."""
    reply = served.ask(
        "POST", f"/v2/models/{model}/infer", bytes(64), {"Inference-Header-Content-Length": "0"}
    )

    assert reply.refusal()[0] == 400


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("abc", "Unable to parse Inference-Header-Content-Length, got: abc"),
        ("-1", "inference header size should be in range (0, "),
        ("9999", "inference header size should be in range (0, "),
        (
            "99999999999",
            (
                "Unable to parse Inference-Header-Content-Length, value is out of range "
                "[ -2147483648, 2147483647 ], got: 99999999999"
            ),
        ),
    ],
)
def test_a_wrong_header_length_is_told(served: Served, length: str, words: str) -> None:
    """Garbage, negative, more than the body or than 31 bits: 400, and the server goes on."""
    reply = served.ask(
        "POST", "/v2/models/flat/infer", b"{}", {"Inference-Header-Content-Length": length}
    )
    status, text = reply.refusal()

    assert (status, text[: len(words)]) == (400, words)
    assert served.http.is_server_live()


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (60, "unexpected size for input 'x', expecting 4 additional bytes for model 'flat'"),
        (68, "unexpected additional input data for model 'flat'"),
    ],
)
def test_short_and_surplus_tails_are_told(served: Served, size: int, words: str) -> None:
    """A tail must be as long as the inputs say."""
    document = {"inputs": [json_input("x", "FP32", (16,), None, binary_data_size=64)]}
    status, text = served.infer("flat", document, bytes(size)).refusal()

    assert (status, text[: len(words)]) == (400, words)
