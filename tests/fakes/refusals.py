"""How requests are refused: small models, requests that do not fit them, and the error."""

import json
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError
from serving.wire.call import CallSpec
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from tests.fakes.call_specs import spec, tensor

PAIR = spec(
    (tensor("a", Datatype.INT8, (-1, 2)), tensor("b", Datatype.INT8, (-1, 2))),
    (tensor("y", Datatype.INT8, (-1, 2)),),
    max_rows=8,
)
OPTIONAL = spec((tensor("a", Datatype.INT8, (1,)), tensor("b", Datatype.INT8, (1,), optional=True)))
STRINGS = spec((tensor("x", Datatype.BYTES, (-1,)),), (tensor("y", Datatype.FP16, (-1,)),))
HALF = spec((tensor("x", Datatype.FP16, (-1,)),), (tensor("y", Datatype.INT8, (-1,)),))
BOOLS = spec((tensor("x", Datatype.BOOL, (-1,)),))
BYTE = spec((tensor("x", Datatype.INT8, (-1,)),), (tensor("y", Datatype.INT8, (-1,)),))


def entry(name: str, shape: list[int], datatype: str, size: int) -> dict[str, Any]:
    """Return the JSON of an input in the tail."""
    return {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }


def refusal(model: CallSpec, request: dict[str, Any], tail: bytes = b"") -> BasculeError:
    """Return how a JSON request is refused."""
    header = json.dumps(request).encode()
    with pytest.raises(BasculeError) as caught:
        V2JsonCodec(model).decode_request(header + tail, len(header))
    return caught.value


def proto_refusal(model: CallSpec, request: service_pb2.ModelInferRequest) -> BasculeError:
    """Return how a ModelInferRequest is refused."""
    with pytest.raises(BasculeError) as caught:
        V2ProtoCodec(model).decode_request(request.SerializeToString())
    return caught.value
