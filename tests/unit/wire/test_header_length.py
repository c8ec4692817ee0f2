"""What `Inference-Header-Content-Length` may be: a number, and 0 for a request without JSON."""

import numpy as np
import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import OutputAsk
from serving.wire.v2_json import V2JsonCodec, header_length
from tests.fakes.call_specs import TINY, identity, spec, tensor

X16 = np.arange(16, dtype=np.float32).reshape(1, 16)


def test_raw_request_is_the_one_input() -> None:
    """Header length 0: the body is the input, one row of it, and all outputs come back binary."""
    call = V2JsonCodec(TINY).decode_request(X16.tobytes(), 0)

    assert call.shapes == ((1, 16),)
    assert bytes(call.tensors[0]) == X16.tobytes()
    assert call.outputs == (OutputAsk(index=0, binary=True),)


def test_raw_request_fills_the_free_dimension() -> None:
    """A free dimension of a raw request follows from the size."""
    call = V2JsonCodec(identity(Datatype.INT16, 1)).decode_request(b"\0" * 10, 0)

    assert call.shapes == ((5,),)


def test_raw_request_of_text_is_one_element() -> None:
    """A raw request to a BYTES input is its one element, without a length."""
    codec = V2JsonCodec(spec((tensor("x", Datatype.BYTES, (-1, 1)),), (), max_rows=4))

    call = codec.decode_request("häuser".encode(), 0)

    assert call.tensors[0].tolist() == [["häuser"]]


def test_raw_request_needs_a_single_input() -> None:
    """A raw request to a model of two inputs is refused."""
    two = spec((tensor("a", Datatype.INT8, (1,)), tensor("b", Datatype.INT8, (1,))))

    with pytest.raises(InvalidArgumentError, match="Raw request must only have 1 input"):
        V2JsonCodec(two).decode_request(b"\0", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"abc", "Unable to parse Inference-Header-Content-Length, got: abc"),
        (b"", "Unable to parse Inference-Header-Content-Length, got: "),
        (b"1.5", "Unable to parse Inference-Header-Content-Length, got: 1.5"),
        (
            b"99999999999",
            "value is out of range [ -2147483648, 2147483647 ], got: 99999999999",
        ),
        (b"9" * 5000, "value is out of range"),
    ],
    ids=["word", "empty", "fraction", "over int32", "endless"],
)
def test_header_length_must_be_a_number(text: bytes, message: str) -> None:
    """A header length that is no 32-bit number is refused with the protocol's text."""
    with pytest.raises(InvalidArgumentError) as caught:
        header_length(text)

    assert message in caught.value.message


def test_header_length_is_read() -> None:
    """Ordinary values, and a negative one, which the range check refuses later."""
    assert [header_length(b"0"), header_length(b"143"), header_length(b"-5")] == [0, 143, -5]


def test_zeros_in_front_of_a_header_length_mean_nothing() -> None:
    """However many."""
    assert header_length(b"0" * 25 + b"104") == 104
    with pytest.raises(InvalidArgumentError, match="out of range"):
        header_length(b"0" * 400 + b"104")
