"""One case asked over one transport, with the client that Triton's users have."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from benchmarks.onnx_conformance.cases import Array, Case
from runtimes.datatypes import DTYPES, Datatype

HTTP_BINARY: Final = "HTTP binary"
HTTP_JSON: Final = "HTTP JSON"
GRPC: Final = "gRPC"
Ask = Callable[[Case], list[Array]]


@contextmanager
def transports(http: str, grpc: str) -> Iterator[Mapping[str, Ask]]:
    """Connect; gives how to ask a case, by the transport's name."""
    with (
        triton_http.InferenceServerClient(http) as over_http,
        triton_grpc.InferenceServerClient(grpc) as over_grpc,
    ):
        yield {
            HTTP_BINARY: lambda case: _ask_http(over_http, case, is_binary=True),
            HTTP_JSON: lambda case: _ask_http(over_http, case, is_binary=False),
            GRPC: lambda case: _ask_grpc(over_grpc, case),
        }


def _ask_http(client: Any, case: Case, *, is_binary: bool) -> list[Array]:
    inputs = []
    for tensor in case.inputs:
        given = triton_http.InferInput(tensor.name, list(tensor.value.shape), tensor.datatype.value)
        given.set_data_from_numpy(tensor.value, binary_data=is_binary)
        inputs.append(given)
    outputs = [
        triton_http.InferRequestedOutput(tensor.name, binary_data=is_binary)
        for tensor in case.outputs
    ]
    reply = client.infer(case.name, inputs, outputs=outputs)
    told = {output["name"]: output for output in reply.get_response()["outputs"]}
    return [
        _checked(reply, tensor.name, told[tensor.name]["datatype"], told[tensor.name]["shape"])
        for tensor in case.outputs
    ]


def _ask_grpc(client: Any, case: Case) -> list[Array]:
    inputs = []
    for tensor in case.inputs:
        given = triton_grpc.InferInput(tensor.name, list(tensor.value.shape), tensor.datatype.value)
        given.set_data_from_numpy(tensor.value)
        inputs.append(given)
    reply = client.infer(case.name, inputs)
    told = {output.name: output for output in reply.get_response().outputs}
    return [
        _checked(reply, tensor.name, told[tensor.name].datatype, told[tensor.name].shape)
        for tensor in case.outputs
    ]


def _checked(reply: Any, name: str, datatype: str, shape: Sequence[int]) -> Array:
    """Read one output; what the reply says of it must be what it is."""
    value = np.asarray(reply.as_numpy(name))
    if value.shape != tuple(shape):
        raise ValueError(f"output '{name}' is told as {tuple(shape)} and has {value.shape}")
    if datatype == Datatype.BYTES:
        return _texts(value)
    return value if value.size else np.empty(value.shape, DTYPES[Datatype(datatype)])


def _texts(value: Array) -> Array:
    made = np.empty(value.size, object)
    made[:] = [text.encode() if isinstance(text, str) else text for text in value.ravel()]
    return made.reshape(value.shape)
