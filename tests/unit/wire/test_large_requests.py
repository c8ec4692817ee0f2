"""What cannot fit is refused before its elements are built: a worker decodes for all of its models.

Every case is over `LARGE_BYTES`, and may take a few times its size in memory, not forty times.
"""

import json
import tracemalloc
from collections.abc import Callable

import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import CallSpec, InferCall
from serving.wire.protobuf import delimited, varint
from serving.wire.request_limits import LARGE_BYTES, MAX_LOOSE_BYTES
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from tests.fakes.call_specs import TINY, identity

MANY = LARGE_BYTES
FREE = identity(Datatype.FP32, 1)
TEXTS = identity(Datatype.BYTES, 1)
LONGS = identity(Datatype.INT64, 1)


def body(
    data: bytes, *, name: str = "x", shape: str = "[4]", datatype: str = "FP32", last: bytes = b"1"
) -> bytes:
    """Write a request whose `data` is given, up to its last element."""
    head = f'{{"inputs":[{{"name":"{name}","datatype":"{datatype}","shape":{shape},"data":['
    return head.encode() + data + last + b"]}]}"


def message(contents: bytes, shape: int, *, datatype: bytes = b"INT64") -> bytes:
    """Write a ModelInferRequest whose `contents` are given."""
    entry = delimited(1, b"x") + delimited(2, datatype) + delimited(3, varint(shape))
    return delimited(5, entry + delimited(5, contents))


def refused(decode: Callable[[], InferCall], size_bytes: int) -> str:
    """Return how a request is refused; it must not have taken much."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError) as caught:
            decode()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * size_bytes
    return caught.value.message


@pytest.mark.parametrize(
    ("model", "request_", "reason"),
    [
        pytest.param(
            FREE, body(b"[]," * MANY), "Shape does not match true shape", id="empty lists"
        ),
        pytest.param(FREE, body(b"1," * MANY), "has 1048577 elements or more", id="numbers"),
        pytest.param(
            TEXTS,
            body(b'"",' * MANY, datatype="BYTES", last=b'""'),
            "Shape does not match true shape",
            id="texts",
        ),
        pytest.param(
            TINY,
            body(b"1," * MANY, shape=f"[1,{MANY + 1}]"),
            "unexpected shape for input 'x' for model 'm'",
            id="another shape",
        ),
        pytest.param(
            TINY,
            body(b"1," * MANY, shape=f"[{(MANY + 1) // 16},16]"),
            "inference request batch-size must be <= 8 for 'm'",
            id="too many rows",
        ),
        pytest.param(
            FREE,
            body(b"1," * MANY, shape=f"[{MANY + 1}]", datatype="INT8"),
            "data-type is 'INT8', but model 'm' expects 'FP32'",
            id="another datatype",
        ),
        pytest.param(
            FREE,
            body(b"1," * MANY, name="z", shape=f"[{MANY + 1}]"),
            "unexpected inference input 'z' for model 'm'",
            id="another name",
        ),
        pytest.param(
            FREE,
            body(b"NaN," + b"1," * (MAX_LOOSE_BYTES // 2), shape=f"[{MAX_LOOSE_BYTES // 2 + 2}]"),
            "is read only without NaN and Infinity: send such tensors as binary data",
            id="bare words",
        ),
        pytest.param(
            FREE,
            b'{"other":[' + b"{}," * (MAX_LOOSE_BYTES // 3) + b'1],"inputs":1}',
            "Unable to parse the request: Expected `array`, got `int`",
            id="a fault",
        ),
    ],
)
def test_json_that_cannot_fit(model: CallSpec, request_: bytes, reason: str) -> None:
    """Its first fault is told as that of a small request is, where that needs no elements."""
    assert len(request_) > LARGE_BYTES
    codec = V2JsonCodec(model)
    assert reason in refused(lambda: codec.decode_request(request_, None), len(request_))


@pytest.mark.parametrize(
    ("model", "request_", "reason"),
    [
        pytest.param(
            FREE,
            message(delimited(3, b"\1" * 2 * MANY), 2 * MANY),
            "data-type is 'INT64', but model 'm' expects 'FP32'",
            id="another datatype",
        ),
        pytest.param(
            LONGS,
            message(delimited(3, b"\1" * 2 * MANY), 4),
            "input byte size mismatch for input 'x' for model 'm'. Expected 32, got 16777216",
            id="too many",
        ),
        pytest.param(
            LONGS, message(b"\x18\1" * (MANY + 1), MANY + 1), "too many fields", id="one by one"
        ),
    ],
)
def test_typed_contents_that_cannot_fit(model: CallSpec, request_: bytes, reason: str) -> None:
    """The same over gRPC; elements that come one by one are bounded."""
    assert len(request_) > LARGE_BYTES
    codec = V2ProtoCodec(model)
    limit_bytes = 100 * len(request_)  # a piece for each element that came by itself
    assert reason in refused(lambda: codec.decode_request(request_), limit_bytes)


@pytest.mark.parametrize("is_nested", [False, True])
def test_what_fits_is_read(is_nested: bool) -> None:  # noqa: FBT001  a case
    """However large, and however its lists are nested."""
    values = [float(number) for number in range(MANY // 4)]
    text = json.dumps([[value] for value in values] if is_nested else values)
    request = body(b"", shape=f"[{len(values)}]").replace(b"[1]", text.encode())
    assert len(request) > LARGE_BYTES
    call = V2JsonCodec(FREE).decode_request(request, None)
    assert call.shapes == ((len(values),),)


@pytest.mark.parametrize(
    ("model", "datatype", "last"),
    [
        pytest.param(FREE, "FP32", b"1", id="numbers"),
        pytest.param(TEXTS, "BYTES", b'"a"', id="texts"),
    ],
)
def test_lists_of_lists_of_nothing_are_refused(model: CallSpec, datatype: str, last: bytes) -> None:
    """As many commas as the shape has elements let 9 MB of brackets keep a worker for 2 s."""
    count = LARGE_BYTES // 100
    empty = b"[" * 90 + b"]" * 90 + b","
    shape = f"[{count + 1}]"
    request = body(empty * count, shape=shape, datatype=datatype, last=last)
    with pytest.raises(InvalidArgumentError, match="lists, more than elements of shape"):
        V2JsonCodec(model).decode_request(request, None)


def test_each_element_may_have_a_list_of_its_own() -> None:
    """However deep the shape is: all of its dimensions may be lists."""
    count = LARGE_BYTES // 4
    model = identity(Datatype.FP32, 3)
    request = body(b"[[1]]," * count, shape=f"[{count + 1},1,1]", last=b"[[1]]")
    call = V2JsonCodec(model).decode_request(request, None)
    assert call.shapes == ((count + 1, 1, 1),)
