"""A request has so many fields, in whichever message: a worker walks one after the other.

A byte of a field takes a hundred times as long to walk as to copy, so that a large body of nothing
but small fields would keep a worker, and all of its models, for minutes.
"""

import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.proto_contents import MAX_UNPACKED
from serving.wire.proto_sequence import sequence_of
from serving.wire.protobuf import MAX_FIELDS, delimited, refuse_many_fields, varint
from serving.wire.v2_proto import V2ProtoCodec, read_target
from tests.fakes.call_specs import identity

NAME = delimited(1, b"a")
"""Of a request its model, of a tensor its name, of a parameter its key."""
NAMES = NAME * 1000
FP32 = delimited(2, b"FP32")
TRUE = b"\x08\1"
ENTRY = delimited(1, b"sequence_id") + delimited(2, TRUE)


def contents(name: str, elements: bytes, count: int, datatype: bytes) -> bytes:
    """Write an input whose contents are given."""
    head = delimited(1, name.encode()) + delimited(2, datatype) + delimited(3, varint(count))
    return delimited(5, head + delimited(5, elements))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(NAME * (MAX_FIELDS + 1), id="models"),
        pytest.param(delimited(4, NAME * MAX_FIELDS), id="keys of a parameter"),
        pytest.param(delimited(4, NAME + delimited(2, TRUE * MAX_FIELDS)), id="its values"),
        pytest.param(delimited(5, NAMES + FP32) * (MAX_FIELDS // 1000 + 1), id="names of inputs"),
        pytest.param(delimited(5, delimited(4, ENTRY) * MAX_FIELDS), id="parameters of an input"),
        pytest.param(delimited(6, NAMES) * (MAX_FIELDS // 1000 + 1), id="names of outputs"),
    ],
)
def test_fields_of_a_request_are_counted_together(message: bytes) -> None:
    """However they are nested."""
    with pytest.raises(InvalidArgumentError, match="too many fields in one request"):
        V2ProtoCodec(identity(Datatype.FP32, 1)).decode_request(message)


def test_fields_in_front_of_the_version_are_counted() -> None:
    """Whom a message is for is asked before it is read as a whole."""
    with pytest.raises(InvalidArgumentError, match="too many fields in one request"):
        read_target(NAME * (MAX_FIELDS + 1))


def test_a_message_with_too_many_fields_has_no_sequence() -> None:
    """Whoever decodes it refuses it."""
    entry = delimited(4, ENTRY)
    assert sequence_of(NAME + entry) is not None
    assert sequence_of(NAME * MAX_FIELDS + entry) is None


def test_contents_of_all_inputs_are_counted_together() -> None:
    """Elements that come one by one, a few in each of many inputs."""
    many = range(MAX_UNPACKED // 1000 + 1)
    message = b"".join(contents(f"x{n}", b"\x18\1" * 1000, 1000, b"INT64") for n in many)
    with pytest.raises(InvalidArgumentError, match="too many fields in one request"):
        V2ProtoCodec(identity(Datatype.INT64, 1)).decode_request(message)


def test_what_is_unknown_in_contents_is_counted() -> None:
    """Fields that no version of the protocol has are skipped, but not for ever."""
    text = delimited(8, b"a")
    codec = V2ProtoCodec(identity(Datatype.BYTES, 1))
    assert codec.decode_request(contents("x", b"\x48\1" + text, 1, b"BYTES")).rows == 1
    numbers = contents("x", b"\x48\1" * (MAX_UNPACKED + 1), 1, b"INT64")
    with pytest.raises(InvalidArgumentError, match="too many fields in one request"):
        V2ProtoCodec(identity(Datatype.INT64, 1)).decode_request(numbers)


def test_large_requests_of_the_usual_form_are_read() -> None:
    """As many inputs as JSON may have, each with a parameter."""
    parameter = delimited(4, delimited(1, b"k") + delimited(2, TRUE))
    shape = delimited(3, varint(1))
    message = b"".join(
        delimited(5, delimited(1, b"x%d" % n) + delimited(2, b"FP32") + shape + parameter)
        for n in range(4096)
    )
    with pytest.raises(InvalidArgumentError, match="expected 1 inputs but got 4096 inputs"):
        V2ProtoCodec(identity(Datatype.FP32, 1)).decode_request(message + b"\x3a\0" * 4096)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        pytest.param(NAME * (MAX_FIELDS + 1), (), id="outside"),
        pytest.param(delimited(3, NAMES) * (MAX_FIELDS // 1000 + 1), (3,), id="within"),
        pytest.param(delimited(3, delimited(2, TRUE * MAX_FIELDS)), (3, 2), id="deeper"),
    ],
)
def test_calls_that_no_codec_of_ours_reads_have_the_same_limit(
    message: bytes, path: tuple[int, ...]
) -> None:
    """Each field would become an object of the front desk's."""
    with pytest.raises(InvalidArgumentError, match="too many fields in one request"):
        refuse_many_fields(message, path)


def test_what_a_field_brings_is_not_counted() -> None:
    """A file may have any bytes, also such as could be fields."""
    file = delimited(2, delimited(4, TRUE * MAX_FIELDS))
    refuse_many_fields(delimited(2, b"m") + delimited(3, NAME + file), (3, 2))
