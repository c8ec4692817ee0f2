"""Pure: names an answered call in its reply, for versions whose predictions are logged.

The name stands twice: in a header, for whoever sees headers, and as the response's parameter
`bascule-prediction-id`, for clients that see none. Both have the same spelling on both wires.
"""

from typing import Final

from msgspec.structs import replace

from serving.wire.protobuf import delimited
from serving.wire.tensors import Buffer
from serving.wire.v2_json import JsonReply

NAME: Final = b"bascule-prediction-id"
_PARAMETERS: Final = b'}],"parameters":{'
"""Begins the parameters of a reply that has some, behind its outputs. It stands nowhere else:
quotes in texts are escaped, and parameters of an output follow its shape."""
_PARAMETERS_FIELD: Final = 4  # of ModelInferResponse: map<string, InferParameter>
_STRING_FIELD: Final = 3  # of InferParameter: string_param


def header(prediction_id: str) -> bytes:
    """Return the header's line."""
    return b"%b: %b\r\n" % (NAME, prediction_id.encode("ascii"))


def named_json(reply: JsonReply, prediction_id: str) -> JsonReply:
    """Return a JSON reply with the parameter, and with its header to send."""
    head, length = reply.head, reply.header_length
    entry = b'"%b":"%b"' % (NAME, prediction_id.encode("ascii"))
    at = head.rfind(_PARAMETERS)
    if at < 0:
        added, at = b',"parameters":{%b}' % entry, len(head) - 1
    else:
        added, at = entry + b",", at + len(_PARAMETERS)
    return replace(
        reply,
        head=head[:at] + added + head[at:],
        header_length=None if length is None else length + len(added),
        http_headers=header(prediction_id),
    )


def named_proto(message: list[Buffer], prediction_id: str) -> list[Buffer]:
    """Return a ModelInferResponse with the parameter; fields may stand in any order."""
    value = delimited(_STRING_FIELD, prediction_id.encode("ascii"))
    entry = delimited(1, NAME) + delimited(2, value)
    return [*message, delimited(_PARAMETERS_FIELD, entry)]
