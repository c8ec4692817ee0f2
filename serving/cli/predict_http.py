"""A small client of the protocol over HTTP: metadata, and infer with binary tensors."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec
import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, EngineError
from serving.cli.predict_tensors import NamedTensor
from serving.errors import NotReadyError
from serving.settings import HostPort
from serving.wire.tensors import decode_strings, encode_strings, raw_bytes

HEADER_LENGTH: Final = "Inference-Header-Content-Length"


class RefusedPredictionError(BasculeError):
    """The server refused the call; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a model takes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A reply."""

    model: str
    version: str
    outputs: tuple[NamedTensor, ...]


class HttpClient:
    """Calls one server; one connection, kept."""

    def __init__(self, address: HostPort, limit_s: float) -> None:
        """Remember the address; nothing is connected yet."""
        self._address = address
        self._connection = http.client.HTTPConnection(address.host, address.port, timeout=limit_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def metadata(self, model: str, version: int | None) -> Metadata:
        """Ask for a model's inputs and outputs.

        Raises:
            NotReadyError: Nobody answers at the address.
            RefusedPredictionError: The server does not have the model, or it is not ready.
        """
        reply = self._ask("GET", _path(model, version), b"", {})
        found = msgspec.json.decode(reply.body, type=_Metadata)
        return Metadata(
            inputs=tuple(item.spec() for item in found.inputs),
            outputs=tuple(item.spec() for item in found.outputs),
        )

    def infer(self, model: str, version: int | None, tensors: Sequence[NamedTensor]) -> Prediction:
        """Run one call.

        Raises:
            NotReadyError: Nobody answers at the address, or not in time.
            RefusedPredictionError: The server refused the call.
            EngineError: The reply cannot be read.
        """
        raws = [tensor_bytes(tensor) for tensor in tensors]
        inputs = [
            {
                "name": tensor.name,
                "datatype": tensor.datatype.value,
                "shape": list(tensor.array.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
            for tensor, raw in zip(tensors, raws, strict=True)
        ]
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        reply = self._ask(
            "POST",
            f"{_path(model, version)}/infer",
            b"".join((head, *raws)),
            {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"},
        )
        return _prediction(reply)

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> "_Reply":
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotReadyError(
                f"{method} {path} at {self._address}: {type(error).__name__}: {error}: is an "
                "instance running there? (bascule status; --url HOST:PORT asks another one)"
            ) from error
        if response.status != http.client.OK:
            raise RefusedPredictionError(_refusal(content, response.status))
        length = response.headers.get(HEADER_LENGTH)
        return _Reply(content, len(content) if length is None else int(length))


def tensor_bytes(tensor: NamedTensor) -> bytes:
    """Return a tensor's elements as the wire carries them."""
    if tensor.datatype is Datatype.BYTES:
        return encode_strings(tensor.array)
    return bytes(raw_bytes(np.ascontiguousarray(tensor.array)))


def tensor_from_bytes(raw: bytes, name: str, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    """Return the array that the wire's bytes stand for.

    Raises:
        EngineError: They are too many or too few.
    """
    if datatype is Datatype.BYTES:
        return decode_strings(raw, shape, name=name, model="reply")
    try:
        return np.frombuffer(raw, dtype=DTYPES[datatype]).reshape(shape)
    except ValueError as error:
        raise EngineError(f"output '{name}' of the reply cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class _Reply:
    body: bytes
    head_bytes: int


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    datatype: Datatype
    shape: list[int]
    data: list[object] | None = None
    parameters: dict[str, object] = {}

    def spec(self) -> TensorSpec:
        """Return the tensor's spec."""
        return TensorSpec(name=self.name, datatype=self.datatype, shape=tuple(self.shape))


class _Metadata(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    outputs: list[_Tensor]


class _Inferred(msgspec.Struct, frozen=True):
    model_name: str
    outputs: list[_Tensor]
    model_version: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: str


def _path(model: str, version: int | None) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _refusal(content: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(content, type=_Refusal).error
    except msgspec.DecodeError:
        return f"the server answered with status {status}: {content[:200].decode(errors='replace')}"


def _prediction(reply: _Reply) -> Prediction:
    # json.loads: unlike msgspec it reads NaN and Infinity, which the protocol's replies may hold.
    found = msgspec.convert(json.loads(reply.body[: reply.head_bytes]), _Inferred)
    outputs = []
    at = reply.head_bytes
    for item in found.outputs:
        shape = tuple(item.shape)
        size = item.parameters.get("binary_data_size")
        if isinstance(size, int):
            array = tensor_from_bytes(reply.body[at : at + size], item.name, item.datatype, shape)
            at += size
        else:
            array = np.asarray(item.data, dtype=DTYPES[item.datatype]).reshape(shape)
        outputs.append(NamedTensor(name=item.name, datatype=item.datatype, array=array))
    return Prediction(model=found.model_name, version=found.model_version, outputs=tuple(outputs))
