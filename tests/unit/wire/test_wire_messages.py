"""Every refusal has the protocol's text, whichever wire the call came by."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, Code, InvalidArgumentError
from serving.wire.call import CallSpec
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from tests.fakes.call_specs import TINY, proto_request, spec, tensor

PAIR = spec(
    (tensor("a", Datatype.INT8, (-1, 2)), tensor("b", Datatype.INT8, (-1, 2))),
    (tensor("y", Datatype.INT8, (-1, 2)),),
    max_rows=8,
)
OPTIONAL = spec((tensor("a", Datatype.INT8, (1,)), tensor("b", Datatype.INT8, (1,), optional=True)))
STRINGS = spec((tensor("x", Datatype.BYTES, (-1,)),), (tensor("y", Datatype.FP16, (-1,)),))
HALF = spec((tensor("x", Datatype.FP16, (-1,)),), (tensor("y", Datatype.INT8, (-1,)),))
BOOLS = spec((tensor("x", Datatype.BOOL, (-1,)),))
BYTE = spec((tensor("x", Datatype.INT8, (-1,)),), (tensor("y", Datatype.INT8, (-1,)),))


def entry(name: str, shape: list[int], datatype: str, size: int) -> dict[str, Any]:
    """Return the JSON of an input in the tail."""
    return {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }


def refusal(model: CallSpec, request: dict[str, Any], tail: bytes = b"") -> BasculeError:
    """Return how a JSON request is refused."""
    header = json.dumps(request).encode()
    with pytest.raises(BasculeError) as caught:
        V2JsonCodec(model).decode_request(header + tail, len(header))
    return caught.value


def proto_refusal(model: CallSpec, request: service_pb2.ModelInferRequest) -> BasculeError:
    """Return how a ModelInferRequest is refused."""
    with pytest.raises(BasculeError) as caught:
        V2ProtoCodec(model).decode_request(request.SerializeToString())
    return caught.value


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


def with_input(**members: object) -> dict[str, Any]:
    """Return a JSON request with one INT8 input of one element, changed by `members`."""
    given: dict[str, Any] = {"name": "x", "shape": [1], "datatype": "INT8", "data": [1], **members}
    return {"inputs": [{key: value for key, value in given.items() if value is not ...}]}


JSON_ONLY: list[tuple[CallSpec, dict[str, Any], str]] = [
    (
        BYTE,
        {},
        "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
    ),
    (BYTE, {"inputs": {}}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
    (BYTE, {"inputs": [3]}, "Unable to parse 'inputs'"),
    (
        BYTE,
        with_input(name=...),
        "Unable to parse 'name': attempt to access non-existing object member 'name'",
    ),
    (
        BYTE,
        with_input(name=5),
        "Unable to parse 'name': attempt to access JSON non-string as string",
    ),
    (BYTE, with_input(datatype=...), "Unable to parse 'datatype': "),
    (BYTE, with_input(shape=...), "Unable to parse 'shape': "),
    (
        BYTE,
        with_input(shape=[-1]),
        "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
    ),
    (BYTE, with_input(shape=[1.5]), "Unable to parse 'shape': "),
    (BYTE, with_input(shape=[True]), "Unable to parse 'shape': "),
    (BYTE, with_input(shape=[1] * 65), "Unable to parse the request"),
    (
        BYTE,
        {**with_input(), "id": 5},
        "Unable to parse 'id': attempt to access JSON non-string as string",
    ),
    (
        BYTE,
        with_input(data=[1, 2]),
        "Unable to parse 'data': Shape does not match true shape of 'data' field",
    ),
    (
        BYTE,
        with_input(data=[]),
        "Failed to parse 'data' field: shape does not match true shape",
    ),
    (BYTE, with_input(data=5), "Unable to parse 'data': attempt to access JSON non-array as array"),
    (
        BYTE,
        with_input(data=["1"]),
        "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
    ),
    (BYTE, with_input(data=[1.5]), "non-signed-integer as signed-integer"),
    (BYTE, with_input(data=[None]), "non-signed-integer as signed-integer"),
    (BYTE, with_input(data=[[True]]), "non-signed-integer as signed-integer"),
    (BYTE, with_input(data=[{}]), "non-signed-integer as signed-integer"),
    (BYTE, with_input(data=[128]), "an element of input 'x' is out of range for INT8"),
    (
        BYTE,
        with_input(datatype="UINT64", data=[-1]),
        "an element of input 'x' is out of range for UINT64",
    ),
    (BYTE, with_input(datatype="UINT64", data=[2**64]), "is out of range for UINT64"),
    (BYTE, with_input(datatype="FP32", data=[1e39]), "is out of range for FP32"),
    (BYTE, with_input(datatype="FP64", data=[10**400]), "failed to parse the request JSON buffer"),
    (BYTE, with_input(datatype="FP32", data=["a"]), "attempt to access JSON non-number as double"),
    (BYTE, with_input(datatype="FP32", data=[True]), "attempt to access JSON non-number as double"),
    (BYTE, with_input(datatype="BOOL", data=[1]), "attempt to access JSON non-boolean as boolean"),
    (BYTE, with_input(datatype="BYTES", data=[1]), "attempt to access JSON non-string as string"),
    (
        HALF,
        with_input(datatype="FP16", data=[1]),
        (
            "receiving FP16 data via JSON is not supported. Please use the binary data format for "
            "input x"
        ),
    ),
    (
        STRINGS,
        with_input(datatype="BYTES", data=["a"]),
        (
            "sending FP16 data via JSON is not supported. Please use the binary data format for "
            "output"
        ),
    ),
    (
        STRINGS,
        {
            **with_input(datatype="BYTES", data=["a"]),
            "outputs": [{"name": "y", "parameters": {"classification": 1}}],
        },
        "class result not available for output due to unsupported type 'FP16'",
    ),
    (
        BYTE,
        with_input(data=...),
        (
            "Input must set only one of the following fields: 'data', 'binary_data_size' in "
            "'parameters', 'shared_memory_region' in 'parameters'. But no field is set"
        ),
    ),
    (
        BYTE,
        with_input(parameters={"binary_data_size": 1}),
        "But set 'data' 'binary_data_size'",
    ),
    (
        BYTE,
        with_input(parameters={"binary_data_size": -1}),
        "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer",
    ),
    (
        BYTE,
        with_input(data=..., parameters={"shared_memory_region": "r"}),
        "Unable to find shared memory region: 'r'",
    ),
    (
        BYTE,
        with_input(data=..., parameters={"binary_data_size": 5}),
        "unexpected size for input 'x', expecting 5 additional bytes for model 'm'",
    ),
    (
        BYTE,
        {**with_input(), "parameters": {"a": [1]}},
        "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'.",
    ),
    (
        BYTE,
        {**with_input(), "parameters": {"triton_x": 1}},
        "parameter keys starting with 'triton_' are reserved for Triton usage",
    ),
    (
        BYTE,
        {**with_input(), "parameters": {"priority": -1}},
        (
            "Unable to parse 'priority': attempt to access JSON non-unsigned-integer as "
            "unsigned-integer"
        ),
    ),
    (BYTE, {**with_input(), "parameters": {"timeout": "5"}}, "Unable to parse 'timeout': "),
    (BYTE, {**with_input(), "parameters": {"sequence_end": 1}}, "Unable to parse 'sequence_end': "),
    (BYTE, {**with_input(), "parameters": {"sequence_id": 1.5}}, "Unable to parse 'sequence_id': "),
    (
        BYTE,
        {**with_input(), "parameters": {"binary_data_output": 1}},
        "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean",
    ),
    (BYTE, {**with_input(), "outputs": [{}]}, "Unable to parse 'name': "),
    (BYTE, {**with_input(), "outputs": 5}, "Unable to parse 'outputs': "),
    (
        BYTE,
        {**with_input(), "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
        "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean",
    ),
    (
        BYTE,
        {**with_input(), "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "Unable to find shared memory region: 'r'",
    ),
    (
        BYTE,
        {**with_input(), "outputs": [{"name": "Z"}]},
        "unexpected inference output 'Z' for model 'm'",
    ),
    (
        BYTE,
        {**with_input(), "id": "r", "outputs": [{"name": "y"}, {"name": "y"}]},
        "[request id: r] output 'y' already exists in request",
    ),
    (
        BYTE,
        {"inputs": with_input()["inputs"] * 2},
        "[request id: <id_unknown>] input 'x' already exists in request",
    ),
]


@pytest.mark.parametrize(
    ("model", "request_", "message"),
    JSON_ONLY,
    ids=[f"{number}: {message[:40]}" for number, (_, _, message) in enumerate(JSON_ONLY)],
)
def test_json_form_refusals(model: CallSpec, request_: dict[str, Any], message: str) -> None:
    """A request whose JSON does not have the protocol's form is told which member, and why."""
    error = refusal(model, request_)

    assert message in error.message
    assert error.code in {Code.INVALID_ARGUMENT, Code.NOT_FOUND}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "failed to parse the request JSON buffer: Input data was truncated at 0"),
        (b"[", "failed to parse the request JSON buffer: "),
        (b'{"inputs":[', "failed to parse the request JSON buffer: "),
        (b'{"inputs":[]} x', "failed to parse the request JSON buffer: trailing characters at "),
        (b"[]", "attempt to access JSON non-object as object"),
        (b'{"inputs":[NaN}', "failed to parse the request JSON buffer: "),
        (b'{"a":NaN}\xff', "failed to parse the request JSON buffer: "),
        (b'{"a":NaN,"b":"\\ud800"}', "failed to parse the request JSON buffer: "),
        (b'{"a":NaN,"b":' + b"9" * 5000 + b"}", "failed to parse the request JSON buffer: "),
        (b'{"\x80":1}', "failed to parse the request JSON buffer: text is not UTF-8 at 2"),
        (b"\0\0\0", "failed to parse the request JSON buffer: "),
    ],
)
def test_malformed_json(body: bytes, message: str) -> None:
    """A body that is no JSON is refused with the reason and the offset."""
    with pytest.raises(InvalidArgumentError) as caught:
        V2JsonCodec(BYTE).decode_request(body, None)

    assert message in caught.value.message


