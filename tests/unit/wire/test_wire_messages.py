"""A call that does not fit the model is refused with the same literal text on both wires."""

import pytest
from tritonclient.grpc import service_pb2

from runtimes.datatypes import Datatype
from runtimes.errors import Code
from serving.wire.call import CallSpec
from tests.fakes.call_specs import TINY, identity
from tests.fakes.refusals import (
    BOOLS,
    BYTE,
    OPTIONAL,
    PAIR,
    STRINGS,
    entry,
    proto_refusal,
    refusal,
)

# What is wrong, said of the inputs alone: name → (shape, datatype, bytes).
Inputs = dict[str, tuple[list[int], str, int]]
SHARED: list[tuple[CallSpec, Inputs, str]] = [
    (TINY, {"Z": ([1, 16], "FP32", 64)}, "unexpected inference input 'Z' for model 'm'"),
    (
        TINY,
        {"x": ([1, 16], "FP32", 64), "Z": ([1], "FP32", 4)},
        "unexpected inference input 'Z' for model 'm'",
    ),
    (
        PAIR,
        {"a": ([1, 2], "INT8", 2)},
        (
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing "
            "required input(s) ['b']. Please provide all required input(s)."
        ),
    ),
    (
        PAIR,
        {},
        (
            "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing "
            "required input(s) ['a','b']. Please provide all required input(s)."
        ),
    ),
    (
        OPTIONAL,
        {"b": ([1], "INT8", 1)},
        (
            "expected number of inputs between 1 and 2 but got 1 inputs for model 'm'. Got "
            "input(s) ['b'], but missing required input(s) ['a']"
        ),
    ),
    (
        TINY,
        {"x": ([1, 16], "INT32", 64)},
        "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'",
    ),
    (
        TINY,
        {"x": ([1, 17], "FP32", 68)},
        (
            "unexpected shape for input 'x' for model 'm'. Expected [-1,16], got [1,17]. NOTE: "
            "Setting a non-zero max_batch_size in the model config requires a batch dimension to "
            "be prepended to each input shape."
        ),
    ),
    (TINY, {"x": ([16], "FP32", 64)}, "inference request batch-size must be <= 8 for 'm'"),
    (TINY, {"x": ([9, 16], "FP32", 576)}, "inference request batch-size must be <= 8 for 'm'"),
    (TINY, {"x": ([0, 16], "FP32", 0)}, "inference request batch-size must be <= 8 and at least 1"),
    (
        TINY,
        {"x": ([], "FP32", 4)},
        "input 'x' has no shape but model requires batch dimension for 'm'",
    ),
    (
        PAIR,
        {"a": ([1, 2], "INT8", 2), "b": ([2, 2], "INT8", 4)},
        "input 'b' batch size does not match other inputs for 'm'",
    ),
    (
        TINY,
        {"x": ([1, 16], "FP32", 60)},
        "input byte size mismatch for input 'x' for model 'm'. Expected 64, got 60",
    ),
    (
        BYTE,
        {"x": ([2**62, 2**62], "INT8", 0)},
        "unexpected shape for input 'x' for model 'm'. Expected [-1], got [",
    ),
    (
        BYTE,
        {"x": ([2**63], "INT8", 1)},
        "causes total element count to exceed maximum size of 9223372036854775807",
    ),
    (
        identity(Datatype.FP32, 2),
        {"x": ([0, 2**62], "FP32", 0)},
        "shape [0,4611686018427387904] of input 'x' has no element, and its other dimensions",
    ),
    (
        identity(Datatype.BYTES, 2),
        {"x": ([2**22 + 1, 0], "BYTES", 0)},
        "shape [4194305,0] of input 'x' has no element, and its other dimensions multiply to more",
    ),
    (BOOLS, {"x": ([1], "BOOL", 1)}, "input 'x' is BOOL and has the byte 2: 0 or 1 expected"),
    (BYTE, {"x": ([1], "INT7", 1)}, "invalid datatype for input x"),
    (BYTE, {"x": ([1], "", 1)}, "invalid datatype for input x"),
    (
        STRINGS,
        {"x": ([4], "BYTES", 0)},
        "expected 4 string elements for inference input 'x' for model 'm', got 0",
    ),
]


@pytest.mark.parametrize(
    ("model", "inputs", "message"), SHARED, ids=[message[:50] for _, _, message in SHARED]
)
def test_json_refusals(model: CallSpec, inputs: Inputs, message: str) -> None:
    """A JSON call that does not fit the model is refused with the literal text."""
    entries = [entry(name, *given) for name, given in inputs.items()]
    fill = b"\2" if model is BOOLS else b"\0"
    tail = fill * sum(size for _, _, size in inputs.values())
    outputs = [{"name": "y", "parameters": {"binary_data": True}}] if model.outputs else []

    error = refusal(model, {"id": "r", "inputs": entries, "outputs": outputs}, tail)

    assert message in error.message
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [case for case in SHARED if [2**63] not in [given[0] for given in case[1].values()]],
    ids=[message[:50] for _, _, message in SHARED if "total element" not in message],
)
def test_proto_refusals(model: CallSpec, inputs: Inputs, message: str) -> None:
    """The same call by gRPC is refused with the same text."""
    request = service_pb2.ModelInferRequest(model_name="m")
    for name, (shape, datatype, size) in inputs.items():
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append((b"\2" if model is BOOLS else b"\0") * size)

    error = proto_refusal(model, request)

    assert message in error.message
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\1\0\0\0a" * 2,
            "expected 4 string elements for inference input 'x' for model 'm', got 2",
        ),
        (
            b"\1\0\0\0a" * 5,
            (
                "unexpected number of string elements 5 for inference input 'x' for model 'm', "
                "expecting 4"
            ),
        ),
        (
            b"\1\0\0\0a\1\0",
            (
                "incomplete string length indicator for inference input 'x' for model 'm', "
                "expecting 4 bytes but only 2 bytes available."
            ),
        ),
        (
            b"\xff\xff\xff\xffa",
            (
                "incomplete string data for inference input 'x' for model 'm', expecting string of "
                "length 4294967295 but only 1 bytes available"
            ),
        ),
        (
            b"\1\0\0\0a\1\0\0\0\xff",
            "element 1 of inference input 'x' for model 'm' is not valid UTF-8",
        ),
    ],
    ids=["few", "many", "cut length", "cut data", "not text"],
)
def test_string_refusals(content: bytes, message: str) -> None:
    """BYTES that are cut, too few, too many or no text are refused on both wires."""
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[content])
    request.inputs.add(name="x", datatype="BYTES", shape=[4])
    body = {
        "inputs": [entry("x", [4], "BYTES", len(content))],
        "parameters": {"binary_data_output": True},
    }

    assert message in proto_refusal(STRINGS, request).message
    assert message in refusal(STRINGS, body, content).message
