"""The JSON wire: what goes in comes out, with tritonclient as the other side."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient import http as http_client

from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.wire.call import Array, OutputAsk
from serving.wire.v2_json import JsonReply, V2JsonCodec
from tests.fakes.call_specs import (
    TINY,
    array_of,
    datatype_of,
    http_body,
    identity,
    raw,
    spec,
    tensor,
)
from tests.fakes.tensor_strategies import JSON_TYPES, tensors

X16 = np.arange(16, dtype=np.float32).reshape(1, 16)
Y4 = np.arange(4, dtype=np.float32).reshape(1, 4)


def read(reply: JsonReply) -> http_client.InferResult:
    """Parse a reply as tritonclient does."""
    return http_client.InferenceServerClient.parse_response_body(
        b"".join([reply.head, *reply.tail]), header_length=reply.header_length
    )


def same(left: Array, right: Array) -> bool:
    """Compare bit for bit, where the datatype has bits."""
    if left.dtype == object:
        texts = [e.decode() if isinstance(e, bytes) else e for e in left.reshape(-1)]
        return left.shape == right.shape and texts == right.reshape(-1).tolist()
    return left.shape == right.shape and left.tobytes() == right.tobytes()


@given(tensors())
def test_binary_round_trip(array: Array) -> None:
    """Every datatype, shape and value survives binary mode bit for bit, also on a cache hit."""
    datatype = Datatype(datatype_of(array))
    codec = V2JsonCodec(identity(datatype, array.ndim))
    request = http_body({"x": array})

    for _ in range(2):
        call = codec.decode_request(request.body, request.header_length)
        decoded = array_of(call, datatype)
        reply = codec.encode_reply(call, [decoded])

        assert same(decoded, array)
        assert same(read(reply).as_numpy("y"), array)


@given(tensors(JSON_TYPES))
def test_json_round_trip(array: Array) -> None:
    """Every datatype with a JSON form survives JSON mode: NaN as NaN, 64-bit integers exactly."""
    datatype = Datatype(datatype_of(array))
    codec = V2JsonCodec(identity(datatype, array.ndim))
    request = http_body({"x": array}, binary=False)

    call = codec.decode_request(request.body, request.header_length)
    decoded = array_of(call, datatype)
    reply = codec.encode_reply(call, [decoded])

    assert reply.header_length is None
    answer = read(reply).as_numpy("y")
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(answer, array)
    else:
        assert same(answer, array)


@pytest.mark.parametrize("data", ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", "[[[1],[2],[3]],[4,5,6]]"])
def test_flat_and_nested_data_mean_the_same(data: str) -> None:
    """`data` may be flat or nested, in any nesting: only order and number count."""
    body = (
        '{"inputs":[{"name":"x","shape":[2,3],"datatype":"INT32","data":%s}]}' % data  # noqa: UP031  braces
    ).encode()

    call = V2JsonCodec(identity(Datatype.INT32, 2)).decode_request(body, None)

    assert array_of(call, Datatype.INT32).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_reply_has_the_protocols_members() -> None:
    """A JSON reply carries id, model, version as text, and flat data, and nothing else."""
    codec = V2JsonCodec(TINY)
    body = json.dumps(
        {
            "id": "r1",
            "inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0] * 16}],
            "outputs": [{"name": "y"}],
        }
    ).encode()

    reply = codec.encode_reply(codec.decode_request(body, None), [Y4])

    assert json.loads(reply.head) == {
        "id": "r1",
        "model_name": "m",
        "model_version": "1",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 1.0, 2.0, 3.0]}
        ],
    }


def test_binary_reply_announces_its_header() -> None:
    """The header length is the JSON's byte count, and raw outputs follow without padding."""
    codec = V2JsonCodec(TINY)
    request = http_body({"x": X16})

    reply = codec.encode_reply(codec.decode_request(request.body, request.header_length), [Y4])

    assert reply.header_length == len(reply.head)
    assert b"".join(reply.tail) == Y4.tobytes()
    assert json.loads(reply.head)["outputs"][0]["parameters"] == {"binary_data_size": 16}


def test_mixed_outputs_keep_their_kinds() -> None:
    """JSON and binary outputs mix; one listed without binary_data is JSON whatever the default."""
    both = spec(
        (tensor("x", Datatype.INT8, (1,)),),
        (tensor("a", Datatype.INT8, (1,)), tensor("b", Datatype.INT8, (2,))),
    )
    codec = V2JsonCodec(both)
    header = (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8",'
        b'"parameters":{"binary_data_size":1}}],"parameters":{"binary_data_output":true},'
        b'"outputs":[{"name":"b","parameters":{"binary_data":true}},{"name":"a"}]}'
    )

    call = codec.decode_request(header + b"\x07", len(header))
    reply = codec.encode_reply(call, [np.array([5], np.int8), np.array([1, 2], np.int8)])

    assert call.outputs == (OutputAsk(index=0, binary=False), OutputAsk(index=1, binary=True))
    assert read(reply).as_numpy("a").tolist() == [5]
    assert read(reply).as_numpy("b").tolist() == [1, 2]