@pytest.mark.parametrize("header_length", [-1, 15, 9999])
def test_header_length_must_lie_in_the_body(header_length: int) -> None:
    """A header length outside of the body is refused with the range."""
    with pytest.raises(InvalidArgumentError) as caught:
        V2JsonCodec(BYTE).decode_request(b'{"inputs":[]}\0', header_length)

    assert caught.value.message == (
        f"inference header size should be in range (0, 14), got: {header_length}"
    )


def test_negative_header_length_never_hits_a_cache() -> None:
    """A header length that cuts the body at a known header from behind is still out of range."""
    codec = V2JsonCodec(BYTE)
    header = json.dumps({"inputs": [entry("x", [1], "INT8", 1)]}).encode()
    codec.decode_request(header + b"\0", len(header))

    with pytest.raises(InvalidArgumentError, match="inference header size"):
        codec.decode_request(header + b"\0", -1)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (3, "unexpected size for input 'x', expecting 1 additional bytes for model 'm'"),
        (5, "unexpected additional input data for model 'm'"),
    ],
    ids=["short", "long"],
)
def test_tails_of_another_length(size: int, message: str) -> None:
    """A tail that is too short or too long is refused, on first sight and on a cache hit."""
    codec = V2JsonCodec(BYTE)
    header = json.dumps({"inputs": [entry("x", [4], "INT8", 4)]}).encode()

    def refused() -> str:
        with pytest.raises(InvalidArgumentError) as caught:
            codec.decode_request(header + b"\0" * size, len(header))
        return caught.value.message

    first = refused()
    codec.decode_request(header + b"\0" * 4, len(header))

    assert message in first
    assert refused() == first


