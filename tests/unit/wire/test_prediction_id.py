"""How a reply names its prediction."""

import json

import pytest

from protos.generated import open_inference_pb2 as pb
from serving.wire.prediction_id import header, named_json, named_proto
from serving.wire.v2_json import JsonReply

NAME = "bascule-prediction-id"
ID = "0198c1de-7d2c-7001-9c1e-5f0f6f1d2a3b"
OUTPUT = b'{"name":"y","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":4}}'
TEXT = b'{"name":"y","datatype":"BYTES","shape":[1],"data":["}],\\"parameters\\":{"]}'


@pytest.mark.parametrize("output", [OUTPUT, TEXT], ids=["binary", "text"])
@pytest.mark.parametrize(
    ("end", "others"),
    [(b"]}", {}), (b'],"parameters":{"flags":"a"}}', {"flags": "a"})],
    ids=["none", "some"],
)
def test_a_json_reply_has_one_parameter_more(
    output: bytes, end: bytes, others: dict[str, str]
) -> None:
    """Whatever stands in the reply, only the parameter is added, and the header's length fits."""
    head = b'{"model_name":"m","outputs":[' + output + end
    reply = named_json(JsonReply(head, (b"abcd",), len(head)), ID)
    document = json.loads(reply.head)

    assert document.pop("parameters") == {**others, NAME: ID}
    before = json.loads(head)
    before.pop("parameters", None)
    assert document == before
    assert reply.header_length == len(reply.head)
    assert reply.tail == (b"abcd",)
    assert reply.http_headers == header(ID) == f"{NAME}: {ID}\r\n".encode()


def test_a_reply_that_is_all_json_stays_so() -> None:
    """Without binary outputs there is no header's length."""
    reply = named_json(JsonReply(b'{"outputs":[{"name":"y"}]}'), ID)

    assert reply.header_length is None
    assert json.loads(reply.head)["parameters"] == {NAME: ID}


def test_a_message_has_one_parameter_more() -> None:
    """Protobuf reads it beside the parameters that are there."""
    message = pb.ModelInferResponse(model_name="m", raw_output_contents=[b"abcd"])
    message.parameters["flags"].string_param = "a"
    named = b"".join(named_proto([message.SerializeToString()], ID))
    read = pb.ModelInferResponse.FromString(named)

    assert read.parameters[NAME].string_param == ID
    assert read.parameters["flags"].string_param == "a"
    assert read.raw_output_contents[0] == b"abcd"
