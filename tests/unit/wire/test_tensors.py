"""Tensor bytes, varints and reply elements at their edges."""

import numpy as np
import pytest
from google.protobuf.internal.encoder import _VarintEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.datatypes import Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.wire import protobuf, tensors
from serving.wire.json_data import tensor_to_json
from serving.wire.v2_proto import V2ProtoCodec
from tests.fakes.call_specs import TINY, identity, proto_request


def written_by_protobuf(value: int) -> bytes:
    """Encode a varint with protobuf's own pure-Python encoder."""
    pieces: list[bytes] = []
    _VarintEncoder()(pieces.append, value, True)  # noqa: FBT003  protobuf's signature
    return b"".join(pieces)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_varints_are_protobufs(values: list[int]) -> None:
    """Varints are written as protobuf writes them, and read back one by one and in bulk."""
    encoded = [protobuf.varint(value) for value in values]
    packed = b"".join(encoded)

    assert encoded == [written_by_protobuf(value) for value in values]
    assert protobuf.varint_array(packed).tolist() == values
    assert [protobuf.read_varint(memoryview(e), 0, len(e))[0] for e in encoded] == values


@pytest.mark.parametrize("packed", [b"\x80", b"\x01\xff", b"\x80" * 10 + b"\x01"])
def test_bad_varints_in_bulk(packed: bytes) -> None:
    """A cut or overlong varint in a packed field is refused."""
    with pytest.raises(protobuf.ProtobufError):
        protobuf.varint_array(packed)


def test_cut_elements_are_refused() -> None:
    """Packed floats whose bytes are no whole number of elements are malformed."""
    entry = b"\x0a\x01x\x12\x04FP32\x1a\x01\x01\x2a\x05\x32\x03abc"
    message = b"\x2a" + bytes((len(entry),)) + entry

    with pytest.raises(InvalidArgumentError, match="cut element in tensor contents"):
        V2ProtoCodec(identity(Datatype.FP32, 1)).decode_request(message)


@pytest.mark.parametrize(
    ("element", "message"),
    [(5, "gave a int where text was declared"), ("\ud800", "gave text that is not Unicode")],
    ids=["number", "half a pair"],
)
def test_engines_must_give_text(element: object, message: str) -> None:
    """A BYTES output with anything but text or bytes in it is the engine's fault."""
    array = np.array([element], dtype=object)

    with pytest.raises(EngineError, match=message):
        tensors.encode_strings(array)
    with pytest.raises(EngineError, match=message):
        tensor_to_json(array, name="y")


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=5))
def test_strings_round_trip(texts: list[str]) -> None:
    """BYTES elements are written and read back."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts

    raw = tensors.encode_strings(array)

    assert tensors.decode_strings(raw, (len(texts),), name="x", model="m").tolist() == texts


@pytest.mark.parametrize("columns", [4, 1 << 16], ids=["small", "large"])
def test_strided_outputs_are_sent_in_order(columns: int) -> None:
    """An array that is not contiguous is sent row by row all the same."""
    array = np.arange(columns * 2, dtype=np.int32).reshape(columns, 2).T

    assert bytes(tensors.raw_bytes(array)) == array.tobytes()


def test_an_output_that_changes_its_width_fails() -> None:
    """An engine whose output changes between two calls of one shape fails the call."""
    codec = V2ProtoCodec(TINY)
    message = proto_request({"x": np.zeros((1, 16), np.float32)}).SerializeToString()
    call = codec.decode_request(message)
    codec.encode_reply(call, [np.zeros((1, 4), np.float32)])

    with pytest.raises(EngineError, match="changed its element size"):
        codec.encode_reply(call, [np.zeros((1, 4), np.float64)])
