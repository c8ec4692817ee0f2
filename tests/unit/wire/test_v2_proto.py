"""The gRPC wire: bytes that protobuf itself writes and reads, decoded and encoded by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import InferResult, service_pb2

from protos.generated import open_inference_pb2
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import Array, InferCall, OutputAsk
from serving.wire.proto_request import Target
from serving.wire.v2_proto import V2ProtoCodec, read_target
from tests.fakes.call_specs import (
    TINY,
    array_of,
    datatype_of,
    identity,
    proto_request,
    raw,
    spec,
    tensor,
)
from tests.fakes.tensor_strategies import JSON_TYPES, tensors

X16 = np.arange(16, dtype=np.float32).reshape(1, 16)
Y4 = np.arange(4, dtype=np.float32).reshape(1, 4)
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def decoded(message: bytes, datatype: Datatype, rank: int) -> Array:
    """Decode a request to an identity model."""
    return array_of(V2ProtoCodec(identity(datatype, rank)).decode_request(message), datatype)


def same(left: Array, right: Array) -> bool:
    """Compare bit for bit, where the datatype has bits."""
    if left.dtype == object:
        return left.shape == right.shape and left.tolist() == right.tolist()
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def expected_reply(call: InferCall, outputs: list[Array]) -> bytes:
    """Encode a reply with protobuf."""
    reply = open_inference_pb2.ModelInferResponse(model_name="m", model_version="1", id=call.id)
    for array in outputs:
        reply.outputs.add(name="y", datatype=datatype_of(array), shape=array.shape)
        reply.raw_output_contents.append(raw(array))
    return reply.SerializeToString()


@given(tensors(), st.sampled_from(["", "id-1", "größe"]))
def test_raw_round_trip(array: Array, request_id: str) -> None:
    """Raw tensors of every datatype come through, and replies are protobuf's own bytes."""
    datatype = Datatype(datatype_of(array))
    codec = V2ProtoCodec(identity(datatype, array.ndim))
    message = proto_request({"x": array}, request_id).SerializeToString()

    for _ in range(2):
        call = codec.decode_request(message)
        given_array = array_of(call, datatype)
        reply = b"".join(codec.encode_reply(call, [given_array]))

        assert same(given_array, array)
        assert reply == expected_reply(call, [given_array])
        assert call.id == request_id


@given(tensors(JSON_TYPES))
def test_typed_contents(array: Array) -> None:
    """Typed contents of every datatype that has a field mean the same as raw ones."""
    datatype = datatype_of(array)
    request = service_pb2.ModelInferRequest(model_name="m")
    entry = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    values = array.reshape(-1).tolist()
    if datatype == "BYTES":
        values = [value.encode() for value in values]
    getattr(entry.contents, FIELDS[datatype]).extend(values)

    result = decoded(request.SerializeToString(), Datatype(datatype), array.ndim)

    if array.dtype.kind == "f":  # a NaN keeps its being, not its bits, on the way through Python
        np.testing.assert_array_equal(result, array)
    else:
        assert same(result, array)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x10\x01\x10\x02", [1, 2]),
        (b"\x12\x01\x01\x10\x02", [1, 2]),
        (b"\x12\x01\x01\x4a\x03abc\x12\x01\x02", [1, 2]),
    ],
    ids=["unpacked", "mixed", "unknown field between"],
)
def test_contents_in_other_encodings(content: bytes, expected: list[int]) -> None:
    """Unpacked and split repeated fields, which protobuf allows, are read as well."""
    entry = b"\x0a\x01x\x12\x05INT32\x1a\x01\x02\x2a" + bytes((len(content),)) + content
    message = b"\x0a\x01m\x2a" + bytes((len(entry),)) + entry

    assert decoded(message, Datatype.INT32, 1).tolist() == expected


def test_large_tensors_are_views() -> None:
    """Tensors are neither copied on the way in nor, when large, on the way out."""
    array = np.zeros(1 << 16, np.float32)
    codec = V2ProtoCodec(identity(Datatype.FP32, 1))
    message = proto_request({"x": array}).SerializeToString()

    call = codec.decode_request(message)
    reply = codec.encode_reply(call, [array])

    assert call.tensors[0].obj is message
    assert np.shares_memory(np.frombuffer(reply[-1], np.uint8), array)
    assert b"".join(reply) == expected_reply(call, [array])


def test_reply_is_read_by_tritonclient() -> None:
    """One raw entry an output, in order, also for empty ones."""
    two = spec(
        (tensor("x", Datatype.INT8, (-1,)),),
        (tensor("a", Datatype.INT8, (-1,)), tensor("b", Datatype.BYTES, (-1,))),
    )
    codec = V2ProtoCodec(two)
    call = codec.decode_request(proto_request({"x": np.zeros(1, np.int8)}).SerializeToString())
    outputs = [np.zeros(0, np.int8), np.array(["é", ""], dtype=object)]

    reply = service_pb2.ModelInferResponse.FromString(b"".join(codec.encode_reply(call, outputs)))

    assert len(reply.raw_output_contents) == 2
    assert InferResult(reply).as_numpy("a").tolist() == []
    assert InferResult(reply).as_numpy("b").tolist() == ["é".encode(), b""]