def test_json_over_its_limit() -> None:
    """A JSON part over the limit is refused unread, and a JSON tensor over it too."""
    codec = V2JsonCodec(BYTE, max_json_bytes=100)
    long = json.dumps(with_input(data=[0] * 100)).encode()
    wide = json.dumps(with_input(shape=[101])).encode()

    with pytest.raises(InvalidArgumentError, match="exceeds the maximum allowed input size of 100"):
        codec.decode_request(long, None)
    with pytest.raises(InvalidArgumentError, match=r"JSON input 'x' has a byte_size \(101 bytes\)"):
        codec.decode_request(wide, None)


def _contents_and_raw(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].contents.int_contents.append(1)


def _other_contents(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp32_contents.append(1)


def _no_data(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]


def _surplus_raw(request: service_pb2.ModelInferRequest) -> None:
    request.raw_input_contents.append(b"")


def _wide_element(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.int_contents.append(-129)


def _negative_shape(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[0] = -1


def _many_dimensions(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape.extend([1] * 64)


def _twice(request: service_pb2.ModelInferRequest) -> None:
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(b"\0")


def _reserved(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["triton_x"].int64_param = 1


def _empty_parameter(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["p"].SetInParent()


def _negative_priority(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["priority"].int64_param = -1


def _region(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"


def _output_region(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["shared_memory_region"].string_param = "r"


def _unknown_output(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="Z")


def _class_text(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["classification"].string_param = "2"


def _class_zero(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["classification"].int64_param = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _contents_and_raw,
            (
                "contents field must not be specified when using raw_input_contents for 'x' for "
                "model 'm'"
            ),
        ),
        (
            _other_contents,
            (
                "unexpected explicit tensor data for input tensor 'x' for model 'm' of type "
                "'FP32', expected datatype 'INT8'"
            ),
        ),
        (_no_data, "unable to find data for input tensor 'x' for model 'm' in request."),
        (_surplus_raw, "unexpected additional input data for model 'm'"),
        (_wide_element, "element -129 of input 'x' is out of range for INT8"),
        (
            _negative_shape,
            "All input dimensions should be specified for input 'x' for model 'm', got [-1]",
        ),
        (_many_dimensions, "more than 64 dimensions"),
        (_twice, "[request id: r] input 'x' already exists in request"),
        (_reserved, "parameter keys starting with 'triton_' are reserved for Triton usage"),
        (_empty_parameter, "parameter 'p' has invalid type."),
        (_negative_priority, "Unable to parse 'priority'"),
        (_region, "Unable to find shared memory region: 'r'"),
        (_output_region, "Unable to find shared memory region: 'r'"),
        (_unknown_output, "unexpected inference output 'Z' for model 'm'"),
        (
            _class_text,
            "invalid value type for 'classification' parameter, expected int64_param",
        ),
        (_class_zero, "invalid value for 'classification' parameter, expected >= 0"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_proto_form_refusals(
    spoil: Callable[[service_pb2.ModelInferRequest], None], message: str
) -> None:
    """A ModelInferRequest that breaks a rule of its own is told which."""
    request = proto_request({"x": np.zeros(1, np.int8)}, "r")
    spoil(request)

    error = proto_refusal(BYTE, request)

    assert message in error.message
    assert error.code in {Code.INVALID_ARGUMENT, Code.NOT_FOUND}
