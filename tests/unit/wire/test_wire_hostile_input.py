"""Whatever bytes come, a codec answers with an error of Bascule's tree, never another one."""

import json
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.wire import grpc_frame
from serving.wire.call import Array, CallSpec, InferCall
from serving.wire.v2_json import V2JsonCodec, header_length
from serving.wire.v2_proto import V2ProtoCodec, read_target
from tests.fakes.call_specs import TINY, http_body, identity, proto_request, spec, tensor
from tests.fakes.tensor_strategies import tensors

MODELS = (
    TINY,
    identity(Datatype.BYTES, 1),
    identity(Datatype.INT64, 2),
    spec((tensor("x", Datatype.FP64, (-1,)), tensor("z", Datatype.BOOL, (2,), optional=True))),
)
FINE = {"sound", "invalid_argument", "not_found"}
models = st.sampled_from(MODELS)
DEPTH = 1_000_000


@st.composite
def mutations(draw: st.DrawFn, seeds: st.SearchStrategy[bytes]) -> bytes:
    """Draw a message with a few bytes replaced, inserted, removed or repeated."""
    message = bytearray(draw(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(message)))
        end = min(len(message), at + draw(st.integers(0, 4)))
        piece = draw(st.one_of(st.binary(max_size=4), st.just(bytes(message[at:end]) * 2)))
        message[at:end] = piece
    return bytes(message)


def _json_seed(array: Array) -> bytes:
    binary = array.dtype.name in {"float16", "bfloat16"}
    return http_body({"x": array}, binary=binary).body


def outcome(decode: Callable[[], InferCall], model: CallSpec) -> str:
    """Return the code of the refusal, or `sound` for a call that can be run: sizes fit shapes."""
    try:
        call = decode()
    except BasculeError as error:
        return error.code
    checks = [
        _is_sound(*parts) for parts in zip(call.tensors, call.shapes, model.inputs, strict=True)
    ]
    return "sound" if all(checks) else "unsound"


def _is_sound(value: Any, shape: tuple[int, ...] | None, wanted: TensorSpec) -> bool:  # noqa: ANN401  as in InferCall
    if value is None or shape is None:
        return wanted.optional and value is shape
    if wanted.datatype is Datatype.BYTES:
        return value.shape == shape and {type(e) for e in value.reshape(-1)} <= {str}
    return len(value) == prod(shape) * DTYPES[wanted.datatype].itemsize


@given(models, mutations(tensors().map(_json_seed)), st.none() | st.integers(-3, 200))
def test_spoilt_json_requests(model: CallSpec, body: bytes, length: int | None) -> None:
    """A spoilt JSON request is run if it still makes sense, else refused as the client's error."""
    codec = V2JsonCodec(model)
    for _ in range(2):
        assert outcome(lambda: codec.decode_request(body, length), model) in FINE


@given(
    models,
    mutations(tensors().map(lambda array: proto_request({"x": array}, "r").SerializeToString())),
)
def test_spoilt_proto_requests(model: CallSpec, message: bytes) -> None:
    """A spoilt protobuf request is run if it still makes sense, else refused likewise."""
    codec = V2ProtoCodec(model)
    for _ in range(2):
        assert outcome(lambda: codec.decode_request(message), model) in FINE


@given(st.binary(max_size=64))
def test_random_bytes(data: bytes) -> None:
    """Random bytes raise nothing outside the tree, wherever they are put in."""
    for model in MODELS:
        with suppress(BasculeError):
            V2ProtoCodec(model).decode_request(data)
        for length in (None, 0, 2):
            with suppress(BasculeError):
                V2JsonCodec(model).decode_request(data, length)
    for read in (read_target, grpc_frame.deframe, grpc_frame.timeout_s, header_length):
        with suppress(BasculeError):
            read(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)
members = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | json_values,
        "shape": st.just([2]) | st.lists(st.integers(-1, 2**70), max_size=3) | json_values,
        "datatype": st.sampled_from([str(datatype) for datatype in Datatype]) | json_values,
        "data": json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": json_values})
        | json_values,
    },
)


@given(
    models,
    st.fixed_dictionaries(
        {"inputs": st.lists(members, max_size=2) | json_values},
        optional={
            "id": json_values,
            "parameters": json_values,
            "outputs": st.lists(
                st.fixed_dictionaries({"name": st.just("y") | json_values}), max_size=2
            )
            | json_values,
        },
    ),
)
def test_json_of_another_form(model: CallSpec, request: dict[str, object]) -> None:
    """JSON with any value at any place is run or refused as the client's error."""
    body = json.dumps(request).encode()
    codec = V2JsonCodec(model)

    assert outcome(lambda: codec.decode_request(body, None), model) in FINE


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEPTH,
        b"[" * DEPTH + b"]" * DEPTH,
        b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * DEPTH,
        b'{"x":NaN,"inputs":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
        b'{"id":"r","parameters":{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}}",
    ],
    ids=["open", "closed", "objects", "data", "bare words", "parameters"],
)
def test_a_million_levels(body: bytes) -> None:
    """A body nested a million deep is refused as the client's error; the process lives on."""
    with pytest.raises(InvalidArgumentError) as caught:
        V2JsonCodec(TINY).decode_request(body, None)

    assert "JSON nesting depth exceeds maximum allowed limit (100)" in caught.value.message


@pytest.mark.parametrize(("depth", "is_refused"), [(100, False), (101, True), (900, True)])
@pytest.mark.parametrize("value", ["1", "NaN"], ids=["strict", "loose"])
def test_depth_limit_of_data(depth: int, is_refused: bool, value: str) -> None:  # noqa: FBT001  a test's parameter
    """`data` may be nested 100 deep and no deeper, whichever parser reads it."""
    data = "[" * depth + value + "]" * depth
    body = f'{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{data}}}]}}'.encode()
    codec = V2JsonCodec(identity(Datatype.FP32, 1))
    message = ""

    try:
        codec.decode_request(body, None)
    except InvalidArgumentError as error:
        message = error.message

    assert ("maximum allowed limit (100)" in message) is is_refused


def test_a_long_shape_is_not_believed() -> None:
    """Shapes that promise more than any memory cost nothing and are refused."""
    for shape in ([2**62], [2**40, 2**40, 2**40]):
        body = json.dumps(
            {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": [1]}]}
        ).encode()
        with pytest.raises(InvalidArgumentError):
            V2JsonCodec(identity(Datatype.FP32, len(shape))).decode_request(body, None)