def test_large_tensors_are_views() -> None:
    """Tensors are neither copied on the way in nor, when large, on the way out."""
    wide = identity(Datatype.FP32, 1)
    codec = V2JsonCodec(wide)
    array = np.zeros(1 << 16, np.float32)
    request = http_body({"x": array})

    call = codec.decode_request(request.body, request.header_length)
    reply = codec.encode_reply(call, [array])

    assert call.tensors[0].obj is request.body
    assert np.shares_memory(np.frombuffer(reply.tail[0], np.uint8), array)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("NaN", float("nan")), ("Infinity", float("inf")), ("-Infinity", float("-inf"))],
)
def test_bare_words_are_numbers(text: str, expected: float) -> None:
    """NaN, Infinity and -Infinity stand bare in requests and in replies."""
    codec = V2JsonCodec(identity(Datatype.FP64, 1))
    body = f'{{"inputs":[{{"name":"x","shape":[2],"datatype":"FP64","data":[1,{text}]}}]}}'

    call = codec.decode_request(body.encode(), None)
    reply = codec.encode_reply(call, [array_of(call, Datatype.FP64)])

    np.testing.assert_array_equal(array_of(call, Datatype.FP64), [1.0, expected])
    assert f'"data":[1.0,{text}]'.encode() in reply.head


@pytest.mark.parametrize(("datatype", "number"), [("FP32", "1e39"), ("FP64", "1e400")])
def test_a_number_beside_a_bare_word_must_fit_its_datatype(datatype: str, number: str) -> None:
    """Only what is written as infinite is infinite."""
    body = (
        f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[3],"data":[NaN,-Infinity,'
        f"{number}]}}]}}"
    )
    codec = V2JsonCodec(identity(Datatype(datatype), 1))
    with pytest.raises(InvalidArgumentError, match="out of range"):
        codec.decode_request(body.encode(), None)
    assert codec.decode_request(body.replace(number, "1e3").encode(), None).rows == 1


@given(st.floats(width=64, allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(value: float) -> None:
    """A JSON number becomes the nearest FP64, in exponent notation and as a long integer."""
    codec = V2JsonCodec(identity(Datatype.FP64, 1))
    texts = [repr(value), f"{value:.25e}", str(int(value))]
    body = (
        '{"inputs":[{"name":"x","shape":[3],"datatype":"FP64","data":[' + ",".join(texts) + "]}]}"
    )

    call = codec.decode_request(body.encode(), None)

    assert array_of(call, Datatype.FP64).tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64], ids=["int64", "uint64"])
def test_integer_extremes_are_exact(dtype: type[np.integer]) -> None:
    """The largest and smallest 64-bit integers go through JSON unchanged."""
    limits = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    datatype = Datatype(datatype_of(limits))
    codec = V2JsonCodec(identity(datatype, 1))
    request = http_body({"x": limits}, binary=False)

    call = codec.decode_request(request.body, request.header_length)
    reply = codec.encode_reply(call, [array_of(call, datatype)])

    assert json.loads(reply.head)["outputs"][0]["data"] == limits.tolist()


@pytest.mark.parametrize("declared", [(), (1,)], ids=["scalar", "vector of one"])
@pytest.mark.parametrize("sent", ["[]", "[1]"])
def test_scalars_and_vectors_of_one_are_alike(declared: tuple[int, ...], sent: str) -> None:
    """One element may be sent as a scalar or as a vector of 1; it comes back as declared."""
    codec = V2JsonCodec(
        spec((tensor("x", Datatype.FP32, declared),), (tensor("y", Datatype.FP32, declared),))
    )
    body = f'{{"inputs":[{{"name":"x","shape":{sent},"datatype":"FP32","data":[7]}}]}}'

    call = codec.decode_request(body.encode(), None)
    reply = codec.encode_reply(call, [np.array(7, np.float32)])

    assert call.shapes == (declared,)
    assert json.loads(reply.head)["outputs"][0]["shape"] == list(declared)


def test_optional_inputs_may_be_left_out() -> None:
    """An absent optional input is None, and keeps the call apart from calls that have it."""
    some = spec(
        (tensor("a", Datatype.INT8, (-1, 1)), tensor("b", Datatype.INT8, (-1, 1), optional=True)),
        max_rows=4,
    )
    codec = V2JsonCodec(some)
    one = np.ones((1, 1), np.int8)
    without, full = http_body({"a": one}), http_body({"b": one, "a": one + 1})

    short = codec.decode_request(without.body, without.header_length)
    long = codec.decode_request(full.body, full.header_length)

    assert short.tensors[1] is None
    assert short.stack_key != long.stack_key
    assert [bytes(piece) for piece in long.tensors] == [b"\x02", b"\x01"]


def test_parameters_steer_the_queue() -> None:
    """Timeout is microseconds; priority a number; sequence and custom parameters are kept."""
    body = (
        b'{"inputs":[{"name":"x","shape":[0],"datatype":"INT8","data":[]}],"parameters":'
        b'{"timeout":1500,"priority":2,"sequence_id":"s","sequence_start":true,"mine":0.5}}'
    )

    call = V2JsonCodec(identity(Datatype.INT8, 1)).decode_request(body, None)

    assert (call.timeout_s, call.priority) == (0.0015, 2)
    assert call.parameters == {"sequence_id": "s", "sequence_start": True, "mine": 0.5}


def test_unknown_keys_and_nulls_are_ignored() -> None:
    """Keys that we do not know, and null where a key may be absent, change nothing."""
    body = (
        b'{"model_name":"q","id":null,"parameters":null,"outputs":null,"inputs":[{"name":"x",'
        b'"shape":[1],"datatype":"INT8","parameters":null,"data":[3],"extra":{"a":[1]}}]}'
    )

    call = V2JsonCodec(identity(Datatype.INT8, 1)).decode_request(body, None)

    assert call.id == ""
    assert bytes(call.tensors[0]) == b"\x03"


def test_a_header_with_an_id_is_not_reused() -> None:
    """Two requests that differ in their id only are answered with their own."""
    codec = V2JsonCodec(TINY)
    replies = []
    for request_id in ("a", "b", ""):
        request = http_body({"x": X16}, request_id=request_id)
        call = codec.decode_request(request.body, request.header_length)
        replies.append(json.loads(codec.encode_reply(call, [Y4]).head).get("id"))

    assert replies == ["a", "b", None]


def test_classification_replaces_the_tensor() -> None:
    """Classification k: the k largest values a row, as text, in JSON and in binary."""
    codec = V2JsonCodec(TINY)
    header = (
        b'{"inputs":[{"name":"x","shape":[1,16],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":64}}],'
        b'"outputs":[{"name":"y","parameters":{"classification":2,"binary_data":true}}]}'
    )

    call = codec.decode_request(header + X16.tobytes(), len(header))
    answer = read(codec.encode_reply(call, [Y4])).as_numpy("y")

    assert answer.tolist() == [[b"3.000000:3", b"2.000000:2"]]


def test_bytes_that_are_no_text_cannot_be_json() -> None:
    """A BYTES output that is not UTF-8 can be had in binary; as JSON it is the caller's error."""
    codec = V2JsonCodec(identity(Datatype.BYTES, 1))
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["a"]}]}'
    call = codec.decode_request(body, None)
    outputs = [np.array([b"\xff"], dtype=object)]

    with pytest.raises(InvalidArgumentError, match="ask for binary_data instead"):
        codec.encode_reply(call, outputs)


