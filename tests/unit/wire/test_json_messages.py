"""Requests whose JSON does not have the protocol's form are told which member, and why."""

import json
from typing import Any

import pytest

from runtimes.errors import Code, InvalidArgumentError
from serving.wire.call import CallSpec
from serving.wire.v2_json import V2JsonCodec
from tests.fakes.refusals import (
    BYTE,
    HALF,
    STRINGS,
    entry,
    refusal,
)


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
    (BYTE, with_input(shape=[1] * 65), "input 'x' has 65 dimensions, the maximum is 64"),
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
    (BYTE, {**with_input(), "parameters": {"timeout": 10**400}}, "Unable to parse 'timeout': "),
    (BYTE, with_input(shape=[10**400] * 60), "causes total element count to exceed"),
    (BYTE, with_input(shape=[2**63] * 64), "causes total element count to exceed"),
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