def test_listed_outputs_come_in_the_models_order() -> None:
    """Only listed outputs are sent, in the model's order."""
    three = spec(
        (tensor("x", Datatype.INT8, (1,)),),
        tuple(tensor(name, Datatype.INT8, (1,)) for name in "abc"),
    )
    codec = V2ProtoCodec(three)
    request = proto_request({"x": np.zeros(1, np.int8)})
    request.outputs.add(name="c")
    request.outputs.add(name="a")

    call = codec.decode_request(request.SerializeToString())
    outputs = [np.array([value], np.int8) for value in (1, 2, 3)]
    reply = service_pb2.ModelInferResponse.FromString(b"".join(codec.encode_reply(call, outputs)))

    assert call.outputs == (OutputAsk(index=0, binary=True), OutputAsk(index=2, binary=True))
    assert reply.raw_output_contents == [b"\x01", b"\x03"]


def test_classification_is_asked_by_parameter() -> None:
    """Parameter classification k gives the k largest values as text."""
    codec = V2ProtoCodec(TINY)
    request = proto_request({"x": X16})
    request.outputs.add(name="y").parameters["classification"].int64_param = 1

    call = codec.decode_request(request.SerializeToString())
    reply = service_pb2.ModelInferResponse.FromString(b"".join(codec.encode_reply(call, [Y4])))

    assert InferResult(reply).as_numpy("y").tolist() == [[b"3.000000:3"]]


def test_parameters_of_every_kind() -> None:
    """Both integer forms of priority, timeout in microseconds, and custom scalars are read."""
    request = proto_request({"x": X16})
    request.parameters["timeout"].int64_param = 2500
    request.parameters["priority"].uint64_param = 3
    request.parameters["sequence_id"].string_param = "s"
    request.parameters["negative"].int64_param = -4
    request.parameters["ratio"].double_param = 0.5
    request.parameters["flag"].bool_param = True
    request.parameters["triton_enable_empty_final_response"].bool_param = False

    call = V2ProtoCodec(TINY).decode_request(request.SerializeToString())

    assert (call.timeout_s, call.priority) == (0.0025, 3)
    assert call.parameters == {
        "sequence_id": "s",
        "negative": -4,
        "ratio": 0.5,
        "flag": True,
        "triton_enable_empty_final_response": False,
    }


@given(st.lists(tensors(), min_size=1, max_size=3), st.lists(tensors(), min_size=1, max_size=3))
def test_remembered_frames_never_mix_requests_up(one: list[Array], two: list[Array]) -> None:
    """A codec that has seen other requests of any form decodes as a fresh one does."""
    names = "abc"
    specs = spec(
        tuple(
            tensor(name, Datatype(datatype_of(array)), (-1,) * array.ndim, optional=True)
            for name, array in zip(names, two, strict=False)
        )
    )
    codec = V2ProtoCodec(specs)
    other = [array for array in one if datatype_of(array) == datatype_of(two[0])]
    message = proto_request(dict(zip(names, two, strict=False))).SerializeToString()
    for array in [*other, two[0]]:
        first = proto_request({"a": array}).SerializeToString()
        if array.ndim == two[0].ndim:
            codec.decode_request(first)

    again = [codec.decode_request(message) for _ in range(2)]
    fresh = V2ProtoCodec(specs).decode_request(message)

    assert again[0].shapes == again[1].shapes == fresh.shapes
    for index, array in enumerate(two):
        for call in again:
            assert same(array_of(call, Datatype(datatype_of(array)), index), array)


def test_a_frame_of_equal_length_is_not_taken_for_another() -> None:
    """Messages of equal length with another shape, name or output are read for what they say."""
    codec = V2ProtoCodec(identity(Datatype.INT8, 2))
    flat = np.arange(6, dtype=np.int8)
    shapes = []
    for shape in [(2, 3), (3, 2), (2, 3), (6, 1)]:
        call = codec.decode_request(proto_request({"x": flat.reshape(shape)}).SerializeToString())
        shapes.append(call.shapes[0])

    assert shapes == [(2, 3), (3, 2), (2, 3), (6, 1)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x0a\x01m\x12\x012", Target("m", "2", 6)),
        (b"\x0a\x01m\x2a\x00", Target("m", "", 4)),
        (b"\x0a\x01m", Target("m", "")),
        (b"\x12\x012\x0a\x01m", Target("m", "2")),
        (b"\x2a\x00\x0a\x01m\x12\x012", Target("m", "2")),
        (b"\x0a\xc8\x01" + b"n" * 200 + b"\x12\x013", Target("n" * 200, "3")),
        (b"\x0a\x02\xc3\xa9", Target("é", "")),
        (b"", Target("", "")),
    ],
    ids=["both", "no version", "name only", "swapped", "late", "long", "utf-8", "empty"],
)
def test_target(message: bytes, expected: Target) -> None:
    """Model and version are found in the usual place and elsewhere."""
    assert read_target(memoryview(message)) == expected


@pytest.mark.parametrize(
    "message", [b"\x0a\xff", b"\x0a\x05m", b"\x0b", b"\x0a\x01\xff", b"\x07", b"\x00\x01"]
)
def test_target_of_garbage(message: bytes) -> None:
    """A message that is no protobuf is the caller's error."""
    with pytest.raises(InvalidArgumentError, match="malformed protobuf message"):
        read_target(message)


def test_unknown_fields_are_skipped() -> None:
    """Fields that we do not know, of every wire type but groups, change nothing."""
    message = proto_request({"x": X16}).SerializeToString()
    unknown = (
        b"\xf8\x06\x01" + b"\xf9\x06" + b"\0" * 8 + b"\xfa\x06\x02ab" + b"\xfd\x06" + b"\0" * 4
    )

    call = V2ProtoCodec(TINY).decode_request(message + unknown)

    assert bytes(call.tensors[0]) == X16.tobytes()