@pytest.mark.parametrize(
    "outputs",
    [[], [np.zeros((1, 4), np.float64)], [np.zeros((1, 4), np.int32)]],
    ids=["missing", "wider", "other"],
)
def test_outputs_that_break_their_spec_are_the_engines_fault(outputs: list[Array]) -> None:
    """An engine that gives something else than declared fails the call, never a wrong reply."""
    codec = V2JsonCodec(TINY)
    request = http_body({"x": X16})
    call = codec.decode_request(request.body, request.header_length)

    with pytest.raises(EngineError):
        codec.encode_reply(call, outputs)


def test_bf16_reply_is_read_by_tritonclient() -> None:
    """A large BF16 output, which has no buffer format of its own, is sent bit for bit."""
    codec = V2JsonCodec(identity(Datatype.BF16, 1))
    array = np.arange(1 << 16, dtype=np.float32).astype(ml_dtypes.bfloat16)
    request = http_body({"x": array})

    call = codec.decode_request(request.body, request.header_length)

    assert same(read(codec.encode_reply(call, [array])).as_numpy("y"), array)


def test_caches_stay_bounded() -> None:
    """Ever new forms of request do not grow the codec without end, and all are answered right."""
    codec = V2JsonCodec(identity(Datatype.INT8, 1))
    sizes = []
    for size in [*range(300), *range(300)]:
        array = np.zeros(size, np.int8)
        request = http_body({"x": array})
        call = codec.decode_request(request.body, request.header_length)
        sizes.append(len(codec.encode_reply(call, [array]).tail[0]))

    assert sizes == [*range(300), *range(300)]


def test_every_datatype_has_a_dtype_that_is_sent_raw() -> None:
    """The wire's element sizes are numpy's."""
    assert raw(np.zeros(3, DTYPES[Datatype.FP16])) == b"\0" * 6
