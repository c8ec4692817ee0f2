"""Pure: names an answered call in its reply, for versions whose predictions are logged.

The name stands twice: in a header, for whoever sees headers, and as the response's parameter
`bascule-prediction-id`, for clients that see none. Both have the same spelling on both wires.
"""

from functools import cache
from typing import Final

from serving.wire.protobuf import delimited
from serving.wire.tensors import Buffer
from serving.wire.v2_json import JsonReply

NAME: Final = b"bascule-prediction-id"
_PARAMETERS: Final = b'}],"parameters":{'
"""Begins the parameters of a reply that has some, behind its outputs. It stands nowhere else:
quotes in texts are escaped, and parameters of an output follow its shape."""
_FIRST: Final = b'"%b":"' % NAME
_ALONE: Final = b',"parameters":{' + _FIRST
_LINE: Final = NAME + b": "
_PARAMETERS_FIELD: Final = 4  # of ModelInferResponse: map<string, InferParameter>
_STRING_FIELD: Final = 3  # of InferParameter: string_param


def header(prediction_id: str) -> bytes:
    """Return the header's line."""
    return _LINE + prediction_id.encode("ascii") + b"\r\n"


def named_json(reply: JsonReply, prediction_id: str) -> JsonReply:
    """Return a JSON reply with the parameter, and with its header to send."""
    name = prediction_id.encode("ascii")
    head, length = reply.head, reply.header_length
    at = head.rfind(_PARAMETERS)
    if at < 0:
        named = head[:-1] + _ALONE + name + b'"}}'
    else:
        at += len(_PARAMETERS)
        named = head[:at] + _FIRST + name + b'",' + head[at:]
    if length is not None:
        length += len(named) - len(head)
    return JsonReply(named, reply.tail, length, _LINE + name + b"\r\n")


def named_proto(message: list[Buffer], prediction_id: str) -> list[Buffer]:
    """Return a ModelInferResponse with the parameter; fields may stand in any order."""
    name = prediction_id.encode("ascii")
    return [*message, _parameter_start(len(name)), name]


@cache
def _parameter_start(id_bytes: int) -> bytes:
    """Return what stands before an id of so many bytes, the entry's last."""
    value = delimited(_STRING_FIELD, bytes(id_bytes))
    entry = delimited(1, NAME) + delimited(2, value)
    return delimited(_PARAMETERS_FIELD, entry)[:-id_bytes]
