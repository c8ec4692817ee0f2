"""Call specs and requests for tests of the wire: small models that exist on paper only."""

from dataclasses import dataclass

import numpy as np
from tritonclient import http as http_client
from tritonclient.grpc import service_pb2

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from serving.wire.call import Array, CallSpec, InferCall


def tensor(
    name: str, datatype: Datatype, shape: tuple[int, ...], *, optional: bool = False
) -> TensorSpec:
    """Return a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, optional=optional)


def spec(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...] = (), *, max_rows: int = 0
) -> CallSpec:
    """Return the spec of model `m`, version 1."""
    return CallSpec(model="m", version=1, inputs=inputs, outputs=outputs, max_batch_rows=max_rows)


def identity(datatype: Datatype, rank: int) -> CallSpec:
    """Return the spec of a model `x` → `y` of free shape, without a batch dimension."""
    free = (-1,) * rank
    return spec((tensor("x", datatype, free),), (tensor("y", datatype, free),))


TINY = spec(
    (tensor("x", Datatype.FP32, (-1, 16)),), (tensor("y", Datatype.FP32, (-1, 4)),), max_rows=8
)
"""x FP32 [-1,16] → y FP32 [-1,4], batches of up to 8 rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBody:
    """A request's body and the value of its header-length header."""

    body: bytes
    header_length: int | None


def http_body(inputs: dict[str, Array], *, binary: bool = True, request_id: str = "") -> HttpBody:
    """Build a request with tritonclient; outputs are not listed."""
    given = []
    for name, array in inputs.items():
        entry = http_client.InferInput(name, list(array.shape), datatype_of(array))
        entry.set_data_from_numpy(array, binary_data=binary)
        given.append(entry)
    outputs = None if binary else [http_client.InferRequestedOutput("y", binary_data=False)]
    body, header_length = http_client.InferenceServerClient.generate_request_body(
        given, outputs=outputs, request_id=request_id
    )
    return HttpBody(body=body, header_length=header_length)


def proto_request(inputs: dict[str, Array], request_id: str = "") -> service_pb2.ModelInferRequest:
    """Build a ModelInferRequest with raw contents from tritonclient's classes."""
    request = service_pb2.ModelInferRequest(model_name="m", id=request_id)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(raw(array))
    return request


def raw(array: Array) -> bytes:
    """Return a tensor as the wire carries it."""
    if array.dtype != object:
        return array.tobytes()
    elements = [str(element).encode() for element in array.reshape(-1)]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's dtype."""
    return next(str(datatype) for datatype, dtype in DTYPES.items() if dtype == array.dtype)


def array_of(call: InferCall, datatype: Datatype, index: int = 0) -> Array:
    """Return one input of a decoded call as an array."""
    given, shape = call.tensors[index], call.shapes[index]
    if datatype is Datatype.BYTES:
        return np.asarray(given, dtype=object)
    return np.frombuffer(given, DTYPES[datatype]).reshape(shape or ())
